"""New versions of master keys: on demand, and when their period is over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.db.models import DateTimeField, F, Func, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.databases import database_of
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle.context import OperationContext, performing
from envelope_fields.lifecycle.keys import Key, Refused, collecting, found_key, state_after
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.representation import due_at, next_rotation_after
from envelope_fields.models import FurtherWrap, KeyState, KeyUsage, MasterKey, MasterKeyVersion
from envelope_fields.policy import require

_TRIES = 20


@dataclass(slots=True)
class Rotations:
    """What `rotate_due_keys` did.

    Attributes:
        rotated: the new versions.
        refused: the keys that were due and are not rotated, and why: disabled, or failed.
    """

    rotated: list[MasterKeyVersion] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version that is not saved yet, and its further wraps."""

    row: MasterKeyVersion
    further: Sequence[FurtherWrap]

    def save(self, using: str) -> None:
        """Insert it, in the caller's transaction."""
        self.row.save(using=using, force_insert=True)
        FurtherWrap.objects.using(using).bulk_create(self.further)


@performs(Operation.ROTATE)
def rotate_master_key(key: Key, *, actor: Any = None) -> MasterKeyVersion:
    """Make a new version of a master key, which is current from now on (KMS: RotateKeyOnDemand).

    Values stay under their versions and can be read as before. Where this process may wrap with the
    root key and not unwrap, the version is current once `open_master_key_versions` has opened it.

    Args:
        key: a master key, its id or its alias.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is not enabled.
        KeyAccessDenied: the actor may not.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    if isinstance(key, MasterKeyVersion):
        raise TypeError("A version is not rotated; its master key is.")
    version = _rotated(key, actor)
    assert version is not None  # noqa: S101 - nothing was in the way
    return version


def next_rotation(key: Key) -> datetime | None:
    """Return when `rotate_due_keys` rotates a key: its period after its newest version.

    None means never: it has no period, or its deletion is under way. A disabled key is due as
    others are, and not rotated until it is enabled.

    Raises:
        MasterKeyNotFound: there is no such key.
    """
    row = found_key(configuration().database, key)
    return next_rotation_after(row, _newest(row).created_at)


def rotate_due_keys(*, actor: Any = None) -> Rotations:
    """Rotate every key whose period is over (KMS: automatic key rotation); for cron.

    Each is rotated in a transaction of its own, and once, however many do this at once. One that
    fails keeps none of the others from it.

    Args:
        actor: as for `create_master_key`.
    """
    done = Rotations()
    for key in _with_periods():
        if not _is_due(key, key.newest):  # type: ignore[attr-defined]  # annotated
            continue
        with collecting(done.refused, key):
            version = _rotated(key, actor, only_if_due=True)
            if version is not None:
                done.rotated.append(version)
    return done


def _rotated(key: Key, actor: Any, *, only_if_due: bool = False) -> MasterKeyVersion | None:
    """Make a version and store it, unless another operator rotated a key that was due.

    It is wrapped before the transaction, for the number that is next then. An operator who was
    faster has taken the number, and it is wrapped again.
    """
    for _ in range(_TRIES):
        made = _wrapped(key, actor)
        version = made.row
        with performing(Operation.ROTATE, key, actor) as done:
            state_after(Operation.ROTATE, done.key)
            newest = _newest(done.key)
            if only_if_due and not _is_due(done.key, newest.created_at):
                return None
            if (version.master_key_id, version.number) == (done.key.pk, newest.number + 1):
                _store(made, done)
                return version
    raise MasterKeyUnusable(f"Others are rotating the master key {key} all the time. Try again.")


def _wrapped(key: Key, actor: Any) -> NewVersion:
    """Make the next version of a key, if that is allowed now."""
    using = configuration().database
    row = found_key(using, key)
    require(Operation.ROTATE.action, row, actor, using=using)
    state_after(Operation.ROTATE, row)
    return new_version(row, _newest(row).number + 1)


def new_version(key: MasterKey, number: int) -> NewVersion:
    """Make a version of a key, its material wrapped by its root keys.

    Call it outside of the transaction that saves it: a root key may take long.
    """
    now = timezone.now()
    made = keyring.generate_version(key.id, number, KeyUsage(key.usage), key.root_key)
    row = MasterKeyVersion(master_key=key, created_at=now, state_changed_at=now, **made.columns)
    return NewVersion(row, made.further_wraps())


def _store(made: NewVersion, done: OperationContext) -> None:
    before, version = done.key.current_version.number, made.row
    try:
        made.save(done.using)
    except IntegrityError as error:
        raise MasterKeyUnusable(
            f"The master key {done.key} has been rotated since this transaction began, which does "
            "not see it. Try again in another one."
        ) from error
    after = {"current_version": version.number if version.opened_at else before}
    if version.opened_at is None:
        after["unopened_version"] = version.number
    done.record(Operation.ROTATE, {"current_version": before}, after)


def _newest(key: MasterKey) -> MasterKeyVersion:
    newest = key.versions.using(configuration().database).order_by("-number").first()
    if newest is None:
        raise key.without_versions()
    return newest


def _with_periods() -> list[MasterKey]:
    keys = MasterKey.objects.using(configuration().database).filter(
        rotation_period__isnull=False, state__in=(KeyState.ENABLED, KeyState.DISABLED)
    )
    return list(keys.annotate(newest=Max("versions__created_at")).order_by("alias", "pk"))


def _is_due(key: MasterKey, newest: datetime | None) -> bool:
    if newest is None:  # the rows of its versions are gone, which its rotation says
        return True
    due = due_at(key.rotation_period, newest)
    return due is not None and due <= timezone.now()


_NEVER_ROTATED = (KeyState.PENDING_DELETION, KeyState.DESTROYED)


class _DaysLater(Func):
    """A moment, some days later; each database has a syntax of its own for it."""

    output_field = DateTimeField()

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **context: Any) -> Any:
        template, joiner = database_of(connection).DAYS_LATER
        return super().as_sql(compiler, connection, None, template, joiner, **context)


def with_versions(keys: QuerySet[MasterKey]) -> QuerySet[MasterKey]:
    """Add `version_count`, `current_number`, `rotated_at` and `due_at` to keys.

    The numbers of a key's versions have no gaps, so the newest says how many there are.
    """
    versions = MasterKeyVersion.objects.using(keys.db).filter(master_key=OuterRef("pk"))
    newest = versions.order_by("-number")
    return keys.annotate(
        version_count=Subquery(newest.values("number")[:1]),
        current_number=Coalesce(
            Subquery(newest.filter(opened_at__isnull=False).values("number")[:1]), 1
        ),
        rotated_at=Subquery(newest.values("created_at")[:1]),
        due_at=_DaysLater(F("rotated_at"), F("rotation_period")),
    )


def due_keys(keys: QuerySet[MasterKey]) -> QuerySet[MasterKey]:
    """Pick the keys whose rotation period is over."""
    return keys.filter(Q(due_at__lte=timezone.now())).exclude(state__in=_NEVER_ROTATED)
