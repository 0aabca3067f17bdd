"""What travels from `pre_save` to `get_db_prep_save` in place of a value.

Django shows a failed statement's variables in its error reports; these show nothing.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLInsertCompiler

from envelope_fields.fields.columns import EncryptedCol
from envelope_fields.fields.statement_parts import PartOfStatement

# A value of another type may be sealed, on its way to the database, or an expression.
PLAIN_TYPES = frozenset(
    (str, bytes, bool, int, float, Decimal, date, datetime, time, timedelta, UUID, dict, list)
)


class PreparedValue:
    """Must not be taken for the value: code that makes text of it would store or show that."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        raise TypeError(
            f"{self!r} is not a value yet: save the object, and read the field from the database."
        )

    def __format__(self, spec: str) -> str:
        return str(self)


class Unencrypted(PreparedValue):
    """A value on its way to be encrypted, and the row that it belongs to."""

    __slots__ = ("instance", "value")

    def __init__(self, value: Any, instance: Model | None) -> None:
        self.value = value
        self.instance = instance


class Kept(PreparedValue):
    """A sealed value whose column is left alone when its object is saved."""

    __slots__ = ("instance", "sealed")

    def __init__(self, sealed: Any, instance: Model) -> None:
        self.sealed = sealed
        self.instance = instance


class StoredEnvelope(PreparedValue):
    """An envelope that a fixture brings for a field, which goes into its column as it is.

    Attributes:
        envelope: the envelope.
        label: of the field that it is for.
        instance: the object whose row it goes to, where it may be of another.
    """

    __slots__ = ("envelope", "instance", "label")

    def __init__(self, envelope: bytes, label: str, instance: Model | None = None) -> None:
        self.envelope = envelope
        self.label = label
        self.instance = instance


class StoredCol(PartOfStatement, EncryptedCol):
    """The column itself, written back into itself.

    Attributes:
        encrypted_anew: what gives the envelope of a new row, where a raw save inserts one: it does
            not say so before.
    """

    encrypted_anew: Callable[[], bytes]

    def __init__(self, field: Any) -> None:
        super().__init__(field.model._meta.db_table, field)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if isinstance(compiler, SQLInsertCompiler):
            return "%s", [self.encrypted_anew()]
        return Col.as_sql(self, compiler, connection)


class Scoped(PreparedValue):
    """A value that is looked for within a scope: `filter(email=Scoped(email, clinic=clinic))`.

    Args:
        value: what is looked for.
        **scope: the value of each field that the index names in its `scope=`.
    """

    __slots__ = ("scope", "value")

    def __init__(self, value: Any, /, **scope: Any) -> None:
        self.value = value
        self.scope = scope

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scoped):
            return False
        return bool((self.value, self.scope) == (other.value, other.scope))

    def __hash__(self) -> int:
        return hash((self.value, frozenset(self.scope)))


class _NotLoaded(PreparedValue):
    """What a query gives in the place of a value that it has not read: it stays deferred."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "NOT_LOADED"


NOT_LOADED = _NotLoaded()
