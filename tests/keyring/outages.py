"""A root key that fails when a test says so, and for how long something goes on then."""

from envelope_fields.exceptions import WrappedKeyAltered
from envelope_fields.keyring.age import LONGEST_PAUSE_SECONDS
from envelope_fields.root_keys.local import LocalRootKey

# The time of grace ends in the middle of the time that what is known of keys is valid.
MAX_AGE, GRACE, KEY_CACHE = 300, 450, 60
STEP = 30
TIMES = {
    "MATERIAL_MAX_AGE_SECONDS": MAX_AGE,
    "GRACE_SECONDS": GRACE,
    "KEY_CACHE_SECONDS": KEY_CACHE,
}


class FailingRootKey(LocalRootKey):
    """A root key on this machine that fails as a service does.

    Attributes:
        error: what it raises, if anything.
        wraps: whether it wraps all the same.
        lost: what it wrapped before it was restored to an earlier time.
    """

    error = None
    wraps = False
    lost = frozenset()

    def wrap(self, material, context):
        if self.error is not None and not self.wraps:
            raise self.error
        return super().wrap(material, context)

    def unwrap(self, wrapped, context):
        if self.error is not None:
            raise self.error
        if wrapped in self.lost:
            raise WrappedKeyAltered("the version that wrapped is newer than any that there is")
        return super().unwrap(wrapped, context)

    def check(self):
        if self.error is not None:
            raise self.error


def seconds_of(expression):
    """Return what a sum of settings is in these tests, as the page writes it; None is no end."""
    if expression == "no limit":
        return None
    return sum(TIMES[term.strip(" `")] for term in expression.split("+"))


def failed_after(act, clock, seconds, step=STEP):
    """Do something again and again; return when it failed first, and how.

    Returns:
        The seconds that had passed, and the error; twice None where it did not fail in that time.
    """
    passed = 0
    while passed <= seconds:
        try:
            act()
        except Exception as error:
            return passed, error
        clock.move(step)
        passed += step
    return None, None


def goes_on_for(expression, act, clock, error, *, or_less=0, step=STEP):
    """See that something can be done for as long as the page says, and raises this then.

    Args:
        expression: a sum of settings, or "no limit".
        act: what is done.
        clock: is moved.
        error: the class of what is raised.
        or_less: it may end so many seconds earlier.
        step: how many seconds lie between two attempts.
    """
    seconds = seconds_of(expression)
    if seconds is None:
        assert failed_after(act, clock, sum(TIMES.values())) == (None, None)
        return
    passed, raised = failed_after(act, clock, seconds + step, step)
    assert isinstance(raised, error), raised
    assert isinstance(raised, WrappedKeyAltered) == issubclass(error, WrappedKeyAltered), raised
    assert seconds - or_less <= passed < seconds + step, (passed, raised)


def heals(act, clock):
    """See that something can be done again by itself, after a pause at the longest."""
    clock.move(LONGEST_PAUSE_SECONDS)
    act()
