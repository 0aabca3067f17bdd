"""In what order tests run, and what every test begins with."""

import gc

import pytest
from django.apps import apps
from django.db import connections
from hypothesis import HealthCheck, settings as drawing
from pytest_django.plugin import blocking_manager_key

from tests import marks, sizes

# Pages in a browser, programs of the documentation, a story: many of these tests take seconds.
TAKE_SECONDS = {"test_code", "test_day", "test_docs", "test_story", "test_watching"}

# Beyond this many new objects, garbage is looked for; Python's own limits are for smaller programs.
GARBAGE_LIMITS = (10_000, 20, 20)

# What hypothesis draws is the same each time, but at full size. How long that takes says nothing of
# our code on a machine that is busy.
drawing.register_profile(
    "tests",
    derandomize=not sizes.LONG,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
drawing.load_profile("tests")

_MODELS = pytest.StashKey()  # the names of the models that the tests have in common


def pytest_itemcollected(item):
    marks.add(item)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no worker is left with it at the end.

    What pytest-django keeps apart stays so: those with a database, those that commit, the others.
    """
    marks.add_combinations(items)
    yield
    for kind in {kind_of(item) for item in items}:
        places = [place for place, item in enumerate(items) if kind_of(item) == kind]
        ordered = sorted((items[place] for place in places), key=lambda item: not takes_long(item))
        for place, item in zip(places, ordered, strict=True):
            items[place] = item


def kind_of(item):
    marker = item.get_closest_marker("django_db")
    return marker and ("commits" if marker.kwargs.get("transaction") else "has a database")


def takes_long(item):
    return item.get_closest_marker("long") is not None or item.path.stem in TAKE_SECONDS


def worker_of(config):
    """Return the name of the worker that this process is; None where it runs all tests itself."""
    return getattr(config, "workerinput", {}).get("workerid")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Have garbage looked for among what tests make, and not in all that was imported for them."""
    gc.disable()
    result = yield
    session.config.stash[_MODELS] = set(apps.all_models["tests"])
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_LIMITS)
    gc.enable()
    return result


@pytest.fixture(scope="session")
def copying_worker(request):
    """The worker for which the test databases are copied, instead of migrated; or None."""
    from tests import copies

    return worker_of(request.config) if copies.can_be_made() else None


@pytest.fixture(scope="session")
def django_db_modify_db_settings_parallel_suffix(request, copying_worker):
    """The databases that are copied have the names that they have without workers."""
    if copying_worker is None:
        request.getfixturevalue("django_db_modify_db_settings_parallel_suffix")


def names():
    """Return the names of the databases; pytest-django makes only those that a test asks for."""
    return {each.alias: each.settings_dict["NAME"] for each in connections.all()}


@pytest.fixture(scope="session")
def django_db_setup(request, copying_worker, django_test_environment, django_db_blocker):
    """Make the test databases, and have tests that commit go back to what these hold when new."""
    from envelope_fields.keyring import handles
    from tests import baseline, copies

    before = names()
    if copying_worker is None:
        request.getfixturevalue("django_db_setup")
    with pytest.MonkeyPatch.context() as patch:
        with django_db_blocker.unblock():
            if copying_worker is not None:
                copies.make(copying_worker)
            made = [alias for alias, name in names().items() if name != before[alias]]
            baseline.take(made, patch)
            # Or the first test of all would set a savepoint, should our tables not be there.
            handles._with_tables.update(connections[alias] for alias in made)
        yield
    if copying_worker is not None:
        with django_db_blocker.unblock():
            copies.drop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Let no test leave a model behind: migrations of later tests would make a row of it."""
    yield
    declared = apps.all_models["tests"].keys() - item.config.stash[_MODELS]
    for name in declared:
        del apps.all_models["tests"][name]
    assert not declared, "a model was declared outside of isolate_apps()"


def pytest_sessionfinish(session):
    """Drop what was copied, when the workers have ended."""
    if worker_of(session.config) is None and session.config.getoption("numprocesses", None):
        from tests import copies

        with session.config.stash[blocking_manager_key].unblock():
            copies.drop_originals()


@pytest.fixture(autouse=True)
def no_key_changes_of_other_tests():
    """One that was rolled back counts until it is collected; caches are not filled meanwhile."""
    from envelope_fields.models import key_changes

    if key_changes.any_uncommitted():
        gc.collect()


@pytest.fixture(autouse=True)
def no_knowledge_of_other_tests():
    """What one test has read of keys grows old in another, which would read them in its middle.

    So does material; and a root key that was slow, refused or silent in one is not asked in others
    for a while, nor does it begin anew. A table may have another engine by then.
    """
    from envelope_fields import keyring
    from envelope_fields.databases import transactions
    from envelope_fields.keyring import wrapping

    keyring.evict()
    wrapping._sessions.clear()
    transactions._asked.clear()


@pytest.fixture(autouse=True)
def no_counts_of_other_tests():
    """A count that was slow is kept in a cache, and so is what a throttle has seen."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(autouse=True)
def no_denials_of_other_tests(monkeypatch):
    """Repeated attempts of one test would be stored in another, when their time is over."""
    from envelope_fields.audit import denials

    denials.buffer.clear()


@pytest.fixture(autouse=True)
def no_legacy_reads_of_other_tests():
    """What one test has read would be written in another."""
    from envelope_fields.audit import legacy_reads

    legacy_reads.buffer.clear()


@pytest.fixture(autouse=True)
def no_uses_of_other_tests(monkeypatch):
    """Uses that one test counted would be written in another, by queries nobody expects there."""
    from envelope_fields.audit import uses as key_uses

    key_uses.keyring.uses.harvest()
    key_uses.buffer.clear()


@pytest.fixture
def known_at_once(db, settings):
    """Have no process go by what it knew of keys before."""
    from envelope_fields.models import KeyCacheBound

    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    KeyCacheBound.objects.update(seconds=0, seconds_before=0, lowered_at=None)
