"""The start of a run: how fast it may go, who works on it; of a rotation, which values it moves."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.core.exceptions import ImproperlyConfigured
from django.utils.text import format_lazy
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from envelope_fields.admin import counts, requests
from envelope_fields.admin.confirmation import ConfirmationForm, ConfirmationPage, KeyConfirmation
from envelope_fields.admin.runs import url_of_run
from envelope_fields.census import CensusRow
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.census.values import of_key
from envelope_fields.conf import SETTING
from envelope_fields.jobs import dispatch
from envelope_fields.jobs.throttle import BATCH_SIZE, NICE_RATIO, NICEST, Limits
from envelope_fields.lifecycle import Operation
from envelope_fields.models import KeyState, MasterKey, RotationKind, RotationRun
from envelope_fields.policy import acting_as
from envelope_fields.rotation import Forecast, RotationUnderWay, active_run, forecast
from envelope_fields.rotation.runs import start_dispatched
from envelope_fields.rotation.scope import RotationScope, declared_columns


class LimitsForm(ConfirmationForm):
    """How fast a run may go."""

    max_rate = forms.IntegerField(
        label=gettext_lazy("At most"),
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=AdminIntegerFieldWidget,
        help_text=gettext_lazy("Rows a second, of each process. Empty: as many as it can."),
    )
    nice_ratio = forms.FloatField(
        label=gettext_lazy("Rest"),
        required=False,
        min_value=0,
        max_value=NICEST,
        help_text=format_lazy(
            gettext_lazy(
                "Seconds for each second of work. Empty: {} in conversions, none elsewhere."
            ),
            NICE_RATIO,
        ),
    )

    def limits(self) -> Limits:
        """Return the throttle; a batch waits a second at most, so that a pause is soon noticed."""
        rate = self.cleaned_data["max_rate"]
        return Limits(
            batch_size=min(BATCH_SIZE, rate or BATCH_SIZE),
            max_rate=rate,
            nice_ratio=self.cleaned_data["nice_ratio"],
        )


class StartPage(ConfirmationPage):
    """Has the worker of the settings go through rows, in the name of the user."""

    form_class = LimitsForm
    started: Any = gettext_lazy("The run over the rows of %(what)s has begun.")

    @property
    @abstractmethod
    def command(self) -> str:
        """What does the same without a worker, behind `python manage.py`."""

    @cached_property
    def problem(self) -> str:
        return worker_problem(self.command)

    def consequences(self) -> list[str]:
        return [*self.what(), _("It is done in your name, and ends if you lose the right to it.")]

    @abstractmethod
    def what(self) -> list[str]:
        """Say what is done with the rows."""

    def perform(self) -> str:
        self.back = url_of_run(self.request, self.start()) or self.back
        return str(self.started) % {"what": self.row}

    @abstractmethod
    def start(self) -> RotationRun:
        """Start the run."""


def worker_problem(command: str) -> str:
    """Say why no worker would work on a run, and which command does; empty where one would."""
    try:
        dispatch.worker()
    except dispatch.NoWorker:
        return _(
            "It would wait, since %(setting)s names no worker. Name one, or run this where the "
            "application runs: %(command)s"
        ) % {"setting": f'{SETTING}["ROTATION_WORKER"]', "command": f"python manage.py {command}"}
    except ImproperlyConfigured as error:
        return str(error)
    return ""


_KINDS = {
    RotationKind.REWRAP: gettext_lazy("Rewrap: the same data keys, under the current version"),
    RotationKind.RE_ENCRYPT: gettext_lazy(
        "Re-encrypt: new data keys, after a leak or where a field has another key now"
    ),
}


class StartForm(LimitsForm):
    """What a run is to do; versions and fields are those that something is stored under."""

    field_order = ("kind", "only_versions", "only_fields")
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=_KINDS,
        initial=RotationKind.REWRAP,
        widget=forms.RadioSelect,
    )
    only_versions = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Only versions"),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None chosen: all that are not current."),
    )
    only_fields = forms.MultipleChoiceField(
        label=gettext_lazy("Only fields"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None chosen: all."),
    )

    def __init__(self, page: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(page, *args, **kwargs)
        fields: Any = self.fields
        fields["only_versions"].choices = _versions(page.row, page.count)
        fields["only_fields"].choices = _fields(page.row, page.count)

    def chosen(self) -> dict[str, Any]:
        """Return the arguments of `rotation.start` and `rotation.forecast`."""
        if not self.is_bound or not self.is_valid():
            return {"kind": RotationKind.REWRAP}
        return {
            "kind": RotationKind(self.cleaned_data["kind"]),
            "versions": self.cleaned_data["only_versions"],
            "fields": self.cleaned_data["only_fields"],
        }

    def limited(self, seconds: float, values: int) -> float:
        """Return how long something takes within the limits that were chosen, in seconds."""
        chosen = self.limits() if self.is_bound and self.is_valid() else Limits()
        seconds *= 1 + (chosen.nice_ratio or 0)
        return max(seconds, values / chosen.max_rate) if chosen.max_rate else seconds


class StartRotation(StartPage, KeyConfirmation):
    """Asks before the values under a key are moved, and has a worker do it."""

    operation = Operation.START_ROTATION
    form_class = StartForm
    template = "admin/envelope_fields/rotationrun/start.html"
    started = gettext_lazy("The values under %(what)s are being moved.")
    preview = "look"  # the name of the button that only shows the numbers

    @cached_property
    def count(self) -> counts.Count:
        return counts.for_a_page()

    @property
    def command(self) -> str:
        return f"rewrap --key {self.row}"

    @cached_property
    def forecasts(self) -> Sequence[Forecast]:
        """What would be looked at, and how long that takes.

        Raises:
            EnvelopeError, ImproperlyConfigured: as `rotation.forecast` does.
        """
        with acting_as(self.actor):
            return forecast(self.row, **self.form.chosen())

    @cached_property
    def rows(self) -> list[CensusRow]:
        """Where that is, by field and version."""
        chosen = self.form.chosen()
        with acting_as(self.actor):
            wanted = RotationScope(chosen["kind"], of_key(self.row), chosen.get("versions", ()))
            version_ids = {
                (column.database, str(column)): wanted.version_ids(column)
                for column in declared_columns(chosen.get("fields", ()))
            }
        return [
            row
            for row in self.count.under(self.row)
            if row.version_id in version_ids.get((row.database, f"{row.model}.{row.field}"), ())
        ]

    @property
    def to_move(self) -> int:
        """How many values would be moved."""
        return sum(each.values for each in self.forecasts)

    def is_confirmed(self) -> bool:
        return self.preview not in self.request.POST and super().is_confirmed()

    @property
    def is_possible(self) -> bool:
        return bool(self.row.state == KeyState.ENABLED)

    def check(self) -> None:
        super().check()
        if (under_way := active_run(self.row)) is not None:
            raise RotationUnderWay(self.row, under_way)

    def etag(self) -> str:
        return requests.etag_of_rotations(self.row)

    def consequences(self) -> list[str]:
        if not self.to_move:
            return [_("Nothing to do: every value is where it belongs.")]
        return super().consequences()

    def what(self) -> list[str]:
        seconds = self.form.limited(sum(each.seconds for each in self.forecasts), self.to_move)
        return [
            _how_many(self.forecasts, self.to_move),
            _from_where(self.rows),
            self._how(),
            _("One process takes about %(time)s.") % {"time": counts.duration_text(seconds)},
            _(
                "Values can be read and written all the while. The run can be paused, and be "
                "cancelled: what was moved stays moved."
            ),
        ]

    def start(self) -> RotationRun:
        form = self.form
        return start_dispatched(self.row, **form.chosen(), limits=form.limits(), actor=self.actor)

    def _how(self) -> str:
        if self.form.chosen()["kind"] == RotationKind.RE_ENCRYPT:
            return _(
                "Each gets a new data key and ciphertext, under the current version of the key "
                "that its field has now."
            )
        return _(
            "Their data keys are wrapped under version %(number)d; the values themselves are not "
            "touched. If a version has leaked, that is not enough: re-encrypt them."
        ) % {"number": self.row.current_version.number}


def can_start(key: MasterKey) -> bool:
    """Whether a run of a key could be started now."""
    return key.state == KeyState.ENABLED and active_run(key) is None


def _versions(key: MasterKey, count: counts.Count) -> list[tuple[int, str]]:
    if not count.at:  # it is not known what is stored where
        numbers = key.versions.using(key._state.db).values_list("number", flat=True)
        return [(number, _("version %(number)d") % {"number": number}) for number in numbers]
    values = Counter[int]()
    for row in count.under(key):
        if row.version is not None:
            values[row.version.number] += row.values
    text = _("version %(number)d: %(values)s")
    return [
        (number, text % {"number": number, "values": counts.values_text(values[number])})
        for number in sorted(values)
    ]


def _fields(key: MasterKey, count: counts.Count) -> list[tuple[str, str]]:
    counted = (f"{row.model}.{row.field}" for row in count.under(key))
    names = counted if count.at else map(str, encrypted_columns())
    return [(name, name) for name in sorted(set(names))]


def _how_many(forecasts: Sequence[Forecast], values: int) -> str:
    fields = len(forecasts)
    text = ngettext("%(values)s in %(fields)s field.", "%(values)s in %(fields)s fields.", fields)
    return text % {"values": counts.values_text(values), "fields": counts.number_text(fields)}


def _from_where(rows: Sequence[CensusRow]) -> str:
    numbers = sorted({row.version.number for row in rows if row.version is not None})
    text = ngettext(
        "They are under version %(numbers)s.", "They are under versions %(numbers)s.", len(numbers)
    )
    return text % {"numbers": ", ".join(map(str, numbers))}
