"""The marks that a test has by where it is, and by what it asks for."""

from fnmatch import fnmatch
from pathlib import Path

from pytest_django.django_compat import is_django_unittest

TESTS = Path(__file__).parent

# The fixtures that let a test have a database, besides the mark `django_db`.
DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "scratch"}

# What is about bytes, services and pages, and imports no Django, or none that could differ.
WITHOUT_DJANGO = {"crypto", "docs", "root_keys", "test_packaging.py", "test_vendors.py"}

# What uses no database as a whole: a quarter of the tests, which no worker on a server looks for.
WITHOUT_DATABASE = (
    *("conf/*", "crypto/test_[!s]*", "docs/*", "root_keys/*"),
    *("fields/index/test_normalizers.py", "test_packaging.py", "test_vendors.py"),
)

# Those of services move keys in a database, where `make root-keys` runs them: not on every one.
OWN_ENVIRONMENTS = {"root_keys"}

# What our own code decides, over queries and requests of kinds that other tests make as well: what
# a key's states allow, what is kept of it and for how long, what a job or an event is. The rest, of
# fields, forms, pages, migrations, fixtures, middlewares and transactions, is Django's as much.
LITTLE_DJANGO = {
    "api": "census data docs events grants idempotency rotation_acts rotations server settings "
    "trail",
    "audit": "first_uses vectors verifying",
    "grants": "grants",
    "jobs": "full_disk interrupted job limits passes plans",
    "keyring": "age asking backup calls doors indexes interrupted nonce_prefixes opening outages "
    "processes renewal usages",
    "lifecycle": "adoption deletion further_wraps moving opening operations periods root_keys "
    "shredding transitions wrapping",
}


def add(item):
    """Mark what says the same whatever the database, or Django, is, or is hardly about them."""
    path = item.path.relative_to(TESTS)
    room = path.parts[0]
    if not _has_database(item):
        item.add_marker("no_database")
    elif room not in OWN_ENVIRONMENTS and any(fnmatch(str(path), p) for p in WITHOUT_DATABASE):
        raise ValueError(f"{item.nodeid} has a database: take {room} from WITHOUT_DATABASE.")
    if room in WITHOUT_DJANGO:
        item.add_marker("any_django")
    if item.path.stem.removeprefix("test_") in LITTLE_DJANGO.get(room, "").split():
        item.add_marker("little_django")


def _has_database(item):
    return (
        item.get_closest_marker("django_db") is not None
        or DATABASE_FIXTURES.intersection(item.fixturenames)
        or is_django_unittest(item)
    )
