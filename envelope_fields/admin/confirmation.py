"""The page that asks before anything is done: what will be different, in numbers, and a button.

One page serves the operations on keys and rotations, and grants. GET shows it, and a POST of it
does what it asked about, unless that has changed since it was shown.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from math import ceil
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from envelope_fields import lifecycle
from envelope_fields.admin import counts
from envelope_fields.admin.requests import ChangedMeanwhile, etag_of, if_unchanged
from envelope_fields.census import CensusRow, census
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, MasterKeyUnusable
from envelope_fields.lifecycle import operations
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
            if parameter.name not in self.fields:
                self.fields[parameter.name] = _field(parameter)
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


class ConfirmationPage(ABC):
    """One operation on one row: its words, its form, and the call that does it.

    Attributes:
        operation: as the registry has it.
        row: what it is done to; the user of the request is known to have the right.
        back: the address to go to afterwards.
        is_grave: whether it cannot be taken back.
    """

    is_grave: bool = False
    form_class: ClassVar[type[ConfirmationForm]] = ConfirmationForm
    template: ClassVar[str] = "admin/envelope_fields/masterkey/confirm.html"

    def __init__(
        self, operation: lifecycle.Operation, request: HttpRequest, row: Any, back: str
    ) -> None:
        self.operation = operation
        self.request = request
        self.row = row
        self.back = back

    @property
    def actor(self) -> Any:
        return self.request.user

    @property
    def button(self) -> str:
        return str(self.operation.button or _("Confirm"))

    @property
    def title(self) -> str:
        return f"{self.button}: {name_of(self.row)}"

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

    def check(self) -> None:  # noqa: B027 - a grant is possible in each state of a key
        """Raise if there is nothing to ask about.

        Raises:
            EnvelopeError: the row is in a state in which it would change nothing.
        """

    def etag(self) -> str:
        """Return what stands for the present state of the row."""
        return etag_of(self.row)

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

    def __init__(
        self, operation: lifecycle.Operation, request: HttpRequest, row: Any, back: str
    ) -> None:
        super().__init__(operation, request, row, back)
        self.is_grave = operation.confirmation is not operations.Confirmation.NONE

    @property
    def key(self) -> MasterKey:
        """The master key, also where the operation is on a version of it."""
        key: MasterKey = self.row if isinstance(self.row, MasterKey) else self.row.master_key
        return key

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

    def check(self) -> None:
        if self.operation not in lifecycle.possible_operations(self.row):
            raise nothing_to_do(self.row)

    def consequences(self) -> list[str]:
        return [_("Afterwards, %(what)s is %(past)s.") % self.words()]

    def perform(self) -> str:
        cleaned = self.form.cleaned_data
        names = (parameter.name for parameter in self.operation.parameters)
        given = {name: cleaned[name] for name in names if name in cleaned}
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


def nothing_to_do(row: Any) -> MasterKeyUnusable:
    """Return the error for a key or version in whose state an operation changes nothing."""
    return MasterKeyUnusable(
        _("%(what)s is %(state)s: there is nothing to do here.")
        % {"what": name_of(row), "state": row.get_state_display()}
    )


def confirm(page: ConfirmationPage, context: Callable[[], dict[str, Any]]) -> HttpResponseBase:
    """Show what an operation will do, or do it.

    Args:
        page: the operation.
        context: returns what every page of the admin site has.

    Raises:
        KeyAccessDenied: the policy refused it after all.
    """
    return errors_as_messages(page.request, page.back, lambda: _confirm(page, context))


def errors_as_messages(
    request: HttpRequest, back: str, view: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    """Return the response of a view, or go back with a message that says why there is none.

    Raises:
        KeyAccessDenied: the policy refused it, which is a 403.
    """
    try:
        return view()
    except (lifecycle.AliasRefused, ChangedMeanwhile) as error:
        messages.error(request, str(error))
        return redirect(request.path)
    except KeyAccessDenied:
        raise
    except (EnvelopeError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return redirect(back)


def _confirm(page: ConfirmationPage, context: Callable[[], dict[str, Any]]) -> HttpResponse:
    # Where it is not possible, a POST finds out from the call itself, which says why.
    if page.request.method == "POST" and page.is_confirmed() and _is_done(page):
        return redirect(page.back)
    page.check()
    common = context()
    return TemplateResponse(
        page.request,
        page.template,
        {
            **common,
            "title": page.title,
            "page": page,
            "consequences": page.consequences(),
            "problem": page.problem,
            "can_be_done": page.can_be_done,
            "rows": page.rows or [],
            "form": page.form,
            "shown": page.etag(),
            "back": page.back,
            "media": common["media"] + page.form.media,
        },
    )


def _is_done(page: ConfirmationPage) -> bool:
    try:
        with if_unchanged(page.request, page.row, page.etag):
            done = page.perform()
    except ValidationError as error:
        page.form.add_error(None, error)
        return False
    messages.success(page.request, done)
    return True
