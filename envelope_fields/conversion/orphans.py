"""Orphans: conversions under a name that no field has any more."""

from typing import Any

from envelope_fields import audit
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.databases import database
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import ColumnConversion
from envelope_fields.policy import APPLICATION, Principal, acting
from envelope_fields.rotation.scope import chosen_columns


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
    if new not in _labels():
        raise ConversionRefused(f"No encrypted field is named {new}.")
    with key_transaction() as using:
        row = _locked(old, using)
        if _rows(new, using).exists():
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
        row = _locked(label, using)
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


def _locked(label: str, using: str) -> ColumnConversion:
    database(using).lock_for_writing(ColumnConversion._meta.db_table)
    row: ColumnConversion | None = _rows(label, using).select_for_update().first()
    if row is None:
        raise ConversionRefused(f"There is no conversion of {label}.")
    if label in _labels():
        raise ConversionRefused(f"{label} is a field, and goes by this conversion.")
    return row


def _rows(label: str, using: str) -> Any:
    model, _, field = label.rpartition(".")
    return ColumnConversion.objects.using(using).filter(model=model, field=field)


def _labels() -> set[str]:
    return {str(column) for column in chosen_columns()}
