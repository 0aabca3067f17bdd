"""What an encrypted field knows of the column in clear whose place it takes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldDoesNotExist

from envelope_fields.fields.types import FieldBase
from envelope_fields.keyring.conversions import conversion_phase
from envelope_fields.models import ColumnPhase


class ConvertingMixin(FieldBase):
    """Knows the column in clear whose place a field takes, if it takes that of one."""

    converts: str | None

    @property
    def plain_field(self) -> Any:
        """The field in clear that this one converts, of the same model; None without one."""
        if self.converts is None:
            return None
        known = vars(self)
        if "_plain_field" not in known:
            found = self._named_sibling()
            if found is None:
                return None  # it may be declared yet
            known["_plain_field"] = found
        return known["_plain_field"]

    def _named_sibling(self) -> Any:
        try:
            found: Any = self.model._meta.get_field(self.converts or "")
        except FieldDoesNotExist:
            return None
        is_own = getattr(found, "concrete", False) and found.model is self.model
        return found if is_own and not hasattr(found, "to_plaintext") else None

    def phase(self, using: str) -> ColumnPhase:
        """Return which of the two columns is read, and which are written.

        Args:
            using: the alias of the database.

        Raises:
            MasterKeyUnusable: the keys' database could not be read.
        """
        return conversion_phase(self.model._meta.label, self.name, using)
