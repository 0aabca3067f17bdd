"""How large the tests are that could be of any size.

`make test` is for everybody, and quick. `make test-long` runs those marked `long` once more, at the
size that finds what is rare.
"""

import os

LONG = os.environ.get("ENVELOPE_TEST_LONG", "") not in ("", "0")


def size(usual, long):
    """Return what a test is run with: a number, or the values of a parameter."""
    return long if LONG else usual
