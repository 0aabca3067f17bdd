"""Root keys: whether they are ready, the wraps that are stored, and versions that wait for one.

The wraps of a row are read together, and replaced only where they are still what was read.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import TextChoices
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import (
    MasterKeyNotFound,
    MasterKeyUnusable,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.keyring import rows
from envelope_fields.keyring.rows import KeyRow, Wrap, further_wraps
from envelope_fields.lifecycle.context import performing
from envelope_fields.lifecycle.keys import Refused, collecting
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import OVERWRITTEN, AuditKey, FurtherWrap, KeyState, MasterKeyVersion
from envelope_fields.root_keys import MayNotUnwrap

Row = MasterKeyVersion | AuditKey


class Readiness(TextChoices):
    """What a root key can do for this process at this moment."""

    READY = "ready"
    WRAPS_ALONE = "wraps alone"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class RootKeyCheck:
    """What came of asking a root key.

    Attributes:
        root_key: its name in the settings.
        readiness: what it can do.
        message: what is wrong, and what to do; empty where nothing is.
    """

    root_key: str
    readiness: Readiness
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether this process can work with it."""
        return self.readiness in (Readiness.READY, Readiness.WRAPS_ALONE)


def check_root_keys() -> list[RootKeyCheck]:
    """Ask each root key of the settings whether it can wrap and unwrap, as KMS's DryRun does.

    For probes of readiness: a probe of liveness would restart healthy processes, which still have
    their material, while a service does not answer.

    Raises:
        ImproperlyConfigured: the settings of the package are wrong, or name no root key.
    """
    configuration().wrapping_root_key  # noqa: B018 - raises where there is none
    return [_checked(name) for name in configuration().root_keys]


def _checked(name: str) -> RootKeyCheck:
    try:
        keyring.check_root_key(name)
        _open_newest(name)
    except MayNotUnwrap as error:
        return RootKeyCheck(name, Readiness.WRAPS_ALONE, str(error))
    except RootKeyUnavailable as error:
        return RootKeyCheck(name, Readiness.UNAVAILABLE, str(error))
    except RootKeyRefused as error:
        return RootKeyCheck(name, Readiness.REFUSED, str(error))
    except ImproperlyConfigured as error:
        return RootKeyCheck(name, Readiness.MISCONFIGURED, str(error))
    return RootKeyCheck(name, Readiness.READY)


def _open_newest(name: str) -> None:
    """Raise `RootKeyRefused` if a root key does not open what it has wrapped last: it is another.

    A service says so itself: what it wraps names its key, and each question costs.
    """
    if keyring.is_service(name):
        return
    versions = MasterKeyVersion.objects.using(configuration().database).filter(root_key=name)
    with suppress(DatabaseError, MasterKeyNotFound, MasterKeyUnusable):  # another probe's matter
        newest = versions.exclude(state=KeyState.DESTROYED).order_by("created_at").last()
        if newest is not None:
            keyring.check_wrap(bytes(newest.version_id), name)


@dataclass(frozen=True, slots=True)
class StoredWraps:
    """The wraps of a row, as they were when they were read; `read` has its own, for the keyring."""

    row: Row
    read: KeyRow
    further: list[Wrap]

    @classmethod
    def of(cls, row: Row) -> "StoredWraps":
        """Read the wraps of a row.

        Raises:
            MasterKeyNotFound: it is gone.
            MasterKeyUnusable: the database could not be read.
        """
        if isinstance(row, MasterKeyVersion):
            read = rows.with_version_id(bytes(row.version_id), usage=None)
        else:
            read = rows.read_again(rows.of_audit_key(row))
        return cls(row, read, further_wraps(read.state.version_id))

    @property
    def all(self) -> list[Wrap]:
        """All wraps; the first is that of the row."""
        return [self.read.wrap, *self.further]

    @property
    def are_destroyed(self) -> bool:
        return KeyState.DESTROYED in (self.read.state.state, self.read.state.key_state)

    def replace(self, using: str, wraps: Sequence[Wrap]) -> bool:
        """Write others in their place, and overwrite those that are not among them.

        In a transaction that holds the lock of the key, or of the trail.

        Returns:
            Whether they were still what was read; nothing is written otherwise.
        """
        own, *further = wraps
        if further_wraps(self.read.state.version_id) != self.further:
            return False
        table: Any = type(self.row)._default_manager.using(using)
        same = table.filter(pk=self.row.pk, **self.read.wrap._asdict())
        if not same.update(**own._asdict()):
            return False
        self._replace_further(using, further)
        for name, value in own._asdict().items():
            setattr(self.row, name, value)
        return True

    def _replace_further(self, using: str, wraps: Sequence[Wrap]) -> None:
        version_id = self.read.state.version_id
        table = FurtherWrap.objects.using(using).filter(version_id=version_id)
        # Not update_or_create(): it locks gaps of the index in which others insert.
        there = set(table.values_list("root_key", flat=True))
        for wrap in wraps:
            columns = {**wrap._asdict(), "created_at": timezone.now()}
            if wrap.root_key not in there:
                table.create(version_id=version_id, **columns)
            elif wrap not in self.further:
                table.filter(root_key=wrap.root_key).update(**columns)
        gone = table.exclude(root_key__in=[wrap.root_key for wrap in wraps])
        gone.update(wrapped_material=OVERWRITTEN)


def wraps_content(wraps: Sequence[Wrap]) -> dict[str, Any]:
    """Return wraps as an event of the audit trail has them: by which root keys."""
    own, *further = (wrap.content() for wrap in wraps)
    return {**own, "further_wraps": further} if further else own


@dataclass(slots=True)
class Opened:
    """What `open_master_key_versions` did.

    Attributes:
        opened: the versions that were opened for the first time.
        refused: those that were not, and why; they serve nothing yet.
    """

    opened: list[MasterKeyVersion] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def open_master_key_versions(*, actor: Any = None) -> Opened:
    """Open the versions that no process has opened yet, so that the newest becomes current.

    A process whose root key lets it wrap and not unwrap makes such versions: values are written
    under the version before until a process that may unwrap has called this.

    Args:
        actor: as for `create_master_key`; needs the right to rotate each key.
    """
    versions = MasterKeyVersion.objects.using(configuration().database)
    waiting = versions.filter(opened_at__isnull=True, state=KeyState.ENABLED)
    done = Opened()
    for version in waiting.select_related("master_key").order_by("pk"):
        with collecting(done.refused, version):
            if _opened(version, actor):
                done.opened.append(version)
    return done


def _opened(version: MasterKeyVersion, actor: Any) -> bool:
    """Open a version; return False where another process has done so."""
    stored = StoredWraps.of(version)
    wraps = keyring.identified(stored.read, stored.further)  # in no transaction
    with performing(Operation.OPEN_VERSION, version.master_key_id, actor) as done:
        before, now = done.key.current_version.number, timezone.now()
        table = MasterKeyVersion.objects.using(done.using)
        waiting = table.filter(pk=version.pk, opened_at__isnull=True, state=KeyState.ENABLED)
        if not waiting.update(opened_at=now):
            return False
        # Some root keys say only when they open what they wrapped with.
        stored.replace(done.using, wraps)
        done.version, current = version, done.key.current_version.number
        done.record(
            Operation.OPEN_VERSION, {"current_version": before}, {"current_version": current}
        )
    version.opened_at = now
    return True
