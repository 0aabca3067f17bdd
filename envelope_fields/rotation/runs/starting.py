"""A run is started, once, on a key that has none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction

from envelope_fields import audit
from envelope_fields.census.versions import of_key
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle.context import key_transaction, locked_key, required
from envelope_fields.lifecycle.keys import Key
from envelope_fields.models import KeyState, MasterKey, RotationKind, RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation.idempotency import NOT_REPEATED, IdempotencyKey
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.runs.errors import RotationUnderWay
from envelope_fields.rotation.runs.rows import active_run
from envelope_fields.rotation.scope import declared_columns, scope


def start(
    key: Key,
    *,
    kind: str = RotationKind.REWRAP,
    versions: Iterable[int] = (),
    fields: Iterable[str] = (),
    database: str = "",
    limits: Limits | None = None,
    idempotency_key: IdempotencyKey = NOT_REPEATED,
    actor: Any = None,
) -> RotationRun:
    """Make a run that moves the stored values under a master key, for somebody to work on it.

    `run()` does it in this process.

    Args:
        key: the master key, its id or its alias.
        kind: `rewrap`, which leaves data keys and payloads as they are; or `re_encrypt`, after a
            leak, or when a field got another master key.
        versions: the numbers of the key's versions whose values are moved; by default every one
            that is not current.
        fields: `app_label.Model.field`, or `app_label.Model`; by default all.
        database: only values in this one of `DATABASES`.
        limits: how politely.
        idempotency_key: by which a start that comes again is known, and told of the first run.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the key is not enabled.
        RotationUnderWay: it has a run that is not over.
        NoSuchField: no encrypted field has such a name.
        IdempotencyKeyReused: something else was started with the same one.
        KeyAccessDenied: the actor may not.
        ValueError: no such kind.
    """
    kind, names, numbers = RotationKind(kind), sorted(set(fields)), sorted(set(versions))
    declared_columns(names, database)
    with key_transaction() as using:
        row = locked_key(using, key)
        principal = required(Action.RE_ENCRYPT, row, actor, using)
        first = idempotency_key.first_run()
        if first is not None:
            return first
        _refuse_unless_enabled(row)
        scope(kind, of_key(row.pk), numbers)
        under_way = active_run(row)
        if under_way is not None:
            raise RotationUnderWay(row, under_way)
        run = RotationRun(
            kind=kind,
            master_key=row,
            active_key=row.pk,
            only_versions=numbers,
            only_fields=names,
            only_database=database,
            limits=(limits or Limits()).as_json(),
            actor_type=principal.type,
            actor_id=principal.id,
            actor_name=principal.name[:254],
            start_token=idempotency_key.token,
            start_digest=idempotency_key.digest,
        )
        try:
            with transaction.atomic(using=using):
                run.save(using=using, force_insert=True)
        except IntegrityError:  # a start on another key, which this one's lock does not keep out
            first = idempotency_key.first_run()
            if first is None:  # pragma: no cover - runs of this key the lock does keep out
                raise RotationUnderWay(row, active_run(row)) from None
            return first
        audit.record("start_rotation", actor=principal, using=using, key=row, after=_asked_for(run))
    return run


def _refuse_unless_enabled(key: MasterKey) -> None:
    if key.state != KeyState.ENABLED:
        raise MasterKeyUnusable(
            f"Cannot move the values under the master key {key}: it is "
            f"{key.state.replace('_', ' ')}. A leaked version is disabled alone: enable the key."
        )


def _asked_for(run: RotationRun) -> dict[str, Any]:
    asked = {
        "versions": run.only_versions,
        "fields": run.only_fields,
        "database": run.only_database,
    }
    return {"run": str(run.pk), "kind": str(run.kind), **{k: v for k, v in asked.items() if v}}
