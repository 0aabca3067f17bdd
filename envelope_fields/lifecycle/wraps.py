"""The wraps of a key version, or of the key of the audit trail, as the database has them.

They are read together, and replaced only where they are still what was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from envelope_fields.keyring import rows
from envelope_fields.keyring.further_wraps import further_wraps
from envelope_fields.keyring.rows import KeyRow, Wrap
from envelope_fields.models import OVERWRITTEN, AuditKey, FurtherWrap, KeyState, MasterKeyVersion

Row = MasterKeyVersion | AuditKey


@dataclass(frozen=True, slots=True)
class StoredWraps:
    """The wraps of a row, as they were when they were read.

    Attributes:
        row: the row; it has the columns of its wrap.
        read: the same, for the keyring.
        further: the further wraps.
    """

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


def content(wraps: Sequence[Wrap]) -> dict[str, Any]:
    """Return wraps as an event of the audit trail has them: by which root keys."""
    own, *further = (wrap.content() for wrap in wraps)
    return {**own, "further_wraps": further} if further else own
