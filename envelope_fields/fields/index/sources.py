"""What a blind index is made of, and which others it stands beside."""

import hashlib
import itertools
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models.constants import LOOKUP_SEP

from envelope_fields.crypto import context
from envelope_fields.crypto.blind_index import IndexDomain, Kind
from envelope_fields.exceptions import IndexNotBegun, IndexNotReady
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.normalizers import Normalizer, find_normalizer
from envelope_fields.fields.prepared import Kept
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.fields.text import TextMixin
from envelope_fields.fields.types import FieldBase
from envelope_fields.keyring.index_rows import IndexSource


class Source(NamedTuple):
    """What an index is made of: an encrypted field, and the path to a value in its JSON."""

    field: Any
    path: tuple[str, ...]


def _is_written(held: Any, field: Any, instance: Any) -> bool:
    """Whether the value that an object holds of a field is written when it is saved."""
    if not isinstance(held, SealedValue):
        return field.attname in vars(instance)
    return not isinstance(held.prepared(field, instance, add=False), Kept)


def type_name(field: Any) -> str:
    """Return what the bytes of a field's values are; empty where its class alone knows."""
    if isinstance(field, TextMixin):
        return "text"
    return getattr(getattr(field, "canonical", None), "name", "")


class SourcesMixin(FieldBase):
    """Knows the encrypted fields of an index, and the indexes beside it."""

    fields: tuple[str, ...]
    normalizer: Any
    key: Any
    scope: tuple[str, ...]
    shared: str | None
    replaces: str | None

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of the encrypted fields."""
        return tuple(path.split(LOOKUP_SEP)[0] for path in self.fields)

    @property
    def is_compound(self) -> bool:
        """Whether it is over several values, which are looked for together."""
        return len(self.fields) > 1

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """What it is made of; `FieldError` if there is no such encrypted field in its table."""
        return tuple(map(self._source, self.fields))

    @cached_property
    def source_fields(self) -> tuple[Any, ...]:
        """The encrypted fields, each once."""
        return tuple(dict.fromkeys(source.field for source in self.sources))

    @cached_property
    def is_before_source(self) -> bool:
        """Whether Django comes to it before a field of it, whose `pre_save()` may set the value."""
        fields: list[Any] = self.model._meta.local_fields
        return fields.index(self) < max(fields.index(field) for field in self.source_fields)

    def _source(self, path: str) -> Source:
        name, *inner = path.split(LOOKUP_SEP)
        field: Any = self._beside(name)
        if not hasattr(field, "to_plaintext"):
            raise FieldError(
                f"{self} is to be an index of {name!r}, which is not an encrypted field of "
                f"{self.model._meta.label} itself."
            )
        return Source(field, tuple(inner))

    def _beside(self, name: str) -> Any:
        """Return the field of a name in the same table, or None."""
        return next((each for each in self.model._meta.local_fields if each.name == name), None)

    @cached_property
    def normal(self) -> Normalizer:
        """What is regarded as equal."""
        return find_normalizer(self.normalizer)

    @cached_property
    def form_of_text(self) -> Callable[[str], str | None] | None:
        """What makes the normal form of a text, where the index is made of that and nothing else.

        None where it takes more: a value of another type, or stored as another text than it is; a
        normaliser of a project; several values, a part of one, or a scope.
        """
        (field, path), *others = self.sources
        if others or path or self.scope or not isinstance(field, TextMixin):
            return None
        stores_it = type(field).to_plaintext is TextMixin.to_plaintext and not field._prepares_text
        reads_it = type(field).from_plaintext is TextMixin.from_plaintext
        is_known = type(self.normal).__module__ == Normalizer.__module__
        if not (stores_it and reads_it and is_known):
            return None
        form: Any = getattr(self.normal, "of_text", self.normal.normalize)
        return form  # type: ignore[no-any-return]

    @cached_property
    def fingerprint(self) -> str:
        """What its values depend on beside its name: 32 hexadecimal digits.

        It is that of the normaliser, where the rest is as it is without options.
        """
        path = LOOKUP_SEP.join(self.sources[0].path)
        template = getattr(getattr(self.key, "template", None), "text", "")  # of tenants' aliases
        if not (path or self.scope or template):
            return self.normal.fingerprint
        parts = [self.normal.fingerprint, path, *self.scope, template]
        encoded = context.encode([part.encode() for part in parts])
        return hashlib.sha256(encoded).hexdigest()[:32]

    @cached_property
    def kept_sources(self) -> tuple[IndexSource, ...]:
        """What its values are made of, as its row keeps it."""
        return tuple(
            IndexSource(
                frozenset((source.field.label, *source.field.previous_contexts)),
                LOOKUP_SEP.join(source.path),
                self.type_of(source),
            )
            for source in self.sources
        )

    def type_of(self, source: Source) -> str:
        """Return what the values of a field are, where their MACs depend on it; empty elsewhere."""
        is_of_bytes = self.normal.normal_forms is None and not source.path
        return type_name(source.field) if is_of_bytes else ""

    @cached_property
    def part_path(self) -> tuple[str, ...]:
        """Where in the values is what it is an index of: nowhere in particular for whole ones."""
        name = self.normal.name.rpartition(".")[2]
        return (*self.sources[0].path, *([name] if self.normal.lossy else []))

    @property
    def covers_value(self) -> bool:
        """Whether it tells values of one field apart, and not parts, nor several together."""
        return not self.is_compound and not self.part_path

    @cached_property
    def field_path(self) -> str:
        """Where it is: `app_label.model.field`."""
        return f"{self.model._meta.label_lower}.{self.name}".lower()

    @cached_property
    def domain(self) -> IndexDomain:
        """What every MAC of it begins with."""
        return IndexDomain(
            Kind.SHARED if self.shared else Kind.FIELD,
            self.shared or self._original_path(),
            self.normal.name,
            self.normal.version,
            LOOKUP_SEP.join(self.sources[0].path),
        )

    def _original_path(self) -> str:
        """Return where the index is that is followed, where this one is that of a history."""
        copied = self.sources[0].field.copied
        if copied is None:
            return self.field_path
        model, _, _ = copied[1].rpartition(".")
        try:
            found: Any = self.model._meta.apps.get_model(model)._meta.get_field(self.name)
        except (LookupError, FieldDoesNotExist):
            return self.field_path
        return str(found.field_path) if isinstance(found, SourcesMixin) else self.field_path

    def is_comparable_with(self, other: Any) -> bool:
        """Whether the same values have the same MACs in both."""
        mine, others = (
            (each.domain, each.key, each.scope, each.is_compound) for each in (self, other)
        )
        return not self.is_compound and mine == others

    def is_changed_in(self, instance: Any) -> bool:
        """Whether an object holds a value of it that is not as its row has it."""
        held = ((each.field, vars(instance).get(each.field.attname)) for each in self.sources)
        return any(_is_written(value, field, instance) for field, value in held)

    # While one index replaces another, both are written.

    @cached_property
    def labels_beside(self) -> frozenset[str]:
        """Where the indexes of its table are, itself among them."""
        beside = self.model._meta.local_fields
        return frozenset(each.field_path for each in beside if isinstance(each, SourcesMixin))

    @cached_property
    def replaced(self) -> Any:
        """The index that this one replaces, while that is there; else None."""
        found = self._beside(self.replaces) if self.replaces else None
        return found if isinstance(found, SourcesMixin) else None

    @property
    def replacing(self) -> list[Any]:
        """The indexes that replace this one: one, where the declarations are right."""
        beside = self.model._meta.local_fields
        return [each for each in beside if getattr(each, "replaces", None) == self.name]

    @property
    def is_replaced(self) -> bool:
        """Whether there is an index that replaces this one."""
        return bool(self.replacing)

    @property
    def newest(self) -> Any:
        """The index that takes the place of this one in the end: itself, where there is none."""
        newer = self.replacing
        return newer[0].newest if newer else self

    def read(self, using: str, alias: str | None) -> Any:
        """Return the index to look in: this one, or the one that it replaces.

        Whether that one may be asked, the keyring says.

        Args:
            alias: of the search key; None where it is not known.
        """
        if self.replaced is None or macs.is_reading(self, alias, using):
            return self
        return self.replaced.read(using, alias)

    @property
    def and_replaced(self) -> list[Any]:
        """This one, and those in whose place it came, the newest first."""
        return [self, *(self.replaced.and_replaced if self.replaced is not None else [])]

    def read_beside(self, other: Any, using: str) -> tuple[Any, Any]:
        """Return the indexes by which two columns are compared: these, or those they replace.

        Raises:
            EnvelopeError: rows could be missing in one of them; or the search key cannot be used.
        """
        pairs = itertools.product(self.and_replaced, other.and_replaced)
        problem: Exception | None = None
        for pair in pairs:
            if pair[0].is_comparable_with(pair[1]):
                try:
                    for each in pair:
                        macs.require_reading(each, using)
                except (IndexNotBegun, IndexNotReady) as error:
                    problem = error
                else:
                    return pair
        assert problem is not None  # noqa: S101 - these two are comparable
        raise problem

    @property
    def only_alias(self) -> str | None:
        """The alias of the search key; None where each scope has its own."""
        return self.key if isinstance(self.key, str) else None
