"""The tests of a suite that cannot pass here, and why; each is to fail."""

import os
import tomllib
from pathlib import Path

FILE = Path(__file__).parents[2] / "refused.toml"


def refused():
    """Return what forbids each such test of this suite, by its name."""
    of_suite = tomllib.loads(FILE.read_text()).get(os.environ["SUITE"], [])
    database = os.environ.get("ENVELOPE_TEST_DB", "sqlite")
    here = [each for each in of_suite if database in each.get("databases", [database])]
    return {test: each["because"] for each in here for test in each["tests"]}


def all_there(names, found):
    """Refuse a list, for a whole suite, that names tests which are not there.

    Raises:
        ValueError: they are not.
    """
    gone = sorted(names - found)
    if gone and not os.environ["SUITE_PART"]:
        raise ValueError(f"{FILE.name} names tests that are not there: {', '.join(gone)}")
