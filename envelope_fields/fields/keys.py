"""Keys that a field chooses by the row, and those that it makes when it needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

from django.core.checks import CheckMessage
from django.core.exceptions import FieldError
from django.db.models import Field, Model
from django.db.models.base import ModelState
from django.db.models.constants import OnConflict

from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.errors import named
from envelope_fields.models import DEFAULT_ALIAS

Maker = Callable[[str, str], None]  # given what `RowKey.make` is given

_make_default: Maker | None = None


class RowKey(ABC):
    """A `key=` that gives each row the alias of its master key, and can make that key.

    A plain function does as well where all keys are made beforehand.

    Attributes:
        managed_by: who manages the keys, by this declaration; None is anybody.
    """

    managed_by: str | None = None

    @abstractmethod
    def __call__(self, instance: Any) -> str:
        """Return the alias of a row's key; for None, raise."""

    @abstractmethod
    def make(self, alias: str, using: str) -> None:
        """Make the key that a value is about to be written under; it may be there meanwhile.

        Reading never comes here.

        Args:
            alias: what the call returned, and no key has.
            using: the database that the value goes to.

        Raises:
            EnvelopeError: it cannot be made here; the message says how it can.
        """

    def make_search_key(self, alias: str, using: str) -> None:
        """Make the key that a blind index is about to be begun with; see `make`.

        Raises:
            EnvelopeError: it cannot be made here.
        """
        raise MasterKeyNotFound(
            f"No master key has the alias {alias!r}. Make one of the usage `generate_verify_mac`."
        )

    def names(self, alias: str) -> bool:
        """Whether a row could have this alias."""
        return False

    def check(self, field: Any) -> list[CheckMessage]:
        """Return what is wrong with this as the key of a field."""
        return []


def make_default_by(maker: Maker) -> None:
    """Set what makes the key `default`: nothing else down here knows how."""
    global _make_default
    _make_default = maker


def alias_for(field: Any, instance: Model | None) -> str:
    """Return the alias that a field's callable `key` has for a row.

    Raises:
        FieldError: there is no row, and the key needs one; or it is no alias.
    """
    alias = _alias_without_row(field.key) if instance is None else field.key(instance)
    if isinstance(alias, str):
        return alias
    if instance is None:
        raise FieldError(
            f"{field} takes its key from the instance, and Django gives none here. Use save() or "
            "bulk_create(); for bulk_update(), a manager made of "
            "envelope_fields.fields.EncryptedQuerySet; or let key(None) return an alias."
        )
    raise FieldError(
        f"{field}: key= returned {type(alias).__name__} instead of the alias of a master key."
    )


def _alias_without_row(key: Any) -> Any:
    try:
        return key(None)
    except Exception:  # it was made for instances
        return None


def make_key(field: Any, alias: str, using: str | None, error: EnvelopeError) -> None:
    """Make the key that a value needs, or raise what was wrong, naming the field.

    Args:
        field: the field of the value.
        alias: of the key.
        using: the database that the value goes to; None for a dump, which only reads.
        error: what the keyring raised.
    """
    make = _maker(field, alias) if isinstance(error, MasterKeyNotFound) else None
    if using is None or make is None:
        raise named(field, error) from error
    try:
        make(alias, using)
    except EnvelopeError as problem:
        raise named(field, problem) from problem


def _maker(field: Any, alias: str) -> Maker | None:
    """Return what makes a key that a field does not find by its alias, or None.

    A migration may come before the tables are as the code of today has them: it says what it
    depends on instead.
    """
    if isinstance(field.key, RowKey):
        return field.key.make
    return _make_default if alias == DEFAULT_ALIAS and not is_historical(field.model) else None


def managed_by(key: Any) -> str | None:
    """Return who manages the key of a field, by the `key=` of its declaration; None is anybody."""
    return key.managed_by if isinstance(key, RowKey) else None


def refuse_other_keys(field: Any, compiler: Any) -> None:
    """Look at the statement that a value of a field is for, once.

    In an upsert, a value is encrypted for the object that is given, and may come into a row that is
    there already. So the key must follow from columns that are the same in both: the row was found
    by them, or gets them with the value. Otherwise the value would be under the key of another
    owner, and be lost with that one.

    Raises:
        FieldError: it is an upsert in which the key follows from columns that stay as they are.
    """
    query = compiler.query
    checked = vars(compiler).setdefault("envelope_fields_checked", set())
    if getattr(query, "on_conflict", None) is not OnConflict.UPDATE or field in checked:
        return
    checked.add(field)
    if field not in query.update_fields:
        return
    staying = _staying(query)
    has_target = compiler.connection.features.supports_update_conflicts_with_target
    where = f"{'unique_fields or ' if has_target else ''}update_fields"
    for instance in query.objs:
        if getattr(instance, field.attname) is not None and not _same_key(field, instance, staying):
            raise FieldError(
                f"{field} takes its key from the row, and this upsert may change a row with "
                f"another key than the object has. Name the columns that key= looks at in {where}."
            )


def _staying(query: Any) -> list[Field[Any, Any]]:
    """Return the fields in which a row that is there may differ from the object, also after it."""
    same = {*query.update_fields, *query.unique_fields}
    return [field for field in query.get_meta().concrete_fields if field not in same]


def _same_key(field: Any, instance: Model, staying: Collection[Field[Any, Any]]) -> bool:
    try:
        return bool(field.key(_without(instance, staying)) == field.key(instance))
    except Exception:  # it asked for what is not there
        return False


def _without(instance: Model, fields: Collection[Field[Any, Any]]) -> Model:
    """Return a copy of an object that lacks these fields, and does not load them."""
    lacking = {name for field in fields for name in (field.name, field.attname)}
    state: Any = ModelState()
    state.db, state.fields_cache = (
        instance._state.db,
        _but(lacking, instance._state.fields_cache),
    )
    # Without a primary key, Django would look for it without end.
    keys = {field.attname: None for field in instance._meta.pk_fields if field in fields}
    row = type(instance).__new__(type(instance))
    vars(row).update(_but(lacking, vars(instance)), **keys, _state=state, refresh_from_db=_refuse)
    return row


def _but(names: Collection[str], attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}


def _refuse(**_: Any) -> None:
    raise AttributeError("not to be loaded")
