"""Rows in every table of ours, and what is in them: a way that we print must not lose any."""

from datetime import UTC, date, datetime

from django.apps import apps
from django.db import models, transaction

from envelope_fields import audit
from envelope_fields.keyring.age import BOUND
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import (
    AuditEvent,
    BlindIndex,
    BlindIndexKey,
    ColumnConversion,
    FurtherWrap,
    KeyCacheBound,
    KeyGrant,
    KeyUse,
    LegacyRead,
    MasterKey,
    MasterKeyVersion,
    RotationColumn,
    RotationFailure,
    RotationKey,
    RotationRange,
    RotationRun,
    StateChange,
)
from envelope_fields.policy import APPLICATION

NOW = datetime(2026, 11, 28, 2, 13, 5, 123456, tzinfo=UTC)


def fill(using):
    """Make rows in every table, in the database of the keys."""
    for alias in ("lab", "billing"):
        create_master_key(alias)
    rotate_master_key("lab")
    rotate_master_key("default")
    lab = MasterKey.objects.using(using).get(alias="lab")
    for person in ("1", "2"):
        KeyGrant.objects.using(using).create(
            master_key=lab, principal_type="auth.user", principal_id=person, actions=["decrypt"]
        )
    for uses, version in enumerate(MasterKeyVersion.objects.using(using).order_by("-pk"), start=1):
        KeyUse.objects.using(using).create(
            version=version, day=date(2026, 11, 28), action="decrypt", channel="kms", uses=uses
        )
        FurtherWrap.objects.using(using).create(
            version_id=version.version_id, wrapped_material=bytes([uses]) * 73, root_key="second"
        )
    for name in ("email", "phone"):
        index = f"field:tests.note.{name}_index"
        BlindIndex.objects.using(using).create(
            label=f"tests.note.{name}_index", name=index, normalizer=name, normalizer_version=1,
            fingerprint="0" * 32, state="reading",
        )  # fmt: skip
        BlindIndexKey.objects.using(using).create(
            name=index, master_key=lab, version=lab.current_version
        )
    for field in ("text", "data"):
        ColumnConversion.objects.using(using).create(
            model="tests.Note", field=field, kind="legacy", phase="finished"
        )
        LegacyRead.objects.using(using).create(
            field=f"tests.note.{field}", day=date(2026, 11, 28), package="FernetFields", reads=7
        )
    KeyCacheBound.objects.using(using).get_or_create(pk=BOUND, defaults={"seconds": 60})
    StateChange.objects.using(using).create(changed_at=NOW, committed_at=NOW)
    run = RotationRun.objects.using(using).create(
        kind="rewrap", master_key=lab, state="completed", actor_type="application", created_at=NOW
    )
    RotationKey.objects.using(using).create(run=run, master_key=lab)
    column = RotationColumn.objects.using(using).create(
        run=run, database="default", model="tests.Note", field="text", total=1
    )
    part = RotationRange.objects.using(using).create(
        column=column, pass_number=1, number=1, until="9"
    )
    RotationFailure.objects.using(using).create(
        range=part, row="7", version_id="00" * 8, cause="DecryptionFailed", message="altered"
    )
    with transaction.atomic(using=using):
        audit.record("look", actor=APPLICATION, using=using, after={"at": "\x7f é 🩺"})
    empty = [model for model in ours() if not model._base_manager.using(using).exists()]
    assert not empty, f"nothing is made in the table of {empty}"
    assert AuditEvent.objects.using(using).count() == 5


def ours():
    return list(apps.get_app_config("envelope_fields").get_models())


def content(using):
    """Return what is in every table, by model, whatever the numbers of rows are."""
    return {
        model.__name__: sorted(map(_said, model._base_manager.using(using).all()), key=repr)
        for model in ours()
    }


def _said(row):
    numbered = isinstance(row._meta.pk, models.AutoField)
    fields = [f for f in row._meta.concrete_fields if not (numbered and f.primary_key)]
    return [_value(row, field) for field in fields]


def _value(row, field):
    if field.remote_field and isinstance(field.remote_field.model._meta.pk, models.AutoField):
        return _said(getattr(row, field.name))
    value = getattr(row, field.attname)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):  # fixtures have milliseconds
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value
