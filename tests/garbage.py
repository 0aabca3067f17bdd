"""What a test leaves half read, and when that is collected.

A cursor that is collected when its connection is closed complains, and fails the test that runs
then.
"""

import gc
from contextlib import contextmanager


@contextmanager
def collected():
    """Collect at the end what became garbage inside, and look through nothing else.

    Nothing is collected before, so all that is made inside is in the youngest generation. To look
    through everything that a session of tests has made takes a quarter of a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        collect()
        if was_enabled:
            gc.enable()


def collect():
    """Collect what became garbage inside of `collected`, up to now."""
    gc.collect(0)
