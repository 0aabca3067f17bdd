"""The marks that a test has by where it is, and by what it asks for."""

from collections import Counter, defaultdict
from fnmatch import fnmatch
from pathlib import Path
from zlib import crc32

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
    "admin": "conversions counts rotations two_operators",
    "api": "census data docs events grants idempotency indexes keys macs many_at_once operations "
    "problems rotation_acts rotations server settings throttling trail",
    "audit": "at_once first_uses legacy_reads notifications uses vectors verifying",
    "census": "codecs indexes many_schemas rotations text_copies",
    "conversion": "leftovers shredding steps",
    "demo": "import_fhir",
    "fields": "pickles vectors",
    "grants": "grants",
    "indexing": "collisions older_builds rebuilding replacing rotation_day runs",
    "jobs": "at_once deadlocks full_disk interrupted job limits passes plans",
    "keyring": "age asking backup calls conversions doors indexes interrupted nonce_prefixes "
    "opening outages processes renewal usages",
    "lifecycle": "adoption at_once deletion further_wraps indexes keys moving opening operations "
    "order other_processes periods root_keys shredding transitions wrapping",
    "policy": "decisions principals two_databases uses values",
    "rotation": "bad_rows bound_rows many_keys plain_values re_encrypt unknown_versions",
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


# In how many cases each value of a parameter is to be, of a test that combines several.
CASES_OF_A_VALUE = 2


def add_combinations(items):
    """Mark the cases of a test whose values are all in others, too.

    So of those of each way to write, in each phase, with each type, there are a few on the other
    databases and with the other Djangos, among them two for each way, phase and type.
    """
    cases = defaultdict(list)  # wherever among the others a random order has put them
    for item in items:
        cases[_function_of(item)].append(item)
    for each in cases.values():
        _add_combination(each)


def _function_of(item):
    return item.nodeid.partition("[")[0]


def _add_combination(cases):
    if len(_values(cases[0])) < 2:
        return
    found = Counter()
    # In an order that is always the same, and has none of the order in which values are named.
    for case in sorted(cases, key=lambda each: crc32(each.nodeid.encode())):
        values = _values(case)
        if all(found[each] >= CASES_OF_A_VALUE for each in values):
            case.add_marker("combination")
        else:
            found.update(values)


def _values(item):
    """Return the values of a test's parameters, each as the name of one and what the value is."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return [(name, id(value)) for name, value in params.items()]


def _has_database(item):
    return (
        item.get_closest_marker("django_db") is not None
        or DATABASE_FIXTURES.intersection(item.fixturenames)
        or is_django_unittest(item)
    )
