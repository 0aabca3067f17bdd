"""MACs for the column of a blind index, which is begun when it is first needed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from envelope_fields import keyring
from envelope_fields.crypto.blind_index import single_value_part, value_part, version_id
from envelope_fields.exceptions import EnvelopeError, IndexNotBegun, IndexNotReady
from envelope_fields.fields.keys import managed_by
from envelope_fields.keyring import index_rows, indexes, uses
from envelope_fields.keyring.index_rows import IndexColumn
from envelope_fields.keyring.rows import rolled_back_with
from envelope_fields.models import IndexState

_Result = TypeVar("_Result")

# Given the index, the alias of its search key, and the database that it is needed in.
Beginner = Callable[[Any, str, str], None]

_begin: Beginner | None = None


def begin_by(beginner: Beginner) -> None:
    """Set what begins an index: nothing else down here knows how."""
    global _begin
    _begin = beginner


def is_index(field: Any) -> bool:
    """Whether a field is the column of a blind index."""
    return hasattr(type(field), "source_names")


def column_of(index: Any) -> IndexColumn:
    """Return how the keyring knows an index."""
    return IndexColumn(
        index.field_path, index.domain, index.fingerprint, index.labels_beside, index.kept_sources
    )


def index_value(index: Any, alias: str, term: Any, using: str) -> bytes | None:
    """Return what is stored in an index for a value: nothing in one that is retired.

    Args:
        term: the `forms` of the values, and the `scope` of the row.

    Raises:
        EnvelopeError: as `keyring.indexes.values`, naming the index.
    """
    known = indexes.known_value(index.field_path, alias, _part, term)
    if known is not None:
        return known
    return _stored(index, alias, [term], using, uses.WRITE_INDEX)[0]


def values_to_fill(
    index: Any, alias: str, terms: Sequence[Any], using: str
) -> Sequence[bytes | None]:
    """Return what `index_value` does, for rows that are there; it does not count as a use."""
    return _stored(index, alias, terms, using, uses.FILL_INDEX)


def _stored(
    index: Any, alias: str, terms: Sequence[Any], using: str, purpose: uses.Purpose
) -> Sequence[bytes | None]:
    if is_closed(index):
        require_beside(index)
        return [None] * len(terms)
    column, owner = column_of(index), managed_by(index.key)

    def make() -> list[bytes]:
        goes_with = rolled_back_with(index.model, using)
        return indexes.values(purpose, column, alias, _part, terms, goes_with, owner)

    return _begun(index, alias, using, make)


def _part(term: Any) -> bytes:
    if term.scope or len(term.forms) > 1:
        return value_part(term.forms, term.scope)
    return single_value_part(term.forms[0])


def value_looked_for(index: Any, alias: str, term: Any, using: str) -> bytes | None:
    """Return what a value is found by in an index; arguments and errors as below.

    It is None in a scope that has no search key in the index yet, since no row of it has one: who
    looks for one of any tenant makes no key.
    """
    known = indexes.known_value(index.field_path, alias, _part, term, uses.SEARCH_INDEX)
    if known is None and not (lacks_key(index, alias) and is_reading(index, alias, using)):
        [known] = values_looked_for(index, alias, [term], using)
    return known


def lacks_key(index: Any, alias: str) -> bool:
    """Whether no row of an index is under a search key of one scope: it was begun, and not for it.

    Other problems are said where a value is made.
    """
    if index.only_alias is not None or keyring.index_state(index.field_path) is None:
        return False
    try:
        indexes.pinned_version_id(column_of(index), alias)
    except IndexNotBegun:
        return True
    except EnvelopeError:
        return False
    return False


def values_looked_for(index: Any, alias: str, terms: Iterable[Any], using: str) -> list[bytes]:
    """Return what values are found by; `IndexNotReady` if rows could be missing in the index."""
    column, terms = column_of(index), tuple(terms)  # it may be asked twice

    def make() -> list[bytes]:
        return indexes.values(uses.SEARCH_INDEX, column, alias, _part, terms)

    return _begun(index, alias, using, make)


def values_to_verify(index: Any, alias: str, terms: Sequence[Any]) -> list[bytes]:
    """Return what `index_value` does, for a look that does not count as a use."""
    return indexes.values(uses.VERIFY_INDEX, column_of(index), alias, _part, terms)


def is_reading(index: Any, alias: str | None, using: str) -> bool:
    """Whether lookups may ask an index, which is begun where the alias of its key is known."""
    label = index.field_path
    row = keyring.index_state(label)
    if row is None and alias is not None:
        begin(index, alias, using)
        row = keyring.index_state(label)
    return row is not None and row.state == IndexState.READING


def is_closed(index: Any) -> bool:
    """Whether an index is retired, and nothing is written in it any more."""
    row = keyring.index_state(index.field_path)
    return row is not None and row.is_closed


def require_beside(index: Any) -> None:
    """Raise `IndexNotReady` if this build lacks an index that is written together with one."""
    label = index.field_path
    index_rows.require_beside(label, index.labels_beside, keyring.index_state(label))


def require_reading(index: Any, using: str) -> None:
    """Raise if the database may not compare the values of an index for the principal."""
    if index.only_alias is not None:
        values_looked_for(index, index.only_alias, (), using)
        return
    index_rows.require_reading(index.field_path, keyring.index_state(index.field_path))


def is_current(index: Any, alias: str, stored: bytes) -> bool:
    """Whether stored bytes are under the version of the search key that the index is pinned to.

    They are not where it is to none yet: it is begun when the value is made.
    """
    try:
        return indexes.pinned_version_id(column_of(index), alias) == version_id(stored)
    except IndexNotBegun:
        return False


def begin(index: Any, alias: str, using: str) -> None:
    """Begin an index, also with one more search key; `EnvelopeError` if it cannot be here."""
    assert _begin is not None  # noqa: S101 - set when the application is ready
    _begin(index, alias, using)


def _begun(index: Any, alias: str, using: str, make: Callable[[], _Result]) -> _Result:
    try:
        try:
            return make()
        except IndexNotBegun:
            begin(index, alias, using)
            return make()
    except (IndexNotBegun, IndexNotReady):
        raise
    except EnvelopeError as error:
        raise error.saying(f"{index}: {error}") from error
