"""How fast a run may go, as it is asked for and shown."""

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.utils.text import format_lazy
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields.admin.confirmation import ConfirmationForm
from envelope_fields.admin.counts import number_text
from envelope_fields.jobs.throttle import BATCH_SIZE, NICE_RATIO, NICEST, Limits
from envelope_fields.models import RotationRun


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


def limits_text(run: RotationRun) -> str:
    """Say how fast a run may go."""
    rate, nice_ratio = run.limits.get("max_rate"), run.limits.get("nice_ratio")
    texts = []
    if rate:
        texts.append(_("at most %(rate)s values a second") % {"rate": number_text(rate)})
    if nice_ratio:
        ratio = number_text(nice_ratio)
        texts.append(_("rests %(ratio)s seconds for each second of work") % {"ratio": ratio})
    return ", ".join(texts) or _("as fast as it can")
