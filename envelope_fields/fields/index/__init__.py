"""Blind indexes: columns of MACs beside encrypted ones, by which values are found and kept unique.

The field says what it is an index of, and `rows` what objects hold of it. `terms` are values on
their way to be MACs, in `statements` that write and in `lookups`; `scope` confines equality.
`uniqueness` is a constraint, of which `model_options` tells Django.
"""

import itertools
from base64 import b64encode
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NoReturn

from django.core.checks import CheckMessage
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model
from django.db.models.signals import class_prepared

from envelope_fields.crypto.blind_index import INDEX_BYTES
from envelope_fields.databases import database_of
from envelope_fields.fields.index import checks, model_options, statements
from envelope_fields.fields.index.lookup_kinds import lookups_of, no_lookup
from envelope_fields.fields.index.normalizers import Normalizer, TextNormalizer
from envelope_fields.fields.index.rows import (
    IndexAttribute,
    IndexedRow,
    InsertedRow,
    StoredIndex,
    index_of_held,
    index_of_row,
    quick,
    refused,
)
from envelope_fields.fields.index.scope import ScopeMixin
from envelope_fields.fields.index.sources import SourcesMixin
from envelope_fields.fields.index.uniqueness import IndexedUnique
from envelope_fields.fields.prepared import Scoped
from envelope_fields.fields.types import KeyChoice

__all__ = ["BlindIndexField", "IndexedUnique", "Normalizer", "Scoped", "TextNormalizer"]

# The options, and what each is where it is left out.
OPTIONS: dict[str, Any] = {
    "normalizer": "exact",
    "unique": False,
    "key": "search",
    "scope": (),
    "shared": None,
    "replaces": None,
}

# What every index has, and no declaration says.
_FIXED = {"null", "blank", "editable", "db_index", "default", "max_length", "unique", "serialize"}


class BlindIndexField(ScopeMixin, SourcesMixin, models.BinaryField):  # type: ignore[type-arg]
    """Has rows found by an encrypted value: `email_index = BlindIndexField("email")`.

    Lookups are those of the encrypted field, `filter(email="ben@example.com")`, and mean equality
    of normal forms. The index is written by what writes the value, and by nothing else.

    Args:
        *fields: the encrypted field; or several, which are looked for together; or a path into the
            JSON of one, such as `record__mrn`.
        normalizer: what is regarded as equal.
        unique: whether no two rows may have the same normal form.
        key: the alias of the search key, or a `TenantKey`.
        scope: fields of the row that equality is confined to.
        shared: a name that indexes have in common whose values can be compared in the database.
        replaces: the index in whose place this one comes.
        **options: those of every column, such as `db_column`.
    """

    non_db_attrs: tuple[str, ...] = (*Field.non_db_attrs, *sorted(OPTIONS.keys() - {"unique"}))
    descriptor_class = IndexAttribute

    def __init__(
        self,
        *fields: str,
        normalizer: Any = "exact",
        unique: bool = False,
        key: KeyChoice = "search",
        scope: Iterable[str] = (),
        shared: str | None = None,
        replaces: str | None = None,
        **options: Any,
    ) -> None:
        if not all(isinstance(name, str) for name in fields):
            raise TypeError('Name the fields one by one: BlindIndexField("last_name", "born").')
        self.fields = fields
        self.normalizer = normalizer
        self.key = key
        self.scope = (scope,) if isinstance(scope, str) else tuple(scope)
        self.shared = shared
        self.replaces = replaces
        given = {name: option for name, option in options.items() if name not in _FIXED}
        super().__init__(
            unique=unique, null=True, blank=True, editable=False, db_index=not unique, **given
        )

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _, _, kwargs = super().deconstruct()
        options = {option: getattr(self, option) for option in OPTIONS}
        given = {option: each for option, each in options.items() if each != OPTIONS[option]}
        others = {option: kwargs[option] for option in kwargs.keys() - _FIXED}
        return name, "envelope_fields.fields.BlindIndexField", self.fields, {**others, **given}

    def successor(self, name: str, taken: Container[str], *, replaces: bool) -> str:
        """Return the line that declares an index of another name like this one, for messages.

        Args:
            name: of the index that is there.
            taken: the names of fields that there are.
            replaces: whether lookups are to go from that one to the new one.
        """
        options = self.deconstruct()[3]
        options.pop("replaces", None)
        if replaces:
            options["replaces"] = name
        given = [f"{option}={_shown(value)}" for option, value in options.items()]
        number = next(each for each in itertools.count(2) if f"{name}_{each}" not in taken)
        fields = map(_shown, self.fields)
        return f"{name}_{number} = BlindIndexField({', '.join([*fields, *given])})"

    def contribute_to_class(self, cls: type[Model], name: str, **options: Any) -> None:  # type: ignore[override]
        for kept in _found_once(type(self)):
            vars(self).pop(kept, None)  # it may have been of another model
        super().contribute_to_class(cls, name, **options)
        setattr(cls, self.attname, self.descriptor_class(self))
        if not cls._meta.abstract:
            note_indexes(cls)
            model_options.prepare(cls)

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return [*super().check(**kwargs), *checks.check(self)]

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return database_of(connection).indexed_bytes(INDEX_BYTES) or super().db_type(connection)

    # Writing

    @cached_property
    def quick(self) -> Any:
        """What makes the index of most values that are inserted."""
        return quick(self)

    def complete(self, query: Any) -> None:
        """Have an UPDATE that writes a value that this is made of write it, too."""
        statements.complete(self, query)

    def columns_in_conflict(self, named: Sequence[Any], using: str) -> Sequence[Any]:
        """Return the columns that an upsert finds rows by, of the fields that it names."""
        return model_options.columns_in_conflict(self.model, named, using)

    def lookup_of(self, path: tuple[str, ...], lookup_name: str) -> Any:
        """Return the lookup of a name for a part of the values; None if it is not for that."""
        is_for_it = not self.is_compound and not self.is_replaced and self.part_path == path
        return self.lookups.get(lookup_name) if is_for_it else None

    @cached_property
    def lookups(self) -> dict[str, Any]:
        """What may be looked up in it, by the names of lookups."""
        return lookups_of(self)

    def pre_save(self, model_instance: Model, add: bool) -> Any:
        return InsertedRow(model_instance) if add else IndexedRow(model_instance)

    def prepared_raw(self, instance: Model) -> IndexedRow:
        """Return what stands for the index of an object that is saved as it is."""
        return IndexedRow(instance, brought=vars(instance)[self.attname])

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if type(value) is InsertedRow:
            if self.is_before_source:
                return statements.FromStatement(self, value)  # it is made when all are known
            return self.quick(value) or index_of_row(self, value, connection.alias)
        if type(value) is IndexedRow:
            return statements.FromStatement(self, value)
        if value is None:
            return None  # the schema editor asks what rows have that are there already
        if type(value) in statements.HELD:
            return statements.FromStatement(self, IndexedRow(None))
        raise refused(self)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> NoReturn:
        raise refused(self)

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> Any:
        statements.look_at(self, value, compiler.query, connection.alias)
        return connection.ops.binary_placeholder_sql(value)

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> Any:
        # The same for Django 6.1 and later.
        statements.look_at(self, value, compiler.query, connection.alias)
        return connection.ops.binary_placeholder_sql(value, compiler)

    # Reading

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        return StoredIndex(value.encode() if isinstance(value, str) else value)  # SQLite has both

    def to_python(self, value: Any) -> Any:
        if value is None or type(value) is StoredIndex:
            return value
        return StoredIndex(super().to_python(value))  # of the text that a fixture has

    def value_to_string(self, obj: Model) -> Any:
        made = index_of_held(self, obj)
        return None if made is None else b64encode(made).decode("ascii")

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        return value

    def formfield(self, **kwargs: Any) -> None:
        return None

    # Lookups

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        # The one that replaces this one looks in this one, while that is what is read.
        found = self.newest.lookups.get(lookup_name) if self.is_compound else None
        return found or no_lookup(self, lookup_name)

    def get_transform(self, lookup_name: str) -> None:
        return None


def _shown(value: Any) -> str:
    """Return what a declaration has; an object of a project's own may show itself otherwise."""
    if not isinstance(value, str | bool | tuple):
        return "…"
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')


def _found_once(kind: type[BlindIndexField]) -> Iterator[str]:
    """Yield the names of what an index finds out once, of its model."""
    for each in kind.__mro__:
        yield from (name for name, what in vars(each).items() if isinstance(what, cached_property))


def note_indexes(model: type[Model]) -> None:
    """Have the encrypted fields of a model know their indexes."""
    fields = model._meta.local_fields
    indexes = [field for field in fields if isinstance(field, BlindIndexField)]
    for field in fields:
        if hasattr(field, "to_plaintext"):
            vars(field)["indexes"] = tuple(
                index for index in indexes if field.name in index.source_names
            )


def _prepared(*, sender: Any, **_: Any) -> None:
    note_indexes(sender)  # an index may be declared before its field


class_prepared.connect(_prepared, dispatch_uid="envelope_fields.fields.index.prepared")
