"""How far the conversion of a column is, and its end.

From the first deployment on, envelopes are written, and both are read (`open`). A run converts what
is there (`converting`). When nothing is left, the conversion is finished, which is final: what
another package stores from then on is an error, and no run converts it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext_lazy as _, ngettext

from envelope_fields import audit, databases
from envelope_fields.census.columns import NoSuchField
from envelope_fields.census.values import counted
from envelope_fields.conf import configuration
from envelope_fields.databases import database
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import DEFAULT_ALIAS, ColumnConversion, ConversionKind, MasterKey
from envelope_fields.models.choices import StoredChoices
from envelope_fields.policy import APPLICATION, Action, Principal, acting, require_on_each
from envelope_fields.rotation.scope import chosen_columns


class Phase(StoredChoices):
    """How far a conversion is."""

    OPEN = "open", _("open")
    CONVERTING = "converting", _("converting")
    FINISHED = "finished", _("finished")


class ConversionRefused(EnvelopeError):
    """A conversion cannot go on: the error says what is missing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the conversion of a field is, over all its tables."""

    field: str  # `app_label.Model.field`
    phase: Phase
    since: datetime | None  # when it began; None where nothing was converted yet
    finished_at: datetime | None
    remaining: dict[str, int]  # values by format; what no reader claims is under an empty name
    envelopes: int

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to convert."""
        return not self.remaining


def encrypted_fields() -> dict[str, Any]:
    """Return the encrypted fields that values can be brought into, by their labels, in order."""
    fields = {str(column): column.encrypted_field for column in chosen_columns()}
    return dict(sorted(fields.items()))


def find_field(label: str) -> Any:
    """Return an encrypted field.

    Args:
        label: `app_label.Model.field`.

    Raises:
        NoSuchField: no encrypted field has the name.
    """
    column = chosen_columns([label])[0]
    if str(column).lower() != label.lower():
        raise NoSuchField(f"{label!r} names no field: write app_label.Model.field.")
    return column.field


def convertible(label: str) -> Any:
    """Return a field that reads another package's format; arguments and errors as above.

    Raises:
        ConversionRefused: it reads no other format.
    """
    field = find_field(label)
    if not field.legacy:
        raise ConversionRefused(
            f"{field} reads no format of another package. Declare it: legacy=[FernetFields()]."
            " Nor does it have converts=: for a column in clear, `python manage.py encrypt_field` "
            "has the lines to declare."
        )
    return field


def standing(field: Any) -> Standing:
    """Return how far the conversion of a field is, counted now, or raise `CensusFailed`."""
    row, remaining, envelopes = phase_row(field), Counter[str](), 0
    for column in chosen_columns([str(field)]):
        for group in counted(column, history=False):  # rows of the past are not converted
            if group.version_id is None:
                remaining[group.format] += group.values
            else:
                envelopes += group.values
    phase = Phase.OPEN if row is None else Phase(row.phase)
    since, finished_at = (row.started_at, row.finished_at) if row else (None, None)
    return Standing(str(field), phase, since, finished_at, dict(remaining), envelopes)


def standings() -> list[Standing]:
    """Return how far each field is that reads another package's format; errors as above."""
    return [standing(field) for field in encrypted_fields().values() if field.legacy]


def finish(field: Any, *, actor: Any = None) -> Standing:
    """End the conversion of a field, of whose values none is left in another format.

    It is final, and known in other processes within `KEY_CACHE_SECONDS`.

    Args:
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.

    Raises:
        ConversionRefused: values are left.
        CensusFailed: they could not be counted.
        KeyAccessDenied: the actor may not.
    """
    refuse_denied(field, actor)
    found = standing(field)
    if found.phase == Phase.FINISHED:
        return found
    if not found.is_done:
        raise ConversionRefused(
            f"{field}: {remaining_text(found)} left. To convert what is left: "
            f"`python manage.py convert_field {field}`."
        )
    with acting_on(field, ColumnConversion, actor) as (using, keys, principal):
        row = begun(field, using, ConversionKind.LEGACY, Phase.CONVERTING)
        row.phase, row.changed_at = Phase.FINISHED, databases.now()
        row.finished_at = row.changed_at
        row.save(using=using, update_fields=["phase", "changed_at", "finished_at"])
        about = {"field": str(field), "phase": str(Phase.FINISHED)}
        before = {"phase": str(found.phase)}
        record("finish_conversion", keys, principal, using, about=about, before=before)
    return standing(field)


def remaining_text(found: Standing) -> str:
    """Return how many values are left, by format."""
    left = sorted(found.remaining.items())
    return ", ".join(f"{values:,} {format_text(package, values)}" for package, values in left)


def format_text(package: str, values: int) -> str:
    """Return what so many values of a format are called; that of no reader has no name."""
    if not package:
        one = "value in no format that it reads"
        return ngettext(one, "values in no format that it reads", values)
    text = ngettext("value of %(package)s", "values of %(package)s", values)
    return text % {"package": package}


# -- What is known of conversions, of either kind --------------------------------------------------


def keys_of(field: Any, using: str) -> list[MasterKey]:
    """Return the master key that a field names by its alias, if it is there."""
    if callable(field.key):
        return []
    return list(MasterKey.objects.using(using).filter(alias=field.key or DEFAULT_ALIAS))


def rows_of(label: object, using: str) -> Any:
    """Return the row of a conversion, of a field or the label of one, as a queryset."""
    model, _, field = str(label).rpartition(".")
    return ColumnConversion.objects.using(using).filter(model=model, field=field)


def phase_row(field: Any) -> ColumnConversion | None:
    """Return the row of a field's conversion as it is now; None where it has not begun."""
    found: ColumnConversion | None = rows_of(field, configuration().database).first()
    return found


def begun(field: Any, using: str, kind: ConversionKind, phase: str) -> ColumnConversion:
    """Return the locked row of a conversion, which begins in a phase where there is none."""
    model, _, name = str(field).rpartition(".")
    now = databases.now()
    first = {"kind": kind, "phase": phase, "started_at": now, "changed_at": now}
    rows = ColumnConversion.objects.using(using)
    rows.get_or_create(model=model, field=name, defaults=first)
    found: ColumnConversion = rows.select_for_update().get(model=model, field=name)
    return found


@contextmanager
def acting_on(
    field: Any, table: type[Model], actor: Any
) -> Iterator[tuple[str, list[MasterKey], Principal]]:
    """Lock a table of the keys' database; yield that, the keys of a field, and who acts.

    They need the right to re-encrypt.
    """
    with key_transaction() as using:
        database(using).lock_for_writing(table._meta.db_table)
        keys = keys_of(field, using)
        yield using, keys, require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)


def refuse_denied(field: Any, actor: Any) -> None:
    """Raise `KeyAccessDenied` unless an actor has that right: before rows are counted for them."""
    with acting_on(field, ColumnConversion, actor):
        pass


def record(
    act: str,
    keys: Sequence[MasterKey],
    principal: Principal,
    using: str,
    *,
    about: Mapping[str, Any],
    before: Mapping[str, Any],
) -> None:
    """Append the audit event of an act for each key of a field, or one for no key."""
    each: list[tuple[MasterKey | None, Any]] = [(key, about) for key in keys]
    audit.record_each(act, each or [(None, about)], actor=principal, using=using, before=before)


# -- Conversions under a name that no field has any more -------------------------------------------


def rename(old: str, new: str, *, actor: Any = None) -> None:
    """Give a conversion the present name of its field, as a migration does that renames one.

    Args:
        old, new: `app_label.Model.field`.
        actor: on whose behalf; None is the current principal. Only the application may.

    Raises:
        ConversionRefused: there is none, it is of a field that is there, no field has the new name,
            or that has a conversion of its own.
        KeyAccessDenied: the actor is not the application.
    """
    principal = _application(actor)
    if new not in encrypted_fields():
        raise ConversionRefused(f"No encrypted field is named {new}.")
    with key_transaction() as using:
        row = _orphan(old, using)
        if rows_of(new, using).exists():
            raise ConversionRefused(f"{new} has a conversion of its own.")
        row.model, _, row.field = new.rpartition(".")
        row.save(using=using, update_fields=["model", "field"])
        audit.record(
            Operation.RENAME_CONVERSION, actor=principal, using=using,
            before={"field": old}, after={"field": new},
        )  # fmt: skip


def forget(label: str, *, actor: Any = None) -> None:
    """Drop a conversion whose field is gone; arguments and errors are those of `rename`."""
    principal = _application(actor)
    with key_transaction() as using:
        row = _orphan(label, using)
        before = {"field": label, "phase": row.phase}
        row.delete()
        audit.record(Operation.FORGET_CONVERSION, actor=principal, using=using, before=before)


def _application(actor: Any) -> Principal:
    principal = acting(actor)
    if principal != APPLICATION:
        raise KeyAccessDenied(
            "What is known of conversions is put right by the application: run "
            "`python manage.py conversions`."
        )
    return principal


def _orphan(label: str, using: str) -> ColumnConversion:
    database(using).lock_for_writing(ColumnConversion._meta.db_table)
    row: ColumnConversion | None = rows_of(label, using).select_for_update().first()
    if row is None:
        raise ConversionRefused(f"There is no conversion of {label}.")
    if label in encrypted_fields():
        raise ConversionRefused(f"{label} is a field, and goes by this conversion.")
    return row
