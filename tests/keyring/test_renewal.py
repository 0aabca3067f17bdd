"""Asking a root key anew, where everything goes wrong at once."""

import traceback
from threading import Event, Thread

import pytest
from django.db import connection, connections, transaction
from django.views.debug import ExceptionReporter

from envelope_fields import exceptions, keyring
from envelope_fields.audit import trail
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.keyring import age, materials, rows, wrapping
from envelope_fields.lifecycle import create_master_key, update_master_key
from envelope_fields.models import MasterKeyVersion
from envelope_fields.root_keys.local import LocalRootKey
from tests.at_once import at_once
from tests.event_loops import in_event_loop
from tests.keyring.clock import Clock
from tests.keyring.service import Service, asked, begin, entry
from tests.models import Note, TenantNote
from tests.settings import ROOT_KEY
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
MAX_AGE, GRACE = 3600, 86_400
VALUE = "seen by two"
SECRET = "hunter2-of-a-client-library"
MANY = 30
THREADS = 32


@pytest.fixture(autouse=True)
def _service(settings, monkeypatch):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {"default": entry(), "second": entry()},
        "KEY_CACHE_SECONDS": 60,
    }
    begin(monkeypatch)
    keyring.evict()


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def row(_service):
    """The current version of the default key, whose material is here."""
    found = rows.current_version("default")
    materials.opened(found)
    asked()
    return found


@pytest.fixture
def many(_service):
    """Versions of many keys, whose material is here."""
    found = [rows.current_version(create_master_key(f"key-{n}").alias) for n in range(MANY)]
    for each in found:
        materials.opened(each)
    asked()
    return found


def open_and_close(row):
    materials.opened(row)
    connections.close_all()


def in_thread(function):
    """Run something in a thread with connections of its own; return what it returned or raised."""
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return outcome[0]


class TestTimesAtTheirLimits:
    @pytest.mark.parametrize("grace", [0, 60])
    def test_a_greatest_age_of_nothing_asks_for_each_use(self, settings, grace):
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {"default": entry(MATERIAL_MAX_AGE_SECONDS=0, GRACE_SECONDS=grace)}
        }
        row = rows.current_version("default")
        for _ in range(3):
            assert materials.used(row, len) == 32
        assert asked() == 3

    def test_what_is_answered_later_than_the_greatest_age_is_used(self, row, clock, monkeypatch):
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "meanwhile", lambda: clock.move(MAX_AGE))
        assert materials.used(row, len) == 32
        assert asked() == 1

    def test_without_grace_it_is_used_until_its_greatest_age(
        self, row, clock, settings, monkeypatch
    ):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry(GRACE_SECONDS=0)}}
        materials.opened(row)
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("away"))
        clock.move(MAX_AGE - 1)
        materials.opened(row)
        clock.move(1)
        with pytest.raises(RootKeyUnavailable):
            materials.opened(row)
        assert not materials._plaintext

    def test_one_version_at_its_end_leaves_the_time_of_others_as_it_is(
        self, row, clock, settings, monkeypatch
    ):
        """An event loop opens what was loaded for half of that time at least."""
        second = rows.current_version(create_under("second").alias)
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {"default": entry(), "second": entry(GRACE_SECONDS=0)}
        }
        for each in (row, second):
            materials.opened(each)
        clock.move(MAX_AGE - 2)
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("away"))
        note = Note.objects.create(text=VALUE, data=None)
        tenant = TenantNote.objects.create(tenant=second.state.alias, text=VALUE)
        assert Note.objects.get(pk=note.pk).text == VALUE
        assert TenantNote.objects.get(pk=tenant.pk).text == VALUE
        table = keyring.cache.known.table
        clock.move(30)
        assert keyring.cache.current_table() is table
        assert second.state.version_id not in {key[1:9] for key in table.unwrapping}
        assert row.state.version_id in {key[1:9] for key in table.unwrapping}
        with pytest.raises(RootKeyUnavailable):
            TenantNote.objects.get(pk=tenant.pk).text  # noqa: B018
        with pytest.raises(RootKeyUnavailable):
            TenantNote.objects.create(tenant=second.state.alias, text=VALUE)
        Note.objects.create(text=VALUE, data=None)

    def test_what_is_over_and_not_used_shortens_nothing(self, row, clock):
        """A rotation derives its keys anew when the first of them is over."""
        clock.move(MAX_AGE)
        second = rows.current_version(create_under("second").alias)
        materials.opened(second)
        assert materials.remaining_seconds() == pytest.approx(GRACE, abs=30)
        clock.move(GRACE)
        assert materials.remaining_seconds() == pytest.approx(MAX_AGE, abs=30)
        assert row.context not in materials._plaintext


class Unusual(Exception):
    """An error of a client library: it cannot be copied, and shows a secret."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")


UNUSUAL = [Unusual(503, SECRET), OSError(5, SECRET), MemoryError(SECRET), RecursionError(SECRET)]
INTERRUPTING = [KeyboardInterrupt, SystemExit, GeneratorExit]


class TestErrorsOfNoClassOfOurs:
    @pytest.fixture(params=UNUSUAL, ids=lambda error: type(error).__name__)
    def failing(self, request, monkeypatch):
        def fail():
            plaintext = SECRET  # noqa: F841 - error reports show it
            raise request.param

        monkeypatch.setattr(Service, "meanwhile", fail)
        return type(request.param).__name__

    def test_what_is_here_is_used_on(self, row, clock, failing, caplog):
        note = Note.objects.create(text=VALUE, data=None)
        clock.move(MAX_AGE)
        for _ in range(5):
            assert Note.objects.get(pk=note.pk).text == VALUE
        assert materials.used(row, len) == 32
        assert asked() == 1
        assert failing in caplog.text
        assert SECRET not in caplog.text

    def test_what_is_not_here_is_unavailable(self, row, failing):
        keyring.evict()
        for _ in range(5):
            with pytest.raises(RootKeyUnavailable, match=failing) as caught:
                materials.opened(row)
        assert asked() == 1
        report = ExceptionReporter(None, *caught._excinfo)
        shown = repr([frame["vars"] for frame in report.get_traceback_frames()])
        assert SECRET not in shown + "".join(traceback.format_exception(caught.value))

    def test_an_answer_that_is_none_is_no_refusal(self, row, clock, monkeypatch, caplog):
        monkeypatch.setattr(Service, "unwrap", lambda *_: bytearray(31))
        clock.move(MAX_AGE)
        assert materials.used(row, len) == 32
        assert "must return 32 bytes" in caplog.text

    @pytest.mark.parametrize("error", INTERRUPTING)
    def test_an_interruption_of_a_renewal_keeps_the_material(self, row, clock, monkeypatch, error):
        monkeypatch.setattr(Service, "error", error())
        clock.move(MAX_AGE)
        with pytest.raises(error):
            materials.opened(row)
        monkeypatch.setattr(Service, "error", None)
        materials.opened(row)
        clock.move(age.LONGEST_PAUSE_SECONDS)
        asked()
        materials.opened(row)
        assert asked() == 1

    def test_a_database_that_does_not_let_the_row_be_read(self, row, clock, caplog):
        """A transaction that is broken; nothing of ours was asked in it until now."""
        clock.move(MAX_AGE)
        with transaction.atomic():
            transaction.set_rollback(True)
            connection.needs_rollback = True
            assert materials.used(row, len) == 32
        assert "TransactionManagementError" in caplog.text

    def test_those_that_cannot_be_copied_are_raised_anew(self):
        class Fragile(RootKeyUnavailable):
            def __reduce__(self):
                raise TypeError("not to be copied")

        error = Fragile("away")
        copied = exceptions.copied(error)
        assert copied is not error
        assert type(copied) is RootKeyUnavailable
        assert str(copied) == "away"


class TestInterruptedBetweenTwoSteps:
    """As by a signal handler that raises, such as Celery's for a time limit."""

    def test_a_renewal_that_was_never_begun(self, row, clock, monkeypatch):
        clock.move(MAX_AGE)
        with monkeypatch.context() as patch:
            patch.setattr(materials, "_renew", interrupted)
            with pytest.raises(KeyboardInterrupt):
                materials.opened(row)
        materials.opened(row)
        assert asked() == 0
        clock.move(age.WAIT_SECONDS)
        materials.opened(row)
        assert asked() == 1

    def test_a_question_that_was_never_asked(self, row, clock, monkeypatch):
        keyring.evict()
        with monkeypatch.context() as patch:
            patch.setattr(materials, "_ask", interrupted)
            assert type(in_thread(lambda: materials.opened(row))) is KeyboardInterrupt
        clock.move(age.WAIT_SECONDS)
        materials.opened(row)
        assert asked() == 1
        assert not materials._questions.asked


def interrupted(*_):
    raise KeyboardInterrupt


class TestARootKeyThatAnswersSlowly:
    """It holds up few of those who need many versions."""

    @pytest.fixture
    def slow(self, clock, monkeypatch):
        def wait():
            clock.move(5)

        monkeypatch.setattr(Service, "meanwhile", wait)
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("no answer in 5 s"))
        return clock

    def test_what_is_here_is_used_on(self, many, slow):
        slow.move(MAX_AGE)
        for _ in range(3):
            for row in many:
                materials.opened(row)
        assert asked() == 1
        slow.move(60)
        for row in many:
            materials.opened(row)
        assert asked() == 1

    def test_what_is_not_here_fails_at_once(self, many, slow):
        keyring.evict()
        for row in many:
            with pytest.raises(RootKeyUnavailable, match="5 s"):
                materials.opened(row)
        assert asked() == 1

    def test_another_root_key_is_asked(self, many, slow):
        second = rows.current_version(create_under("second").alias)
        keyring.evict()
        with pytest.raises(RootKeyUnavailable):
            materials.opened(many[0])
        Service.error = None
        materials.opened(second)
        with pytest.raises(RootKeyUnavailable):
            materials.opened(many[1])
        slow.move(60)
        materials.opened(many[1])

    def test_one_that_fails_at_once_is_asked_for_each_version(self, many, monkeypatch):
        """What is wrong may be that one."""
        keyring.evict()
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("of this row"))
        with pytest.raises(RootKeyUnavailable):
            materials.opened(many[0])
        monkeypatch.setattr(Service, "error", None)
        for row in many[1:]:
            materials.opened(row)
        assert asked() == MANY


def create_under(root_key):
    meanwhile, error = Service.meanwhile, Service.error
    Service.meanwhile = Service.error = None
    try:
        return create_master_key(f"under-{root_key}", root_key=root_key)
    finally:
        Service.meanwhile, Service.error = meanwhile, error


class TestRefusals:
    def test_a_session_begins_anew_once_for_many(self, many, clock, monkeypatch):
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        for row in many:
            with pytest.raises(RootKeyRefused):
                materials.opened(row)
        assert Service.refreshed == 1
        assert asked() == MANY + 1
        assert not any(row.context in materials._plaintext for row in many)

    def test_who_was_asking_with_the_old_session_asks_with_the_new_one(
        self, many, clock, monkeypatch
    ):
        """Another thread has begun it meanwhile."""
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "error", RootKeyRefused("an old session"))

        def meanwhile():
            Service.meanwhile = None
            clock.move(1)
            with pytest.raises(RootKeyRefused):
                materials.opened(many[1])

        monkeypatch.setattr(Service, "meanwhile", meanwhile)
        with pytest.raises(RootKeyRefused):
            materials.opened(many[0])
        assert asked() == 4
        assert Service.refreshed == 1

    def test_who_comes_while_a_session_begins_waits_for_it(self, many, clock, monkeypatch):
        """Asked in between, the old one would refuse once more, and material would go."""
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "error", RootKeyRefused("an old session"))
        begun, may_end = Event(), Event()

        def refresh(self):
            begun.set()
            assert may_end.wait(30)
            Service.error = None
            Service.refreshed += 1

        monkeypatch.setattr(Service, "refresh", refresh)
        first = Thread(target=open_and_close, args=[many[0]])
        first.start()
        assert begun.wait(30)
        second = Thread(target=open_and_close, args=[many[1]])
        second.start()
        until(lambda: len(Service.asked) == 2)
        may_end.set()
        for thread in (first, second):
            thread.join(60)
        assert Service.refreshed == 1
        assert all(row.context in materials._plaintext for row in many)

    def test_a_session_that_begins_keeps_no_other_root_key_from_it(self, row, monkeypatch):
        """One whose module hangs takes long."""
        outcomes = []

        def refresh(self):
            if not outcomes:  # of the first, as long as the second is asked
                outcomes.append("begun")
                outcomes.append(in_thread(lambda: wrapping.unwrap("second", b"", row.context)))

        monkeypatch.setattr(Service, "refresh", refresh)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        with pytest.raises(RootKeyRefused):
            wrapping.unwrap("default", b"", row.context)
        assert isinstance(outcomes[1], RootKeyRefused)

    def test_a_session_that_cannot_begin_anew_changes_nothing(self, row, clock, monkeypatch):
        def refresh(self):
            raise OSError(5, SECRET)

        monkeypatch.setattr(Service, "refresh", refresh)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        clock.move(MAX_AGE)
        with pytest.raises(RootKeyRefused):
            materials.opened(row)
        assert row.context not in materials._plaintext

    @pytest.mark.parametrize("error", [RootKeyRefused, WrappedKeyAltered])
    def test_it_is_not_asked_again_before_a_pause_is_over(self, row, clock, monkeypatch, error):
        keyring.evict()
        monkeypatch.setattr(Service, "error", error("no"))
        for _ in range(20):
            with pytest.raises(error, match="no"):
                materials.opened(row)
        assert asked() == (2 if error is RootKeyRefused else 1), "with new credentials, too"
        monkeypatch.setattr(Service, "error", None)
        clock.move(age.FIRST_PAUSE_SECONDS)
        materials.opened(row)

    def test_many_threads_ask_once_for_each_version(self, many, clock, monkeypatch):
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))

        def use_all():
            refused = 0
            for row in many:
                try:
                    materials.used(row, len)
                except RootKeyRefused:
                    refused += 1
            return refused

        outcomes = at_once(*[use_all] * THREADS)
        assert all(type(outcome) is int for outcome in outcomes)
        assert asked() == MANY + 1, "and once with new credentials"
        assert Service.refreshed == 1
        assert not any(row.context in materials._plaintext for row in many)
        assert at_once(*[use_all] * THREADS) == [MANY] * THREADS
        assert asked() == 0

    def test_without_grace_the_others_are_asked_for_soon_as_well(
        self, many, clock, settings, monkeypatch
    ):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry(GRACE_SECONDS=0)}}
        materials.opened(many[0])
        clock.move(MAX_AGE / 2)
        for row in many[1:]:
            materials.opened(row)
        clock.move(MAX_AGE / 2)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        with pytest.raises(RootKeyRefused):
            materials.opened(many[0])
        clock.move(age.ASKED_WITHIN_SECONDS)
        for row in many[1:]:
            with pytest.raises(RootKeyRefused):
                materials.opened(row)

    def test_a_version_that_is_refused_again_and_again_does_not_have_the_others_asked_for(
        self, many, clock, monkeypatch
    ):
        """As a row that its database's writer has planted."""
        planted, others = many[0], many[1:]

        def refuse():
            if Service.asked[-1] == planted.state.version_id:
                raise RootKeyRefused("another key wrapped this")

        monkeypatch.setattr(Service, "meanwhile", refuse)
        keyring.evict()
        for row in others:
            materials.opened(row)
        asked()
        for _ in range(20):
            with pytest.raises(RootKeyRefused):
                materials.opened(planted)
            for row in others:
                materials.opened(row)
            clock.move(60)
        assert asked() <= 20 + 2 * len(others)

    def test_what_other_root_keys_opened_stays(self, row, clock, monkeypatch, settings):
        """No query is made anew for what a refusal is not about."""
        other = create_under("second")
        materials.opened(rows.current_version(other.alias))
        note = Note.objects.create(text=VALUE, data=None)
        assert Note.objects.get(pk=note.pk).text == VALUE
        table = keyring.cache.known.table
        kept = dict(table.unwrapping)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        materials._plaintext[rows.current_version(other.alias).context]._due_at = 0
        with pytest.raises(RootKeyRefused):
            materials.opened(rows.current_version(other.alias))
        assert keyring.cache.known.table is table
        assert table.unwrapping == kept


class TestInTransactions:
    @pytest.fixture
    def where(self, monkeypatch):
        """Whether a transaction was open, each time that the root key was asked."""
        found = []
        monkeypatch.setattr(Service, "meanwhile", lambda: found.append(connection.in_atomic_block))
        return found

    @pytest.fixture(autouse=True)
    def _with_a_trail(self, _service):
        update_master_key("default", description="first")

    def test_the_key_of_the_trail_is_asked_for_before_they_begin(self, clock, where):
        clock.move(MAX_AGE)
        update_master_key("default", description="second")
        assert where == [False]

    def test_and_not_once_they_are_open(self, clock, where, monkeypatch):
        clock.move(MAX_AGE - 1)
        lock = trail._locked_head

        def late(using):
            clock.move(10)
            return lock(using)

        monkeypatch.setattr(trail, "_locked_head", late)
        update_master_key("default", description="second")
        assert where == []
        update_master_key("default", description="third")
        assert where == [False]

    def test_not_for_a_second_event_either_while_others_wait_for_the_first(self, clock, where):
        with transaction.atomic():
            update_master_key("default", description="second")
            clock.move(MAX_AGE)
            update_master_key("default", description="third")
        assert where == []
        update_master_key("default", description="fourth")
        assert where == [False]

    def test_refused_it_is_dropped_and_nothing_is_changed(self, clock, where, monkeypatch):
        clock.move(MAX_AGE)
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        with pytest.raises(RootKeyRefused):
            update_master_key("default", description="second")
        assert True not in where
        assert not materials._plaintext

    def test_material_of_uncommitted_keys_has_an_age_too(self, clock):
        with transaction.atomic():
            row = rows.current_version(create_master_key("one").alias)
            materials.opened(row)
            asked()
            clock.move(MAX_AGE + GRACE)
            materials.opened(row)
            assert asked() == 1

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no such level")
    def test_one_that_sees_the_past_finds_where_a_version_is_now(
        self, row, clock, settings, monkeypatch
    ):
        local = "envelope_fields.root_keys.local.LocalRootKey"
        new = {"BACKEND": local, "OPTIONS": {"key": ROOT_KEY}}
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry(), "new": new}}
        materials.opened(row)
        if connection.vendor == "mysql":
            level = {**connection.settings_dict["OPTIONS"], "isolation_level": "repeatable read"}
            monkeypatch.setitem(connection.settings_dict, "OPTIONS", level)
            connection.close()
        with transaction.atomic():
            if connection.vendor == "postgresql":
                connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert rows.read_again(row).wrap.root_key == "default"
            in_thread(lambda: move(row))
            monkeypatch.setattr(Service, "error", RootKeyRefused("it is gone"))
            clock.move(MAX_AGE)
            assert materials.used(row, len) == 32
        assert row.context in materials._plaintext
        if connection.vendor == "mysql":
            connection.close()


def move(row):
    wrapped = LocalRootKey(key=ROOT_KEY).unwrap(row.wrap.wrapped_material, row.context)
    columns = {
        "root_key": "new",
        "wrapped_material": LocalRootKey(key=ROOT_KEY).wrap(wrapped, row.context).material,
    }
    MasterKeyVersion.objects.filter(version_id=row.state.version_id).update(**columns)


class TestEventLoops:
    @pytest.mark.parametrize("is_allowed", [False, True])
    def test_one_in_which_waiting_is_allowed_asks(self, row, clock, monkeypatch, is_allowed):
        """A notebook runs its cells in one, and says that they may wait."""
        if is_allowed:
            monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        clock.move(MAX_AGE)

        async def use():
            return materials.used(row, len)

        assert in_event_loop(use()) == 32
        assert asked() == is_allowed


class TestForks:
    def test_a_backend_that_fails_after_a_fork_keeps_none_of_the_others_from_it(
        self, row, monkeypatch
    ):
        second = rows.current_version(create_under("second").alias)
        materials.opened(second)
        forked = []

        def after_fork(self):
            forked.append(self)
            raise OSError(5, SECRET)

        monkeypatch.setattr(Service, "after_fork", after_fork)
        wrapping._after_fork()
        assert len(forked) == len(wrapping._made) == 2
