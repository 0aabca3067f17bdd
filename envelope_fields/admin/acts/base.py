"""What the pages that ask before an act have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from django import forms
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from envelope_fields.admin import counts
from envelope_fields.census import CensusRow, census
from envelope_fields.lifecycle import Act, seconds_until_known
from envelope_fields.models import MasterKey, MasterKeyVersion

Row = MasterKey | MasterKeyVersion


class ActForm(forms.Form):
    """What an act has to be told; most are told nothing."""

    def __init__(self, row: Row, actor: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        self.row = row
        self.actor = actor


class ActPage(ABC):
    """One act on one key or version: its words, its form, and the call that does it.

    Attributes:
        act: the act, as the lifecycle names it.
        button: what stands on its button.
        is_grave: whether it takes something away for good; then the values are counted anew.
    """

    act: ClassVar[Act]
    button: ClassVar[str | Promise]
    is_grave: ClassVar[bool] = False
    form_class: ClassVar[type[ActForm]] = ActForm

    def __init__(self, row: Row, actor: Any) -> None:
        self.row = row
        self.actor = actor

    @property
    def key(self) -> MasterKey:
        """The master key, also where the act is on a version of it."""
        return self.row if isinstance(self.row, MasterKey) else self.row.master_key

    @property
    def title(self) -> str:
        return f"{self.button}: {name_of(self.row)}"

    @cached_property
    def rows(self) -> list[CensusRow] | None:
        """What is stored under it; None where that could not be counted.

        Raises:
            CensusFailed: a grave act is not asked for without a number.
        """
        if self.is_grave:
            return census(self.row)
        count = counts.for_a_page()
        return count.under(self.row) if count.at else None

    @property
    def values(self) -> int | None:
        return None if self.rows is None else counts.total(self.rows)

    @property
    def can_be_done(self) -> bool:
        """Whether the page offers it; the lifecycle decides all the same."""
        return True

    def form(self, *args: Any, **kwargs: Any) -> ActForm:
        """Make the form, given what any form of Django is given."""
        return self.form_class(self.row, self.actor, *args, **kwargs)

    def initial(self) -> dict[str, Any]:
        """Return what the form begins with."""
        return {}

    @abstractmethod
    def consequences(self) -> list[str]:
        """Say what will be different afterwards, in numbers."""

    @abstractmethod
    def perform(self, form: ActForm) -> str:
        """Do it, and return what to say about it."""


def name_of(row: Row) -> str:
    """Name a key, or one of its versions, for people."""
    if isinstance(row, MasterKey):
        return str(row)
    return _("%(key)s, version %(number)d") % {"key": row.master_key, "number": row.number}


def values_text(values: int | None) -> str:
    """Write a number of values, with its noun."""
    if values is None:
        return _("The stored values (they could not be counted)")
    text = ngettext("%(values)s stored value", "%(values)s stored values", values)
    return text % {"values": number_format(values, force_grouping=True)}


def when_elsewhere() -> str:
    """Say from when on an act holds (law 9)."""
    return _(
        "This holds at once in the process that does it, and in others within %(seconds)s seconds."
    ) % {"seconds": number_format(seconds_until_known())}
