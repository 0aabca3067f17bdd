"""What statements about one column are made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from envelope_fields.jobs.job import Key


class Parts(ABC):
    """The names of a table and of its columns, conditions on its keys, and the way to a database.

    Attributes:
        table: the table, quoted, as it stands in statements.
        name: the column, without its table.
        value: the column.
        keys: the columns of the primary key.
        key_list: the same, as a list.
    """

    table: str
    name: str
    value: str
    keys: list[str]
    key_list: str

    @property
    @abstractmethod
    def connection(self) -> Any:
        """This thread's connection to the column's database."""

    @property
    @abstractmethod
    def _locking(self) -> str:
        """What has a SELECT lock rows, and leave out those that are locked where it can."""

    @abstractmethod
    def _quoted(self, name: str) -> str: ...

    @abstractmethod
    def _impatiently(self, statement: str) -> str:
        """Return a statement that waits no longer than `limit_waiting` has said."""

    @abstractmethod
    def _marks(self, items: Sequence[Any]) -> str:
        """Return as many marks of parameters as there are items."""

    @abstractmethod
    def _refuse_standstill(self, after: Key | None, last: Sequence[Sequence[Any]]) -> None:
        """Raise where the rows behind a key end with that very key: it would go on endlessly."""

    @abstractmethod
    def _between(self, after: Key | None, until: Key | None) -> tuple[str, list[Any]]:
        """Return the condition for the keys behind `after` and up to `until`."""

    @abstractmethod
    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        """Return the condition for the rows with some keys."""

    @abstractmethod
    def _read(self, keys: Sequence[str]) -> str:
        """Return what selects keys so that they can go back as they came."""

    @abstractmethod
    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]: ...
