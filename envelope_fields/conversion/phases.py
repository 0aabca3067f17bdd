"""How far the conversion of a column is, and its end.

From the first deployment on, envelopes are written, and both are read (`open`). A run converts what
is there (`converting`). When nothing is left, the conversion is finished, which is final: what
another package stores from then on is an error, and no run converts it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy as _

from envelope_fields import audit
from envelope_fields.census.columns import Column, NoSuchField
from envelope_fields.census.values import Group, counted
from envelope_fields.conf import configuration
from envelope_fields.databases import database
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.models import DEFAULT_ALIAS, ColumnConversion, ConversionKind, MasterKey
from envelope_fields.policy import Action, require_on_each
from envelope_fields.rotation.scope import chosen_columns


class Phase(TextChoices):
    """How far a conversion is."""

    OPEN = "open", _("open")
    CONVERTING = "converting", _("converting")
    FINISHED = "finished", _("finished")


class ConversionRefused(EnvelopeError):
    """A conversion cannot go on: the error says what is missing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the conversion of a field is.

    Attributes:
        field: `app_label.Model.field`.
        phase: the phase.
        since: when it began; None where nothing was converted yet.
        finished_at: when it was finished.
        remaining: how many values there are by format, over all its tables; what no reader claims
            is under an empty name.
        envelopes: how many envelopes there are.
    """

    field: str
    phase: Phase
    since: datetime | None
    finished_at: datetime | None
    remaining: dict[str, int]
    envelopes: int

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to convert."""
        return not self.remaining


def convertible(label: str) -> Any:
    """Return a field that reads another package's format.

    Args:
        label: `app_label.Model.field`.

    Raises:
        NoSuchField: no encrypted field has the name.
        ConversionRefused: it reads no other format.
    """
    columns = chosen_columns([label])
    field: Any = columns[0].field
    if str(columns[0]).lower() != label.lower():
        raise NoSuchField(f"{label!r} names no field: write app_label.Model.field.")
    if not field.legacy:
        raise ConversionRefused(
            f"{columns[0]} reads no format of another package. Declare it: legacy=[FernetFields()]."
            " Nor does it have converts=: for a column in clear, `python manage.py encrypt_field` "
            "has the lines to declare."
        )
    return field


def standing(field: Any) -> Standing:
    """Return how far the conversion of a field is, counted now.

    Raises:
        CensusFailed: a table could not be counted, or not all of its rows.
    """
    row = _rows(configuration().database).filter(**_names(field)).first()
    remaining: dict[str, int] = {}
    envelopes = 0
    for group in _groups(field):
        if group.version_id is None:
            remaining[group.format] = remaining.get(group.format, 0) + group.values
        else:
            envelopes += group.values
    phase = Phase.OPEN if row is None else Phase(row.phase)
    since, finished_at = (row.started_at, row.finished_at) if row else (None, None)
    return Standing(str(field), phase, since, finished_at, remaining, envelopes)


def standings() -> list[Standing]:
    """Return how far each field is that reads another package's format; errors as above."""
    fields = {str(column): column.encrypted_field for column in chosen_columns()}
    return [standing(field) for _, field in sorted(fields.items()) if field.legacy]


def _groups(field: Any) -> list[Group]:
    """Count what is in all tables of a field: rows of the past are not converted."""
    columns: list[Column] = chosen_columns([str(field)])
    return [group for column in columns for group in counted(column, history=False)]


def begin(field: Any, using: str) -> None:
    """Note that values of a field are being converted, in the caller's transaction."""
    now = timezone.now()
    rows = _rows(using).filter(**_names(field))
    if not rows.exists():
        _rows(using).create(
            **_names(field),
            kind=ConversionKind.LEGACY,
            phase=Phase.CONVERTING,
            started_at=now,
            changed_at=now,
        )


def finish(field: Any, *, actor: Any = None) -> Standing:
    """End the conversion of a field, of whose values none is left in another format.

    It is final, and known in other processes within `KEY_CACHE_SECONDS`.

    Args:
        field: the field.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.

    Raises:
        ConversionRefused: values are left.
        CensusFailed: they could not be counted.
        KeyAccessDenied: the actor may not.
    """
    found = standing(field)
    if found.phase == Phase.FINISHED:
        return found
    if not found.is_done:
        raise ConversionRefused(f"{field}: {remaining_text(found)} are left.")
    with key_transaction() as using:
        database(using).lock_for_writing(ColumnConversion._meta.db_table)
        keys = keys_of(field, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        begin(field, using)
        now = timezone.now()
        rows = _rows(using).filter(**_names(field))
        rows.update(phase=Phase.FINISHED, changed_at=now, finished_at=now)
        after = {"field": str(field), "phase": str(Phase.FINISHED)}
        named: list[tuple[MasterKey | None, Any]] = [(key, after) for key in keys]
        audit.record_each(
            "finish_conversion", named or [(None, after)], actor=principal, using=using,
            before={"phase": str(found.phase)},
        )  # fmt: skip
    return standing(field)


def remaining_text(found: Standing) -> str:
    """Return how many values are left, by format."""
    left = sorted(found.remaining.items())
    return ", ".join(f"{values:,} {format_text(package)}" for package, values in left)


def format_text(package: str) -> str:
    """Return what values of a format are called; one without a name is that of no reader."""
    if not package:
        return gettext("values in no format that it reads")
    return gettext("values of %(package)s") % {"package": package}


def keys_of(field: Any, using: str) -> list[MasterKey]:
    """Return the master key that a field names by its alias, if it is there."""
    if callable(field.key):
        return []
    keys = MasterKey.objects.using(using)
    return list(keys.filter(alias=field.key or DEFAULT_ALIAS))


def _rows(using: str) -> Any:
    return ColumnConversion.objects.using(using)


def _names(field: Any) -> dict[str, str]:
    model = field.model._meta.label
    return {"model": model, "field": field.name}
