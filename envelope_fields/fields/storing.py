"""Envelopes that come from outside, in fixtures and revisions, and go into a column as they are."""

from typing import Any

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields.carriers import StoredEnvelope
from envelope_fields.fields.errors import named
from envelope_fields.keyring import WRITE_FIELD, refuse_uncommitted, refused, version_of
from envelope_fields.models import KeyState

_LOST = (KeyState.PENDING_DELETION, KeyState.DESTROYED)


def storable(field: Any, stored: StoredEnvelope, using: str) -> bytes:
    """Return an envelope that is to be stored as it is.

    Its key may come later in the fixture. One that is there, and is about to be destroyed or gone,
    would take the value with it: the count of what is under it is over. The attempt is recorded.

    Args:
        field: the field whose column it goes to.
        stored: the envelope.
        using: the database that it goes to.

    Raises:
        MasterKeyUnusable: its key or version is pending deletion or destroyed; or the version is
            not committed, and goes to another database; or the keys' database could not be read.
    """
    try:
        version = version_of(layout.parse(stored.envelope).version_id)
        refuse_uncommitted(version, using)
    except MasterKeyNotFound:
        return stored.envelope
    except MasterKeyUnusable as error:
        raise named(field, error) from error
    for what, state in (("key", version.key_state), ("version", version.state)):
        if state in _LOST:
            refused(version.version_id, WRITE_FIELD)
            raise named(
                field,
                MasterKeyUnusable(
                    f"an envelope under {version} is not stored, because its {what} is "
                    f"{state.replace('_', ' ')}. Cancel the deletion first, where it is pending; "
                    "what is under a destroyed key cannot be read any more."
                ),
            )
    return stored.envelope
