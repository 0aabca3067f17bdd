"""What operations on keys are given beside the key, for the admin, the API and commands to ask."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise

SHORTEST_WAIT, LONGEST_WAIT = 7, 30  # days; KMS: PendingWindowInDays


class Kind(StrEnum):
    """What a parameter of an operation is."""

    ALIAS = "alias"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What an operation is given beside the key.

    Attributes:
        name: of the argument.
        kind: what it is.
        default: its value where it is left out; `...` where it must be given.
        minimum, maximum: the bounds of a number.
        label, help: for users.
        example: a value, for the documents of the API.
    """

    name: str
    kind: Kind
    default: Any = ...
    minimum: int = 0
    maximum: int = 2**31 - 1
    label: Text = ""
    help: Text = ""
    example: Any = None

    @property
    def is_required(self) -> bool:
        return self.default is ...


# fmt: off
DAYS = Parameter(
    name="days", kind=Kind.NUMBER,
    default=LONGEST_WAIT, minimum=SHORTEST_WAIT, maximum=LONGEST_WAIT, example=7,
    label=_("Waiting period in days"),
    help=_("7 to 30. Until then, the deletion can be cancelled."),
)
CONFIRM = Parameter(
    name="confirm", kind=Kind.TEXT, default=None, example="billing@2030-02-28T17:05:12Z",
    label=_("Name of the key, and its last use"),
)
ALIAS = Parameter(
    name="alias", kind=Kind.ALIAS, example="invoices",
    label=_("Alias"), help=_("A new one, or one that another key has."),
)
# fmt: on
