"""The form that asks which values are to be moved, and how."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields.admin.acts.base import ActForm, values_text
from envelope_fields.admin.counts import Count
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.models import MasterKey, RotationKind
from envelope_fields.rotation import Limits
from envelope_fields.jobs.limits import BATCH_SIZE

_KINDS = [
    (RotationKind.REWRAP, gettext_lazy("Rewrap: the same data keys, under the current version")),
    (
        RotationKind.RE_ENCRYPT,
        gettext_lazy(
            "Re-encrypt: new data keys, after a leak or where a field has another key now"
        ),
    ),
]


class StartForm(ActForm):
    """What a run is to do; versions and fields are those that something is stored under."""

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
    max_rate = forms.IntegerField(
        label=gettext_lazy("At most"),
        required=False,
        min_value=1,
        max_value=1_000_000,
        widget=AdminIntegerFieldWidget,
        help_text=gettext_lazy("Values a second, of each process. Empty: as many as it can."),
    )

    def __init__(self, key: MasterKey, actor: Any, count: Count, *args: Any, **kwargs: Any) -> None:
        super().__init__(key, actor, *args, **kwargs)
        fields: Any = self.fields
        fields["only_versions"].choices = _versions(key, count)
        fields["only_fields"].choices = _fields(key, count)

    def chosen(self) -> dict[str, Any]:
        """Return what `rotation.start` and `rotation.forecast` are told."""
        if not self.is_bound or not self.is_valid():
            return {"kind": RotationKind.REWRAP}
        return {
            "kind": RotationKind(self.cleaned_data["kind"]),
            "versions": self.cleaned_data["only_versions"],
            "fields": self.cleaned_data["only_fields"],
        }

    @property
    def rate(self) -> int | None:
        """Values a second at most, if that was chosen."""
        return self.cleaned_data["max_rate"] if self.is_bound and self.is_valid() else None

    def limits(self) -> Limits:
        """Return how politely; a batch rests a second at most, so that a pause is soon heard."""
        rate = self.rate
        return Limits(batch_size=min(BATCH_SIZE, rate or BATCH_SIZE), max_rate=rate)


def _versions(key: MasterKey, count: Count) -> list[tuple[int, str]]:
    values: dict[int, int] = {}
    for row in count.under(key):
        if row.version is not None:
            values[row.version.number] = values.get(row.version.number, 0) + row.values
    if not count.at:  # nobody knows what is stored where
        numbers = key.versions.using(key._state.db).values_list("number", flat=True)
        return [(number, _("version %(number)d") % {"number": number}) for number in numbers]
    return [
        (
            number,
            _("version %(number)d: %(values)s")
            % {"number": number, "values": values_text(values[number])},
        )
        for number in sorted(values)
    ]


def _fields(key: MasterKey, count: Count) -> list[tuple[str, str]]:
    if count.at:
        names = {f"{row.model}.{row.field}" for row in count.under(key)}
    else:
        names = {str(column) for column in encrypted_columns()}
    return [(name, name) for name in sorted(names)]
