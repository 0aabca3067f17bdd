"""What columns of ours may hold: states, usages, kinds and phases of this version, and lists."""

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.exceptions import MasterKeyUnusable

if TYPE_CHECKING:
    _Float = models.FloatField[float | int | str, float]
else:
    _Float = models.FloatField

A_DAY = 86_400  # seconds


class UnknownChoice(MasterKeyUnusable, ValueError):
    """A row, or a caller, has a state, usage, kind or phase that there is not."""


class StoredChoices(models.TextChoices):
    """What the column of a row of ours may hold."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise UnknownChoice(
            f"{value!r} is not a {cls.__name__} that this version of the package knows: "
            f"{', '.join(cls.values)}. If a row has it, a later version wrote it, or it was "
            "changed in the database: deploy that version, or restore the row."
        )


class ListField(models.JSONField):
    """A column with a list, whose items are all of one type: in the database it may be any JSON.

    What is not such an item is read as one that is known nowhere: in the place of a text what JSON
    it is, and 0 in that of a number. So nothing follows from it, and people see that it is there.
    """

    def __init__(self, *args: Any, of: type = str, **kwargs: Any) -> None:
        self.of = of
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs  # the column is the same

    def clone(self) -> Any:
        return type(self)(**self.deconstruct()[3], of=self.of)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[Any] | None:
        """Return the items of a list; None where no row was joined."""
        if value is None:
            return None
        found = super().from_db_value(value, expression, connection)
        return list(map(self._item, found)) if isinstance(found, list) else [self._unknown(found)]

    def _item(self, item: Any) -> Any:
        if type(item) is not self.of:
            return self._unknown(item)
        # JSON may have halves of characters, which no answer can be made of.
        return item.encode(errors="backslashreplace").decode() if isinstance(item, str) else item

    def _unknown(self, found: Any) -> Any:
        return 0 if self.of is int else json.dumps(found)


class SecondsField(_Float):
    """How long processes go by what they know of keys: below a day, and a day where it is not."""

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.FloatField", args, kwargs  # the column is the same

    def from_db_value(self, value: Any, *_: Any) -> Any:
        """Return the seconds; what is not a number as it is, as SQLite may have it."""
        is_other = isinstance(value, float) and not 0 <= value < A_DAY
        return float(A_DAY) if is_other else value


class KeyState(StoredChoices):
    """The states of a master key and of each of its versions, as KMS names them."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    PENDING_DELETION = "pending_deletion", _("pending deletion")
    DESTROYED = "destroyed", _("destroyed")


class KeyUsage(StoredChoices):
    """What the material of a master key is for; it is bound into the wrapping (KMS KeyUsage)."""

    ENCRYPT_DECRYPT = "encrypt_decrypt", _("encrypt and decrypt")
    GENERATE_VERIFY_MAC = "generate_verify_mac", _("generate and verify MACs")


class KeyManager(StoredChoices):
    """Whose a master key is (KMS: KeyManager).

    One that the application manages serves all who have access to the application, as an
    AWS-managed key serves its service. One of a customer serves the grantees of its grants.
    """

    APPLICATION = "application", _("the application")
    CUSTOMER = "customer", _("a customer")
