"""The start of a rotation: which values are to be moved, and what that will do, in numbers."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from envelope_fields.admin import counts
from envelope_fields.admin.confirmation import ConfirmationPage, nothing_to_do
from envelope_fields.admin.limits import LimitsForm
from envelope_fields.admin.requests import etag_of_rotations
from envelope_fields.census import CensusRow
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.census.versions import of_key
from envelope_fields.conf import SETTING
from envelope_fields.jobs import dispatch
from envelope_fields.lifecycle import Operation
from envelope_fields.models import KeyState, MasterKey, RotationKind, RotationRun
from envelope_fields.policy import acting_as
from envelope_fields.rotation import Forecast, Limits, RotationUnderWay, active_run, forecast
from envelope_fields.rotation.runs import start_dispatched
from envelope_fields.rotation.scope import RotationScope, declared_columns

_KINDS = [
    (RotationKind.REWRAP, gettext_lazy("Rewrap: the same data keys, under the current version")),
    (
        RotationKind.RE_ENCRYPT,
        gettext_lazy(
            "Re-encrypt: new data keys, after a leak or where a field has another key now"
        ),
    ),
]


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


class StartRotation(ConfirmationPage):
    """Asks before the values under a key are moved, and has a worker do it."""

    form_class = StartForm
    template = "admin/envelope_fields/rotationrun/start.html"
    preview = "look"  # the name of the button that only shows the numbers

    def __init__(
        self, request: HttpRequest, row: MasterKey, back: str, url: Callable[[RotationRun], str]
    ) -> None:
        super().__init__(Operation.START_ROTATION, request, row, back)
        self._url = url

    @cached_property
    def count(self) -> counts.Count:
        return counts.for_a_page()

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"python manage.py rewrap --key {self.row}")

    @cached_property
    def forecasts(self) -> Sequence[Forecast]:
        """What would be looked at, and how long that takes.

        Raises:
            EnvelopeError, ImproperlyConfigured: as `rotation.forecast` does.
        """
        with acting_as(self.actor):
            return forecast(self.row, **self.form.chosen())

    @cached_property
    def rows(self) -> Sequence[CensusRow]:
        """Where that is, by field and version."""
        chosen = self.form.chosen()
        with acting_as(self.actor):
            versions = chosen.get("versions", ())
            wanted = RotationScope(chosen["kind"], of_key(self.row), versions)
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

    @property
    def seconds(self) -> float:
        """About how long one process takes."""
        form: StartForm = self.form
        return form.limited(sum(each.seconds for each in self.forecasts), self.to_move)

    def is_confirmed(self) -> bool:
        return self.preview not in self.request.POST and super().is_confirmed()

    def check(self) -> None:
        if self.row.state != KeyState.ENABLED:
            raise nothing_to_do(self.row)
        under_way = active_run(self.row)
        if under_way is not None:
            raise RotationUnderWay(self.row, under_way)

    def etag(self) -> str:
        return etag_of_rotations(self.row)

    def consequences(self) -> list[str]:
        if not self.to_move:
            return [_("Nothing to do: every value is where it belongs.")]
        return [
            _how_many(self.forecasts, self.to_move),
            _from_where(self.rows),
            self._how(),
            _("One process takes about %(time)s.") % {"time": counts.duration_text(self.seconds)},
            _(
                "Values can be read and written all the while. The run can be paused, and be "
                "cancelled: what was moved stays moved."
            ),
            _("It is done in your name, and ends if you lose the right to it."),
        ]

    def perform(self) -> str:
        form = self.form
        run = start_dispatched(self.row, **form.chosen(), limits=form.limits(), actor=self.actor)
        self.back = self._url(run)
        return _("The values under %(key)s are being moved.") % {"key": self.row}

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


def worker_problem(command: str) -> str:
    """Say why no worker would work on a run, and which command does; empty where one would."""
    try:
        dispatch.worker()
    except dispatch.NoWorker:
        return _(
            "It would wait, since %(setting)s names no worker. Name one, or run this where the "
            "application runs: %(command)s"
        ) % {"setting": f'{SETTING}["ROTATION_WORKER"]', "command": command}
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def _versions(key: MasterKey, count: counts.Count) -> list[tuple[int, str]]:
    values: dict[int, int] = {}
    for row in count.under(key):
        if row.version is not None:
            values[row.version.number] = values.get(row.version.number, 0) + row.values
    if not count.at:  # it is not known what is stored where
        numbers = key.versions.using(key._state.db).values_list("number", flat=True)
        return [(number, _("version %(number)d") % {"number": number}) for number in numbers]
    return [
        (
            number,
            _("version %(number)d: %(values)s")
            % {"number": number, "values": counts.values_text(values[number])},
        )
        for number in sorted(values)
    ]


def _fields(key: MasterKey, count: counts.Count) -> list[tuple[str, str]]:
    if count.at:
        names = {f"{row.model}.{row.field}" for row in count.under(key)}
    else:
        names = {str(column) for column in encrypted_columns()}
    return [(name, name) for name in sorted(names)]


def _how_many(forecasts: Sequence[Forecast], values: int) -> str:
    text = ngettext(
        "%(values)s in %(fields)s field.", "%(values)s in %(fields)s fields.", len(forecasts)
    )
    fields = counts.number_text(len(forecasts))
    return text % {"values": counts.values_text(values), "fields": fields}


def _from_where(rows: Sequence[CensusRow]) -> str:
    numbers = sorted({row.version.number for row in rows if row.version is not None})
    text = ngettext(
        "They are under version %(numbers)s.", "They are under versions %(numbers)s.", len(numbers)
    )
    return text % {"numbers": ", ".join(map(str, numbers))}
