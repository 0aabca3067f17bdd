"""Bytes of which each row of a batch has its own, packed into one parameter.

To send thousands of them one by one takes a driver, and the parser of a database, longer than to
write them.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple


class Packed(NamedTuple):
    """SQL about the rows of a batch, which are numbered from 1.

    Attributes:
        sql: what gives the bytes of a row, or a condition on them.
        params: what its marks stand for.
        columns: further columns of the batch that are in it: an integer of each row, or NULL.
    """

    sql: str
    params: list[bytes]
    columns: dict[str, list[int | None]]


def packed(
    name: str, values: Sequence[Any], *, batch: str, number: str, mark: str = "%s"
) -> Packed:
    """Return what gives each row of a batch its bytes.

    Args:
        name: what the columns of the batch begin with that it takes.
        values: of the rows, in their order; None is NULL.
        batch: what the batch is called in the statement.
        number: SQL for the number of a row, as an integer.
        mark: of a parameter that is bytes.
    """
    found = [each.encode() if isinstance(each, str) else each for each in values]
    sizes = [None if each is None else len(each) for each in found]
    if not any(size is not None for size in sizes):
        return Packed("NULL", [], {})
    run = b"".join(each for each in found if each is not None)
    if len(set(sizes)) == 1:
        sql = f"substr({mark}, ({number} - 1) * {sizes[0]} + 1, {sizes[0]})"
        return Packed(sql, [run], {})
    starts: list[int | None] = [1, *(end + 1 for end in accumulate(size or 0 for size in sizes))]
    at, size = f"{name}_at", f"{name}_size"
    sql = f"substr({mark}, {batch}.{at}, {batch}.{size})"
    return Packed(sql, [run], {at: starts[:-1], size: sizes})
