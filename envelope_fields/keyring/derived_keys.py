"""What a rotation has derived from material: kept for no longer than readers keep theirs."""

from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.conf import configuration
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.keyring import materials
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.table import UNWRAPPING_KEYS

Named = UUID | str  # a master key, by its id or by the alias that a field names it by

_last_drop = object()  # of material, by this process


class DerivedKeys:
    """The keys that a job derives in some batches.

    Attributes:
        unwrapping: keys, by the first 21 bytes of envelopes.
        wrapping: for each master key, what wraps data keys, and how many it has wrapped.
    """

    __slots__ = ("_deadline", "_since", "unwrapping", "wrapping")

    def __init__(self) -> None:
        self.unwrapping: dict[bytes, AESGCM] = {}
        self.wrapping: dict[Named, tuple[WrappingKey, int]] = {}
        self._since = _last_drop
        settings = configuration()
        seconds = min(
            settings.key_cache_seconds, settings.least_max_age, materials.remaining_seconds()
        )
        self._deadline = uptime() + seconds

    def is_over(self) -> bool:
        """Whether the next batch is to derive its own.

        Their time is over, or that of their material; a root key has refused, or the keyring was
        emptied.
        """
        return uptime() >= self._deadline or self._since is not _last_drop

    def keep_unwrapping_key(self, derivation: bytes, key: AESGCM) -> None:
        """Keep a key for later values, and let the oldest go where there are many."""
        if len(self.unwrapping) >= UNWRAPPING_KEYS:
            self.unwrapping.pop(next(iter(self.unwrapping)))
        self.unwrapping[derivation] = key


def _dropped(_: bytes | None) -> None:
    global _last_drop
    _last_drop = object()


materials.on_drop(_dropped)
