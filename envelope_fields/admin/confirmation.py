"""The page that asks before anything is done: what will be different, in numbers, and a button.

One page serves what is done to keys, runs, indexes and conversions, and grants. GET shows it, and a
POST of it does what it asked about, unless that has changed since it was shown.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import ceil
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from envelope_fields import lifecycle
from envelope_fields.admin import counts, requests
from envelope_fields.census import CensusRow, census
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.operations import Confirmation, Operation
from envelope_fields.lifecycle.parameters import Kind, Parameter
from envelope_fields.models import MasterKey, MasterKeyVersion


class ConfirmationForm(forms.Form):
    """What an operation takes: a field for each of its parameters; most have none."""

    def __init__(self, page: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        self.page = page
        parameters = page.operation.parameters
        for parameter in parameters:
            self.fields.setdefault(parameter.name, _field(parameter))
        self.order_fields([parameter.name for parameter in parameters])


def text_input() -> AdminTextInputWidget:
    """Return the input for a name, which no browser completes or corrects."""
    return AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"})


def _field(parameter: Parameter) -> forms.Field:
    options: dict[str, Any] = {"label": str(parameter.label), "help_text": str(parameter.help)}
    if parameter.kind is Kind.NUMBER:
        options.update(min_value=parameter.minimum, max_value=parameter.maximum)
        initial = None if parameter.is_required else parameter.default
        return forms.IntegerField(initial=initial, widget=AdminIntegerFieldWidget, **options)
    if parameter.kind is Kind.ALIAS:
        alias = MasterKey._meta.get_field("alias")
        options.update(max_length=alias.max_length, validators=alias.validators)
    return forms.CharField(required=parameter.is_required, widget=text_input(), **options)


class NothingToDo(EnvelopeError):
    """What is asked for would change nothing now."""


class ConfirmationPage(ABC):
    """Something that is done to one row: its words, its form, and the call that does it.

    Attributes:
        operation: as the registry has it.
        text: what is on the button, where that is not the operation's.
        is_grave: whether it cannot be taken back.
        row: what it is done to; the user of the request is known to have the right.
        back: the address to go to afterwards.
    """

    operation: Operation
    text: Any = ""
    is_grave: bool = False
    form_class: ClassVar[type[ConfirmationForm]] = ConfirmationForm
    template: ClassVar[str] = "admin/envelope_fields/masterkey/confirm.html"

    def __init__(self, request: HttpRequest, row: Any, back: str) -> None:
        self.request = request
        self.row = row
        self.back = back

    @property
    def actor(self) -> Any:
        return self.request.user

    @property
    def button(self) -> str:
        return str(self.text or self.operation.button or _("Confirm"))

    @property
    def title(self) -> str:
        return f"{self.button}: {self.row}"

    @property
    def is_possible(self) -> bool:
        """Whether it changes something now."""
        return True

    @property
    def standing(self) -> str:
        """Why it is not possible."""
        raise NotImplementedError

    @property
    def problem(self) -> str:
        """Why it cannot be done here; empty where it can."""
        return ""

    @property
    def can_be_done(self) -> bool:
        """Whether the page offers it; what it calls decides all the same."""
        return not self.problem

    @property
    def rows(self) -> Sequence[CensusRow] | None:
        """The stored values that are shown in a table."""
        return []

    def check(self) -> None:
        """Raise an `EnvelopeError` if there is nothing to ask about."""
        if not self.is_possible:
            raise NothingToDo(self.standing)

    def etag(self) -> str:
        """Return what stands for the present state of the row."""
        return requests.etag_of(self.row)

    def initial(self) -> dict[str, Any]:
        """Return what the form begins with."""
        return {}

    @cached_property
    def form(self) -> Any:
        """The form, with what was sent."""
        if self.request.method == "POST":
            return self.form_class(self, self.request.POST)
        return self.form_class(self, initial=self.initial())

    def is_confirmed(self) -> bool:
        """Whether what was sent is complete."""
        return bool(self.form.is_valid())

    @abstractmethod
    def consequences(self) -> list[str]:
        """Say what will be different afterwards, in numbers."""

    @abstractmethod
    def perform(self) -> str:
        """Do it, and return a message.

        Raises:
            ValidationError: the form has to be filled in differently.
        """


class KeyConfirmation(ConfirmationPage):
    """An operation on a key or on one of its versions, in the words of the registry."""

    @property
    def is_grave(self) -> bool:  # type: ignore[override]  # it follows from the operation
        return self.operation.confirmation is not Confirmation.NONE

    @property
    def title(self) -> str:
        return f"{self.button}: {name_of(self.row)}"

    @property
    def is_possible(self) -> bool:
        return self.operation in lifecycle.possible_operations(self.row)

    @property
    def standing(self) -> str:
        return _("%(what)s is %(state)s: there is nothing to do here.") % {
            "what": name_of(self.row),
            "state": self.row.get_state_display(),
        }

    @cached_property
    def rows(self) -> list[CensusRow] | None:
        """What is stored under it; None where that could not be counted.

        Raises:
            CensusFailed: a grave operation is not offered without a number.
        """
        if self.is_grave:
            return census(self.row)
        count = counts.for_a_page()
        return count.under(self.row) if count.at else None

    @property
    def values(self) -> int | None:
        return None if self.rows is None else counts.total(self.rows)

    def of_values(self, text: str) -> str:
        """Write how many values there are, with their noun, into a text."""
        return text % {"values": counts.values_text(self.values)}

    def consequences(self) -> list[str]:
        return [_("Afterwards, %(what)s is %(past)s.") % self.words()]

    def perform(self) -> str:
        given = self.form.cleaned_data
        return self.message(self.operation.perform(key=self.row, actor=self.actor, **given))

    def message(self, result: Any) -> str:
        """Say what was done, given what the function returned."""
        return _("%(what)s is %(past)s.") % self.words()

    @staticmethod
    def when_it_holds() -> str:
        """Say from when on an operation holds (law 9)."""
        return _(
            "This holds at once in the process that does it, and in others within %(seconds)s "
            "seconds."
        ) % {"seconds": counts.number_text(ceil(lifecycle.seconds_until_known()))}

    def words(self) -> dict[str, Any]:
        """Return what texts about the row are written with."""
        return {"what": name_of(self.row), "past": self.operation.past}


def name_of(row: MasterKey | MasterKeyVersion) -> str:
    """Name a key, or one of its versions."""
    if isinstance(row, MasterKey):
        return str(row)
    return _("%(key)s, version %(number)d") % {"key": row.master_key, "number": row.number}


def buttons(
    pages: Mapping[str, ConfirmationPage], keys: Sequence[MasterKey], name: str, *args: Any
) -> list[dict[str, Any]]:
    """Return a button for each page that the user may use; hidden where nothing would change.

    Args:
        pages: by what they are called at the end of their addresses.
        keys: those that the user needs the rights on.
        name: of their address, as `page_url` takes it.
        *args: what is before the end of their addresses.
    """
    return [
        {
            "name": end,
            "text": page.button,
            "url": requests.page_url(page.request, name, *args, end),
            "is_hidden": not page.is_possible,
        }
        for end, page in pages.items()
        if requests.may(page.request, page.operation, *keys)
    ]


def confirm(page: ConfirmationPage, admin: requests.OwnPages, original: Any) -> HttpResponseBase:
    """Show what an operation will do, or do it; `original` is what the page leads back to.

    Raises:
        KeyAccessDenied: the policy refused it after all.
    """
    return requests.errors_as_messages(
        page.request, page.back, lambda: _confirm(page, admin, original)
    )


def _confirm(page: ConfirmationPage, admin: requests.OwnPages, original: Any) -> HttpResponse:
    # Where it is not possible, a POST finds out from the call itself, which says why.
    if page.request.method == "POST" and page.is_confirmed():
        try:
            with requests.if_unchanged(page.request, page.row, page.etag):
                done = page.perform()
        except ValidationError as error:
            for name, problems in getattr(error, "error_dict", {"": error}).items():
                # What is about no input of this form is about all of it.
                page.form.add_error(name if name in page.form.fields else None, problems)
        else:
            messages.success(page.request, done)
            return redirect(page.back)
    page.check()
    context = {
        **admin.own_context(page.request),
        "original": original,
        "title": page.title,
        "page": page,
        "consequences": page.consequences(),
        "problem": page.problem,
        "can_be_done": page.can_be_done,
        "rows": page.rows or [],
        "form": page.form,
        "shown": page.etag(),
        "media": admin.media + page.form.media,
    }
    return TemplateResponse(page.request, page.template, context)
