"""What a run would do, in numbers, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from envelope_fields.admin.acts.base import values_text
from envelope_fields.admin.counts import Count
from envelope_fields.admin.rotations.durations import duration_text
from envelope_fields.census import CensusRow
from envelope_fields.census.versions import KeyVersion, of_key
from envelope_fields.models import MasterKey, RotationKind
from envelope_fields.rotation import Forecast, forecast
from envelope_fields.rotation.scope import declared_columns, scope


@dataclass(frozen=True, slots=True)
class Plan:
    """The consequences of a choice.

    Attributes:
        kind: a `RotationKind`.
        current: the version that is current now.
        forecasts: what would be looked at, and how long that takes.
        rows: where it is, by field and version.
        max_rate: values a second at most; None is as many as it can.
    """

    kind: str
    current: KeyVersion
    forecasts: Sequence[Forecast]
    rows: Sequence[CensusRow]
    max_rate: int | None

    @property
    def values(self) -> int:
        return sum(each.values for each in self.forecasts)

    @property
    def seconds(self) -> float:
        """About how long one process takes."""
        needed = sum(each.seconds for each in self.forecasts)
        return max(needed, self.values / self.max_rate) if self.max_rate else needed

    def lines(self) -> list[str]:
        """Say what will be done."""
        if not self.values:
            return [_("Nothing to do: every value is where it belongs.")]
        return [
            _how_many(self.forecasts, self.values),
            _from_where(self.rows),
            self._whereto(),
            _("One process takes about %(time)s.") % {"time": duration_text(self.seconds)},
            _(
                "Values can be read and written all the while. The run can be paused, and be "
                "cancelled: what was moved stays moved."
            ),
            _("It is done in your name, and ends if you lose the right to it."),
        ]

    def _whereto(self) -> str:
        if self.kind == RotationKind.RE_ENCRYPT:
            return _(
                "Each gets a new data key and ciphertext, under the current version of the key "
                "that its field has now."
            )
        return _(
            "Their data keys are wrapped under version %(number)d; the values themselves are not "
            "touched. If a version has leaked, that is not enough: re-encrypt them."
        ) % {"number": self.current.number}


def plan(key: MasterKey, count: Count, asked: dict[str, Any], max_rate: int | None) -> Plan:
    """Find out what a run would do.

    Args:
        key: the master key.
        count: the census.
        asked: `kind`, and maybe `versions` and `fields`, as `rotation.start` takes them.
        max_rate: values a second at most.

    Raises:
        EnvelopeError, ImproperlyConfigured: as `rotation.forecast` does.
    """
    versions = of_key(key)
    wanted = scope(asked["kind"], versions, asked.get("versions", ()))
    looked_at = {
        (column.database, str(column)): wanted.version_ids(column)
        for column in declared_columns(asked.get("fields", ()))
    }
    rows = [
        row
        for row in count.under(key)
        if row.version_id in looked_at.get((row.database, f"{row.model}.{row.field}"), ())
    ]
    return Plan(asked["kind"], versions[-1], forecast(key, **asked), rows, max_rate)


def _how_many(forecasts: Sequence[Forecast], values: int) -> str:
    text = ngettext(
        "%(values)s in %(fields)s field.", "%(values)s in %(fields)s fields.", len(forecasts)
    )
    return text % {"values": values_text(values), "fields": number_format(len(forecasts))}


def _from_where(rows: Sequence[CensusRow]) -> str:
    numbers = sorted({row.version.number for row in rows if row.version is not None})
    text = ngettext(
        "They are under version %(numbers)s.", "They are under versions %(numbers)s.", len(numbers)
    )
    return text % {"numbers": ", ".join(map(str, numbers))}
