"""Found by the Python of a page's project: what its readers wait for takes no time here."""

import time

_sleep = time.sleep


def _sleep_a_little(seconds):
    _sleep(min(seconds, 0.05))


time.sleep = _sleep_a_little
