"""A master key for each tenant, made when the first value of theirs is written.

class Document(models.Model):
    clinic = models.ForeignKey(Clinic, models.PROTECT)
    body = EncryptedTextField(key=TenantKey("clinic/{clinic_id}"))

Aliases are made of the columns by which a row says whose it is: its own, or those of rows that it
refers to. No two tenants ever have the same alias, whatever their columns hold. Each column has a
whole part between slashes to itself; a value is written there so that it holds no slash and can be
recovered from what is written. Nor are two aliases the same to a database that compares without
case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.core import exceptions
from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import CharField, Field, ForeignKey, IntegerField, Model, TextField, UUIDField
from django.db.models.constants import LOOKUP_SEP
from django.utils.deconstruct import deconstructible

from envelope_fields.fields.keys import RowKey
from envelope_fields.lifecycle import AliasTaken, create_master_key, find_master_key, on_demand
from envelope_fields.models import KeyManager, KeyUsage, MasterKey
from envelope_fields.policy import APPLICATION
from envelope_fields.policy.data import KeyPolicy

ALIAS_LENGTH = 200  # of the column

# Whose values are written in one way only; a column of decimals can hold 1 and 1.0.
_KINDS = (IntegerField, CharField, TextField, UUIDField)

_COLUMN = re.compile(r"\{([A-Za-z]\w*)\}", re.ASCII)
_WORDS = re.compile(r"[A-Za-z0-9_.:@-]+", re.ASCII)
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.-")


@dataclass(frozen=True)
class AliasTemplate:
    """An alias whose parts are words, or names of columns in braces.

    Args:
        text: as in `clinic/{clinic_id}` or `clinic/{ward__clinic_id}/research`.

    Raises:
        ValueError: it is no such text.
    """

    text: str

    def __post_init__(self) -> None:
        sound = all(_COLUMN.fullmatch(part) or _WORDS.fullmatch(part) for part in self.parts)
        if not sound or not self.names or not self.text[0].isalnum():
            raise ValueError(
                f"{self.text!r} is not a template for the aliases of keys. Write words first, then "
                "a slash and the name of a field in braces, as in 'clinic/{clinic_id}'; a name in "
                "braces stands alone between slashes. Words have letters, digits and _ . : @ -"
            )

    @property
    def parts(self) -> list[str]:
        """The words, and the names in their braces."""
        return str(self.text).split("/")  # of what is no text, there is no column

    @property
    def names(self) -> list[str]:
        """What stands in braces."""
        return [column[1] for column in map(_COLUMN.fullmatch, self.parts) if column]

    def matches(self, alias: str) -> bool:
        """Whether this is the alias for some values, in any case of its letters."""
        parts, given = self.parts, alias.split("/")
        return len(parts) == len(given) and all(
            bool(value) if _COLUMN.fullmatch(part) else part.lower() == value.lower()
            for part, value in zip(parts, given, strict=True)
        )

    def alias(self, values: Mapping[str, Any]) -> str:
        """Return the alias for these values, by name.

        Raises:
            TypeError: a value is missing, or not an integer, text or UUID.
            ValueError: a value is empty or the alias too long.
        """
        alias = _COLUMN.sub(lambda column: _written(column[1], values), self.text)
        if len(alias) > ALIAS_LENGTH:
            raise ValueError(
                f"its alias by {self.text!r} would be longer than {ALIAS_LENGTH} characters. Use a "
                "shorter column, such as the tenant's primary key"
            )
        return alias


def _written(name: str, values: Mapping[str, Any]) -> str:
    text = _text(name, values.get(name))
    if not text:
        raise ValueError(f"{name} is empty, and names no tenant")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is text that UTF-8 cannot encode") from None
    return "".join(chr(byte) if byte in _KEPT else f":{byte:02x}" for byte in encoded)


def _text(name: str, value: Any) -> str:
    # Of enumerations the value, which is what the database has, and not the name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(value)
    what = "empty" if value is None else type(value).__name__
    raise TypeError(f"{name} is {what}, and only integers, text and UUIDs name a tenant")


def tenant_value(instance: Model, path: str) -> Any:
    """Return what is in a column, as the column has it: a number that is given as text is a number.

    What the row refers to is loaded if need be.

    Raises:
        FieldError: the path leads to no such column, or something on it is not set.
    """
    tenant_column(type(instance), path)
    *relations, name = path.split(LOOKUP_SEP)
    row: Any = instance
    try:
        for relation in relations:
            row = getattr(row, relation)
        field = _column(type(row), name)
        return field.to_python(getattr(row, field.attname))
    except (AttributeError, exceptions.ObjectDoesNotExist):  # on the way there is NULL, or nothing
        raise FieldError(f"{instance._meta.label}: {path} leads nowhere.") from None
    except exceptions.ValidationError:
        raise FieldError(f"{instance._meta.label}: {path} is not a value of its field.") from None


@cache
def tenant_column(model: type[Model], path: str) -> Field[Any, Any]:
    """Return the column that a path leads to; for a foreign key, the one that it refers to.

    Raises:
        FieldError: there is none, or none that names a tenant: the message says why.
    """
    *relations, name = path.split(LOOKUP_SEP)
    for relation in relations:
        field = _column(model, relation)
        if not isinstance(field, ForeignKey):
            raise FieldError(f"{field} is not a foreign key, and {path} goes on from it.")
        model = field.remote_field.model
    field = _column(model, name)
    while isinstance(field, ForeignKey):
        field = field.target_field
    if hasattr(field, "to_plaintext"):
        raise FieldError(f"{field} is encrypted, and aliases of keys are stored in clear.")
    if not isinstance(field, _KINDS):
        raise FieldError(f"{field} holds neither integers, nor text, nor UUIDs.")
    return field


def _column(model: type[Model], name: str) -> Any:
    """Return the field of a model that has this name or attribute, and a column."""
    with suppress(FieldDoesNotExist):
        field = model._meta.get_field(name)
        if getattr(field, "column", None) is not None:
            return field
    raise FieldError(f"{model._meta.label} has no column {name}.")


@deconstructible
class TenantKey(RowKey):
    """The `key=` of a field whose values are under a key of their tenant.

    Use the same one for every field with data of the tenant. The alias names the tenant by a
    column that never changes, best the primary key: another alias is another key.

    Args:
        template: the aliases, with the name of a column in braces: `clinic/{clinic_id}`. The name
            may go through foreign keys: `clinic/{ward__clinic_id}`. Lower-case letters, digits
            and `_ . -` stand in an alias as they are, other bytes of UTF-8 as `:` and two digits.
        managed_by: whose the keys are. Keys of the application serve all who have access to it; a
            customer's serve the application, and the grantees of its grants.
        rotation_period: of the keys that are made, in days; None rotates them on demand only.

    Raises:
        ValueError: it is not such a template, or there is no such manager of keys.
    """

    def __init__(
        self,
        template: str,
        *,
        managed_by: str = KeyManager.APPLICATION,
        rotation_period: int | None = None,
    ) -> None:
        self.template, self.managed_by = AliasTemplate(template), KeyManager(managed_by)
        self.rotation_period = rotation_period
        self._attributes: Any = {"managed_by": managed_by, "rotation_period": rotation_period}

    def names(self, alias: str) -> bool:
        """Whether this is the alias of some tenant's key."""
        return self.template.matches(alias)

    def __call__(self, instance: Any) -> str:
        """Return the alias of the key of a row's tenant.

        Raises:
            FieldError: the row does not say whose it is, or has no alias.
        """
        if instance is None:
            raise FieldError(f"{self!r} takes the tenant from the row, and there is none.")
        values = {name: tenant_value(instance, name) for name in self.template.names}
        try:
            return self.template.alias(values)
        except (TypeError, ValueError) as error:
            raise FieldError(f"{instance._meta.label} has no key of a tenant: {error}.") from None

    def alias(self, **values: Any) -> str:
        """Return the alias of a tenant's key, as in `alias(clinic_id=7)`.

        Args:
            **values: what the columns of the template hold, by their names there.

        Raises:
            TypeError: other names than those of the template, or no integer, text or UUID.
            ValueError: a value is empty, or the alias too long.
        """
        if set(values) != set(self.template.names):
            raise TypeError(f"{self!r} needs {', '.join(self.template.names)}, by name.")
        return self.template.alias(values)

    def create(self, **values: Any) -> MasterKey:
        """Make the key of a tenant, by values as for `alias`, before it is needed; or return it.

        Raises:
            TypeError, ValueError: as for `alias`.
            MasterKeyUnusable: the key that has the alias does not serve fields, because a user
                made it, or is managed otherwise.
            ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
        """
        alias = self.alias(**values)
        with suppress(AliasTaken):
            return create_master_key(alias, actor=APPLICATION, **self._attributes)
        key = find_master_key(alias)
        KeyPolicy.of(key).check_serves_fields(alias, self.managed_by)
        return key

    def make(self, alias: str, using: str) -> None:
        on_demand.make(alias, using, **self._attributes)

    def make_search_key(self, alias: str, using: str) -> None:
        # One that is rotated makes a version, and no index uses it.
        usage = KeyUsage.GENERATE_VERIFY_MAC
        on_demand.make(alias, using, managed_by=self.managed_by, usage=usage)

    def check(self, field: Any) -> list[CheckMessage]:
        """Return what keeps the rows of a field's model from saying whose they are."""
        hint = (
            "Write the name of a column of the model in braces, as in "
            "TenantKey('clinic/{clinic_id}'); '__' goes through a foreign key."
        )
        problems: list[CheckMessage] = []
        for name in self.template.names:
            try:
                tenant_column(field.model, name)
            except FieldError as error:
                message = f"'key' names tenants by {name!r}. {error}"
                problems.append(Error(message, hint=hint, obj=field, id="envelope_fields.E016"))
        return problems

    def __eq__(self, other: object) -> bool:
        return self._identity == other._identity if isinstance(other, TenantKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"TenantKey({self.template.text!r})"

    @property
    def _identity(self) -> tuple[Any, ...]:
        return type(self), self.template, *self._attributes.values()
