"""Settings of the test project with root keys among which master keys move, slowly."""

from tests.settings import *  # noqa: F403 - the rest is the same
from tests.settings import ENVELOPE_FIELDS

_FURTHER = {"one": ["two"], "two": [], "three": ["one"]}
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        **ENVELOPE_FIELDS["ROOT_KEYS"],
        **{
            name: {
                "BACKEND": "tests.root_keys.backends.SlowService",
                "OPTIONS": {"name": name},
                "ALSO_WRAPPED_BY": further,
            }
            for name, further in _FURTHER.items()
        },
    }
}
