"""Versions of master keys, and the key of the audit trail, moved to other root keys.

KMS has no such operation, but for ReEncrypt, which does this to one ciphertext. Everything goes on
meanwhile.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, OuterRef, Q, QuerySet

from envelope_fields import audit, keyring, models
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, MasterKeyUnusable
from envelope_fields.keyring.rows import Wrap
from envelope_fields.lifecycle.context import key_transaction, performing
from envelope_fields.lifecycle.keys import Refused, collecting
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.root_keys import Row, StoredWraps, wraps_content
from envelope_fields.policy import APPLICATION, acting

_TRIES = 3
_logger = logging.getLogger(__name__)


class _Changed(Exception):
    """Another process moved the row; what was recorded of it is rolled back."""


@dataclass(slots=True)
class Rewrapped:
    """What `rewrap_master_keys` did.

    Attributes:
        moved: the versions, and the key of the audit trail, that were wrapped anew.
        refused: those that were not, and why; they stay as they were.
        remaining: how many are not as they should be, at the end.
    """

    moved: list[Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    remaining: int = 0


def rewrap_master_keys(to_root_key: str, *, actor: Any = None) -> Rewrapped:
    """Have every master key version wrapped by a root key, and by those that its entry names.

    Moved is what another root key wraps; what an earlier version of the root key's own key in its
    service wraps, where the service says so (`RootKey.current_wrapping_key_id`); and what lacks one
    of the further wraps that `ALSO_WRAPPED_BY` asks for, or has others. A key that names a root key
    of its own (`MasterKey.root_key`) is wrapped by that one, whichever is given here.

    Each version is opened, wrapped, and opened again by the new root key to see that it is the
    same, before its row is changed; and its row only where it is still what was read. So it can be
    stopped anywhere and called again, and several may do it at once. What no root key opens is
    reported, and stays. The key of the audit trail moves, too. Once nothing is wrapped by it, the
    old root key can go from the settings.

    Args:
        to_root_key: the name of a root key in the settings.
        actor: as for `create_master_key`; needs the right to rotate each key. The key of the audit
            trail is moved by the application alone.

    Raises:
        ImproperlyConfigured: the settings have no such root key, or it is none.
        RootKeyRefused, RootKeyUnavailable: as it says.
    """
    keyring.check_root_key(to_root_key)
    destination, done = Destination(to_root_key), Rewrapped()
    for row in destination.waiting():
        with collecting(done.refused, row):
            if _moved(row, destination, actor):
                done.moved.append(row)
    done.remaining = len(destination.waiting())
    return done


def under_other_root_keys(root_key: str) -> list[Row]:
    """Return what `rewrap_master_keys` would move: versions with material, and the trail's key.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says when it is
            asked under which version of its key it wraps.
    """
    return Destination(root_key).waiting()


class Destination:
    """By which root keys rows are to be wrapped, and under which versions of these.

    All keys that name none are wrapped by `root_key`, which is asked; errors as it says.
    """

    def __init__(self, root_key: str) -> None:
        self._root_key = root_key
        # The ids, if any, that a service has given of what it wraps with, first and since.
        self._ids: dict[str, set[str]] = {root_key: _ids(root_key)}

    def root_keys_of(self, row: Row) -> tuple[str, ...]:
        """Return by which root keys a row is to be wrapped; the first is that of the row itself."""
        own = row.master_key.root_key if isinstance(row, models.MasterKeyVersion) else None
        return self._root_keys(own)

    def is_reached_by(self, stored: StoredWraps) -> bool:
        """Whether a row is wrapped as it is to be."""
        own, *further = self.root_keys_of(stored.row)
        return (
            stored.read.wrap.root_key == own
            and {wrap.root_key for wrap in stored.further} == set(further)
            and all(map(self.stays, stored.all))
        )

    def stays(self, wrap: Wrap) -> bool:
        """Whether a wrap by one of the root keys is under the present version of its key."""
        ids = self._ids_of(wrap.root_key)
        return not ids or wrap.wrapping_key_id in ids

    def reach(self, wraps: Sequence[Wrap]) -> None:
        """Take what was made now for present, also where the service has changed its mind since."""
        for wrap in wraps:
            ids = self._ids_of(wrap.root_key)
            if ids:
                ids.add(wrap.wrapping_key_id)

    def waiting(self) -> list[Row]:
        """Return the rows that are not there yet."""
        using = configuration().database
        there = models.MasterKeyVersion.objects.using(using).exclude(
            state=models.KeyState.DESTROYED
        )
        versions = there.filter(self._versions_to_move(there)).select_related("master_key")
        audit_keys = models.AuditKey.objects.using(using).filter(
            self._to_move(self._root_keys(None))
        )
        return [*versions.order_by("pk"), *audit_keys.order_by("number")]

    def _root_keys(self, named: str | None) -> tuple[str, ...]:
        return configuration().wrapped_by[named or self._root_key or None]

    def _ids_of(self, root_key: str) -> set[str]:
        if root_key not in self._ids:
            self._ids[root_key] = _ids_if_known(root_key)
        return self._ids[root_key]

    def _versions_to_move(self, versions: QuerySet[models.MasterKeyVersion]) -> Q:
        keys = models.MasterKey.objects.using(versions.db).filter(
            pk__in=versions.values("master_key")
        )
        condition = Q(pk__in=[])
        for named in set(keys.values_list("root_key", flat=True)):
            of_key = Q(master_key__root_key=named)
            condition |= of_key & self._to_move(self._root_keys(named))
        return condition

    def _to_move(self, root_keys: tuple[str, ...]) -> Q:
        own, *further = root_keys
        wraps = models.FurtherWrap.objects.using(configuration().database).filter(
            version_id=OuterRef("version_id")
        )
        there = wraps.exclude(wrapped_material=models.OVERWRITTEN)
        condition = ~self._by(own) | Q(Exists(there.exclude(root_key__in=further)))
        for name in further:
            condition |= ~Q(Exists(there.filter(self._by(name))))
        return condition

    def _by(self, root_key: str) -> Q:
        """Return the condition on a wrap by the present version of a root key."""
        ids = self._ids_of(root_key)
        present = Q(wrapping_key_id__in=sorted(ids)) if ids else Q()
        return Q(root_key=root_key) & present


def _ids(root_key: str) -> set[str]:
    current = keyring.current_wrapping_key_id(root_key)
    return set() if current is None else {current}


def _ids_if_known(root_key: str) -> set[str]:
    """Return the same; none of a root key that does not answer, so that others are moved to."""
    try:
        return _ids(root_key)
    except (EnvelopeError, ImproperlyConfigured) as error:
        _logger.warning(
            "Under which version of its key the root key %r wraps is not known: %s", root_key, error
        )
        return set()


def _moved(row: Row, destination: Destination, actor: Any) -> bool:
    """Try until the row is moved, by this process or another; return whether it was us."""
    for _ in range(_TRIES):
        stored = StoredWraps.of(row)
        if stored.are_destroyed or destination.is_reached_by(stored):
            return False
        # In no transaction: it may take long.
        wraps = keyring.rewrapped(
            stored.read, stored.further, destination.root_keys_of(row), destination.stays
        )
        if _replaced(stored, wraps, actor):
            destination.reach(wraps)
            return True
    raise MasterKeyUnusable(f"Others are changing {row!r} all the time. Try again.")


def _replaced(stored: StoredWraps, wraps: Sequence[Wrap], actor: Any) -> bool:
    """Store other wraps of a row that is as we read it; return False where it was changed."""
    version, operation = stored.row, Operation.REWRAP_MASTER_KEY
    if not isinstance(version, models.MasterKeyVersion):
        with suppress(_Changed):
            _replace_of_audit_key(stored, wraps, actor)
            return True
        return False
    with performing(operation, version.master_key_id, actor) as done:
        if not stored.replace(done.using, wraps):
            return False
        done.version = version
        done.record(operation, wraps_content(stored.all), wraps_content(wraps))
    return True


def _replace_of_audit_key(stored: StoredWraps, wraps: Sequence[Wrap], actor: Any) -> None:
    principal = acting(actor)
    if principal != APPLICATION:
        raise KeyAccessDenied(
            "The key of the audit trail is moved by the application: run "
            "`python manage.py rewrap_master_keys`."
        )
    with key_transaction() as using:
        # The event first, since it locks the head of the trail before this key, as all events do.
        audit.record(
            Operation.REWRAP_AUDIT_KEY,
            actor=principal,
            using=using,
            before=wraps_content(stored.all),
            after=wraps_content(wraps),
        )
        if not stored.replace(using, wraps):
            raise _Changed
