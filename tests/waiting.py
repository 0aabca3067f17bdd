"""Waits for what others bring about: a process, a server, a browser."""

import time


def until(condition, seconds=60):
    """Wait until a condition holds.

    Args:
        condition: a callable.
        seconds: when to give up; what others do takes long on a machine that is busy.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
