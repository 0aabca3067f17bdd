"""What tests ask of the keyring."""

from envelope_fields import keyring


def harvest_uses():
    """Return how often each key version was used in this process since this was last asked.

    By version id, action and channel; what was not used is left out.
    """
    return {
        (each.version_id, each.action, each.channel): each.used.times
        for each in keyring.uses.harvest()
        if each.used.times
    }
