"""What an encrypted field knows of the column in clear whose place it takes."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models.expressions import Col

from envelope_fields.databases import may_live_in
from envelope_fields.fields.conversion import lookups
from envelope_fields.fields.conversion.attribute import loaded_null
from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.prepared import NOT_LOADED
from envelope_fields.fields.types import FieldBase
from envelope_fields.keyring import conversions
from envelope_fields.models import ColumnPhase


class ConvertingMixin(FieldBase):
    """Knows the column in clear whose place a field takes, if it takes that of one."""

    converts: str | None
    legacy_formats: Any
    sealer: Any
    # It is asked for with every value: what is known of all, the database, and the phase there.
    _last_phase: tuple[Any, str, ColumnPhase] = None, "", ColumnPhase.CLEAR

    @property
    def plain_field(self) -> Any:
        """The field in clear that this one converts, of the same model; None without one."""
        if self.converts is None:
            return None
        known = self.__dict__.get("_plain_field")
        if known is None:
            known = self._named_sibling()
            if known is not None:  # it may be declared yet
                self.__dict__["_plain_field"] = known
        return known

    def _named_sibling(self) -> Any:
        try:
            found: Any = self.model._meta.get_field(self.converts or "")
        except FieldDoesNotExist:
            return None
        is_own = getattr(found, "concrete", False) and found.model is self.model
        return found if is_own and not hasattr(found, "to_plaintext") else None

    @property
    def converted(self) -> Any:
        """The field in clear that is read and written by the phase; None where there is none.

        Raises:
            ImproperlyConfigured: one is named, and the model has no such column.
        """
        found = self.__dict__.get("_plain_field") or self.plain_field
        # A migration may remove the one before it changes the other.
        if found is None and self.converts is not None and not is_historical(self.model):
            raise ImproperlyConfigured(
                f"{self}: converts={self.converts!r} names no column in clear of the same model, "
                "so it is not known where its values are. `python manage.py check` says more."
            )
        return found

    @property
    def reads_beside(self) -> bool:
        """Whether the other column has another package's values, and not such as are in clear."""
        return self.converts is not None and bool(self.legacy_formats)

    def phase(self, using: str) -> ColumnPhase:
        """Return which of the two columns is read, and which are written.

        Another package's format is never written: there, it is the last from the beginning.
        `MasterKeyUnusable` if the keys' database cannot be read.
        """
        known, last = conversions.known_conversions(), self._last_phase
        if last[0] is not known or last[1] != using:
            last = self._last_phase = known, using, self._phase(using)
        return last[2]

    def _phase(self, using: str) -> ColumnPhase:
        if self.reads_beside:
            return ColumnPhase.ONLY
        found = self.conversion_owner(using)
        return conversions.conversion_phase(str(found.model._meta.label), found.name)

    def is_finished(self, using: str) -> bool:
        """Whether what another package has stored is not read any more; errors as above."""
        found = self.conversion_owner(using)
        return conversions.is_finished(found.model._meta.label, found.name)

    def conversion_owner(self, using: str) -> Any:
        """Return the field by whose name the conversion of its column is found: mostly itself.

        Several models may be of one table. Under a name of its own, each would be in a phase of its
        own, and one would read the column that another does not write any more.

        Args:
            using: the alias of the database: two tables in different ones may have the same name.
        """
        known = vars(self).setdefault("_owners", {})
        if using not in known:
            known[using] = next(self._before(using), self)
        return known[using]

    def _before(self, using: str) -> Iterator[Any]:
        """Yield the fields of this column in models that come before its own: managed ones do."""
        meta = self.model._meta
        models = meta.apps.get_models(include_auto_created=True, include_swapped=True)
        for model in sorted(models, key=lambda each: not each._meta.managed):
            if model is self.model:
                return
            is_of_table = model._meta.db_table == meta.db_table and not model._meta.proxy
            if is_of_table and may_live_in(using, model):
                for each in model._meta.local_concrete_fields:
                    if hasattr(each, "to_plaintext") and each.column == self.column:
                        yield each

    def lookup_by_phase(self, name: str, encrypted: Any, path: tuple[str, ...] = ()) -> Any:
        """Return the lookup of a name, as the phase has it when SQL is made."""
        return lookups.lookup_by_phase(self, name, encrypted, path)

    def transform_by_phase(self, name: str, encrypted: Any) -> Any:
        """Return the transform of a name, as the phase has it when SQL is made."""
        return lookups.transform_by_phase(self, name, encrypted)

    def column_in_clear(self, alias: str | None, using: str) -> Col | None:
        """Return the column that is read in the place of the encrypted one; None if that is."""
        plain = self.converted
        if plain is None or self.phase(using).reads_new:
            return None
        return Col(alias, plain)  # type: ignore[arg-type]  # None in constraints

    def loaded_null(self, data: dict[str, Any]) -> Any:
        """Return what an object with these attributes holds that is given None."""
        return loaded_null(self, data)

    def raw_converters(self, alias: str | None, connection: Any) -> list[Any]:
        """Return what makes values of what `raw()` has read from the encrypted column.

        While the column in clear is read, they are not those of the field, which stays deferred:
        it is loaded when a caller looks at it, unless `raw()` has read the other column, too.
        """
        if self.reads_beside:
            is_read = self.is_finished(connection.alias)
        else:
            is_read = self.column_in_clear(alias, connection.alias) is None
        return [self.sealer() if is_read else _not_loaded]


def _not_loaded(value: Any, expression: Any, connection: Any) -> Any:
    return NOT_LOADED
