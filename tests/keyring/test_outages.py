"""The tables of docs/explanation/root-key-outages.md: each row of them is a test with a clock."""

import os
import re
from base64 import b64encode
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError, connection

from envelope_fields import exceptions, keyring, kms, rotation
from envelope_fields.audit import denials
from envelope_fields.conf import Configuration, Lifetime
from envelope_fields.exceptions import (
    KeyAccessDenied,
    OpeningNeedsThread,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.keyring import rows
from envelope_fields.keyring.age import (
    ASKED_WITHIN_SECONDS,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    WAIT_SECONDS,
)
from envelope_fields.lifecycle import (
    create_master_key,
    disable,
    find_master_key,
    rewrap_master_keys,
    rotate_master_key,
    update_master_key,
)
from envelope_fields.models import AuditEvent, KeyUse, MasterKey, MasterKeyVersion, RotationRun
from envelope_fields.policy import acting_as
from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.rotation.scope import MOVING
from tests.docs.pages import ROOT, Page
from tests.keyring.clock import Clock
from tests.keyring.outages import (
    KEY_CACHE,
    MAX_AGE,
    STEP,
    TIMES,
    FailingRootKey,
    goes_on_for,
    heals,
    seconds_of,
)
from tests.models import LabNote, Note
from tests.rotation import are_all_there, notes_left, numbered_notes
from tests.settings import ROOT_KEY

pytestmark = pytest.mark.any_database
TABLES = Page(ROOT / "docs" / "explanation" / "root-key-outages.md").tables
HAPPENINGS = {first: cells for first, *cells in TABLES["what happens"]}
ACTS = {first: cells for first, *cells in TABLES["what is done"]}
ERRORS = {**vars(exceptions), "MayNotUnwrap": MayNotUnwrap}
ERRORS["ImproperlyConfigured"] = ImproperlyConfigured

FEW_MINUTES = "`MATERIAL_MAX_AGE_SECONDS` + `KEY_CACHE_SECONDS`"
SECONDS = "`KEY_CACHE_SECONDS`"
VALUE = "seen in an outage"
OTHER_KEY = b64encode(bytes(range(32))).decode()
VARIABLE = "ENVELOPE_TEST_OUTAGE"


def local(**option):
    return {"BACKEND": "envelope_fields.root_keys.local.LocalRootKey", "OPTIONS": option}


def failing():
    return {
        "BACKEND": f"{FailingRootKey.__module__}.FailingRootKey",
        "OPTIONS": {"key": ROOT_KEY},
    }


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def scene(settings, monkeypatch, tmp_path):
    """What a happening works with: settings, patches and a directory of the test."""

    def use(**root_keys):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": root_keys, **TIMES}

    monkeypatch.setattr(FailingRootKey, "error", None)
    monkeypatch.setattr(FailingRootKey, "wraps", False)
    use(default=failing())
    return SimpleNamespace(use=use, monkeypatch=monkeypatch, directory=tmp_path)


@contextmanager
def happened(happening, scene):
    """Have something happened inside, and undo it."""
    happening.begin(scene)
    try:
        yield
    finally:
        happening.end(scene)


def no_material():
    """Have this process be one that was just started, as far as keys go."""
    keyring.evict()


class Fails:
    """A root key raises something."""

    def __init__(self, error, *, wraps=False):
        self._error = error
        self._wraps = wraps

    def prepare(self, scene):
        """Do what comes before: nothing has happened yet."""

    def begin(self, scene):
        FailingRootKey.error, FailingRootKey.wraps = self._error, self._wraps

    def begin_process(self, scene):
        """Have a process begin when it has happened."""
        no_material()

    def end(self, scene):
        """Undo it."""
        FailingRootKey.error = None


class File(Fails):
    """Something is done to the file that holds a local root key."""

    def __init__(self, change):
        self._change = change

    def prepare(self, scene):
        self._file = scene.directory / "root.key"
        self.end(scene)
        scene.use(default=local(file=str(self._file)))

    def begin(self, scene):
        self._change(self._file)

    def end(self, scene):
        if self._file.is_dir():
            self._file.rmdir()
        self._file.write_text(ROOT_KEY)
        self._file.chmod(0o600)


class Unreadable(File):
    """The file is there, and the operating system does not let it be read."""

    def __init__(self):
        pass

    def begin(self, scene):
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(os, "read", self._fail)

    def _fail(self, descriptor, count):
        raise OSError(5, "Input/output error")

    def end(self, scene):
        super().end(scene)
        if hasattr(self, "_patch"):
            self._patch.undo()


class BeginsWithout(Fails):
    """A process begins with settings, or an environment, that lack the root key."""

    def __init__(self, lacks):
        self._lacks = lacks

    def prepare(self, scene):
        scene.monkeypatch.setenv(VARIABLE, ROOT_KEY)
        scene.use(default=local(env=VARIABLE))

    def begin(self, scene):
        """Nothing happens to a process that is running."""

    def begin_process(self, scene):
        self._lacks(scene)
        no_material()

    def end(self, scene):
        self.prepare(scene)


class Moved(Fails):
    """Another root key wraps the versions by now, and the first one is gone."""

    def __init__(self):
        super().__init__(RootKeyRefused("it is deleted"))

    def prepare(self, scene):
        scene.use(default=failing(), new=local(key=OTHER_KEY))

    def begin(self, scene):
        row = rows.current_version("default")
        [wrap] = keyring.rewrapped(row, [], ["new"], lambda wrap: True)
        MasterKeyVersion.objects.filter(version_id=row.state.version_id).update(**wrap._asdict())
        super().begin(scene)


class OfTwo(Fails):
    """Two root keys wrap the versions, and something happens to the first."""

    _both = {"default": {**failing(), "ALSO_WRAPPED_BY": ["second"]}}

    def __init__(self, error=None):
        super().__init__(error)

    def prepare(self, scene):
        scene.use(**self._both, second=local(key=OTHER_KEY))
        assert rewrap_master_keys("default").refused == []

    def begin(self, scene):
        super().begin(scene)
        if self._error is None:  # it is taken out of the settings
            scene.use(second=local(key=OTHER_KEY))

    def end(self, scene):
        super().end(scene)
        scene.use(**self._both, second=local(key=OTHER_KEY))


class Altered(Fails):
    """The database's writer has changed what is stored of a version."""

    def __init__(self):
        pass

    def begin(self, scene):
        self._before = bytes(find_master_key("default").current_version.wrapped_material)
        self._store(self._before[:-1] + bytes([self._before[-1] ^ 1]))

    def end(self, scene):
        self._store(self._before)

    def _store(self, wrapped):
        version = find_master_key("default").current_version
        MasterKeyVersion.objects.filter(pk=version.pk).update(wrapped_material=wrapped)


class Gone(Fails):
    """The row of a version is not there."""

    def __init__(self):
        pass

    def begin(self, scene):
        self._version = find_master_key("default").current_version
        KeyUse.objects.all()._raw_delete("default")
        MasterKeyVersion.objects.filter(pk=self._version.pk)._raw_delete("default")

    def end(self, scene):
        MasterKeyVersion.objects.bulk_create([self._version])


class DatabaseAway(Fails):
    """The tables of the keys cannot be read; those of the project can."""

    def __init__(self):
        pass

    def begin(self, scene):
        self._blocked = connection.execute_wrapper(self._refuse)
        self._blocked.__enter__()

    def _refuse(self, execute, sql, params, many, context):
        if "envelope_fields_" in sql:
            raise OperationalError("the server has closed the connection")
        return execute(sql, params, many, context)

    def end(self, scene):
        self._blocked.__exit__(None, None, None)


UNAVAILABLE, REFUSED = RootKeyUnavailable("no answer"), RootKeyRefused("no")
HAPPENS = {
    "the service cannot be reached: network, proxy, firewall, DNS, TLS": Fails(UNAVAILABLE),
    "the service answers too slowly": Fails(UNAVAILABLE),
    "the service limits requests": Fails(UNAVAILABLE),
    "the service has an error of its own (5xx), or answers what no list knows": Fails(UNAVAILABLE),
    "our credentials have expired, are missing, or are not accepted": Fails(UNAVAILABLE),
    "the clock of the machine is wrong, so that signatures or certificates are not valid": Fails(
        UNAVAILABLE
    ),
    "Vault is sealed, or restarts": Fails(UNAVAILABLE),
    "the HSM is unplugged, or its service is down": Fails(UNAVAILABLE),
    "the file of a local root key cannot be read": Unreadable(),
    "the file of a local root key is gone, or holds no key": File(lambda file: file.unlink()),
    "the file of a local root key holds another key": File(lambda file: file.write_text(OTHER_KEY)),
    "the row of a key version was altered": Altered(),
    "the service was restored to a time before the version was wrapped": Fails(
        WrappedKeyAltered("a version that it does not have")
    ),
    "the right to decrypt was taken away": Fails(REFUSED),
    "the right to decrypt was taken away, and that to encrypt is left": Fails(
        MayNotUnwrap("to encrypt alone"), wraps=True
    ),
    "the service's key is disabled": Fails(REFUSED),
    "the service's key is scheduled for deletion": Fails(REFUSED),
    "the service's key is deleted": Fails(REFUSED),
    "the version of the service's key that wrapped may not be used any more": Fails(REFUSED),
    "a process starts without the root key in its settings": BeginsWithout(
        lambda scene: scene.use(another=local(key=OTHER_KEY))
    ),
    "a process starts without the environment variable of a local root key": BeginsWithout(
        lambda scene: scene.monkeypatch.delenv(VARIABLE)
    ),
    "the master keys were moved to another root key, and the first one is gone": Moved(),
    "the first of two root keys does not answer, and the second does": OfTwo(UNAVAILABLE),
    "the first of two root keys refuses": OfTwo(REFUSED),
    "the first of two root keys is taken out of the settings": OfTwo(),
    "the row of a key version is gone": Gone(),
    "the database of the keys does not answer": DatabaseAway(),
}


def error_in(cell):
    """Return the class of errors that a cell names; None where it names none."""
    names = re.findall(r"`([A-Z]\w+)`", cell)
    return ERRORS[names[-1]] if names else None


def test_the_page_has_the_defaults():
    times = {first: cells for first, *cells in TABLES["setting or constant"]}
    lifetime = Lifetime()
    assert times["`MATERIAL_MAX_AGE_SECONDS`"][0] == f"{lifetime.max_age:.0f}"
    assert times["`GRACE_SECONDS`"][0] == f"{lifetime.grace:.0f}"
    assert times["`KEY_CACHE_SECONDS`"][0] == str(Configuration().key_cache_seconds)
    assert times["pauses"][0] == f"{FIRST_PAUSE_SECONDS:.0f} to {LONGEST_PAUSE_SECONDS:.0f} s"
    assert times['"within a minute"'][0] == f"{ASKED_WITHIN_SECONDS} s"
    assert times["waiting"][0] == f"{WAIT_SECONDS} s"


def test_the_page_has_what_is_tested():
    assert list(HAPPENINGS) == list(HAPPENS)
    assert set(ACTS) == {*DONE, MADE, DENIED, MOVED}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", HAPPENINGS)
class TestWhatHappens:
    @pytest.fixture(autouse=True)
    def happening(self, scene, clock, what):
        happening = HAPPENS[what]
        happening.prepare(scene)
        return happening

    @pytest.fixture
    def note(self, happening):
        return Note.objects.create(text=VALUE, data=None)

    def read(self, note):
        assert Note.objects.get(pk=note.pk).text == VALUE

    def write(self):
        Note.objects.create(text=VALUE, data=None)

    def test_running_processes_read(self, what, happening, scene, clock, note):
        no_material()
        self.read(note)
        named, seconds, _, _ = HAPPENINGS[what]
        # Loading asks when half of the time is over.
        or_less = {FEW_MINUTES: MAX_AGE / 2 + KEY_CACHE, SECONDS: KEY_CACHE / 2}.get(seconds, 0)
        with happened(happening, scene):
            goes_on_for(seconds, lambda: self.read(note), clock, error_in(named), or_less=or_less)
        heals(lambda: self.read(note), clock)

    def test_running_processes_write(self, what, happening, scene, clock):
        no_material()
        self.write()
        named, seconds, _, _ = HAPPENINGS[what]
        or_less = KEY_CACHE if seconds == FEW_MINUTES else 0
        with happened(happening, scene):
            goes_on_for(seconds, self.write, clock, error_in(named), or_less=or_less)
        heals(self.write, clock)

    def test_new_processes(self, what, happening, scene, clock, note):
        named, _, new_processes, _ = HAPPENINGS[what]
        with happened(happening, scene):
            happening.begin_process(scene)
            if new_processes == "go on":
                self.read(note)
                self.write()
                return
            assert new_processes.startswith("raise it")
            for act in (lambda: self.read(note), self.write):
                with pytest.raises(error_in(named)) as caught:
                    act()
                assert type(caught.value) is error_in(named)
                assert "\n" not in str(caught.value)
        heals(lambda: self.read(note), clock)
        self.write()


# What is done meanwhile.


def read(note):
    assert Note.objects.get(pk=note.pk).text == VALUE


def write(note):
    Note.objects.create(text=VALUE, data=None)


def save(note):
    Note.objects.get(pk=note.pk).save()


def look_in_event_loop(note):
    async def look():
        found = await Note.objects.aget(pk=note.pk)
        return found.text

    assert async_to_sync(look)() == VALUE


def refresh(note):
    async def look():
        found = await Note.objects.aget(pk=note.pk)
        await found.arefresh_from_db(fields=["text"])
        return found.text

    assert async_to_sync(look)() == VALUE


def use_kms(note):
    assert kms.decrypt(kms.encrypt("default", b"message", {}), {}) == b"message"


def operate(note):
    update_master_key("default", description=os.urandom(4).hex())


def see(note):
    assert find_master_key("default").alias == "default"
    assert rotation.census()


DONE = {
    "a value is read": read,
    "a value is written": write,
    "an object is saved whose values nobody looked at": save,
    "an attribute is read in an event loop": look_in_event_loop,
    "`arefresh_from_db(fields=…)`, as that error says": refresh,
    "`kms.encrypt()` and `kms.decrypt()`": use_kms,
    "an operation on a key, which is an event of the audit trail, where the process has recorded "
    "one before": operate,
    "a user opens the key admin, or a census counts": see,
}
MADE = "a key is made or rotated, or moved to or from that root key"
DENIED = "a denied attempt is recorded"
MOVED = "a rotation moves stored values"
COLUMNS = {"no answer": UNAVAILABLE, "refused": REFUSED}


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("column", COLUMNS)
class TestMeanwhile:
    @pytest.fixture
    def note(self, scene, clock):
        return Note.objects.create(text=VALUE, data=None)

    @pytest.fixture
    def cell(self, column):
        return lambda what: ACTS[what][list(COLUMNS).index(column)]

    def begin(self, column):
        FailingRootKey.error = COLUMNS[column]

    def end(self):
        FailingRootKey.error = None

    @pytest.mark.parametrize("what", DONE)
    def test_what_is_done(self, what, column, cell, note, clock):
        act = DONE[what]
        act(note)
        no_material()
        act(note)
        self.begin(column)
        found = re.fullmatch(r"goes on(?: for (?P<seconds>.+), then raises (`\w+`))?", cell(what))
        seconds = found["seconds"] or "no limit"
        is_cached = "KEY_CACHE_SECONDS" in seconds
        or_less = MAX_AGE / 2 + KEY_CACHE if is_cached else 0
        goes_on_for(seconds, lambda: act(note), clock, error_in(cell(what)), or_less=or_less)
        self.end()
        heals(lambda: act(note), clock)

    @pytest.mark.parametrize("kind", MOVING)
    def test_values_are_moved(self, kind, column, cell, scene, clock):
        """A batch takes a while here; the run goes on when the root key answers again."""
        count = sum(TIMES.values()) // STEP
        numbered_notes(count)
        run = rotation.start("default", kind=kind, limits=rotation.Limits(batch_size=1))
        batches = []

        def watch(result):
            if not batches:
                self.begin(column)
            batches.append(result.moved)
            clock.move(STEP)

        no_material()
        found = re.fullmatch(r"goes on for (.+), then raises `\w+`", cell(MOVED))
        with pytest.raises(error_in(cell(MOVED))):
            rotation.run(run, watch=watch)
        seconds = seconds_of(found[1])
        assert seconds - KEY_CACHE <= len(batches) * STEP <= seconds
        assert sum(batches) == len(batches)
        self.end()
        clock.move(LONGEST_PAUSE_SECONDS)
        call_command("rewrap", *(["--re-encrypt"] if kind == "re_encrypt" else []))
        assert notes_left() == 0
        assert are_all_there(count)

    def test_an_event_loop_is_told_what_to_do(self, column, note, clock):
        """One that held nothing else: it is told to ask in a thread, and there, what is wrong."""
        look_in_event_loop(note)
        self.begin(column)
        clock.move(sum(TIMES.values()))
        with pytest.raises(OpeningNeedsThread, match=r"arefresh_from_db\(fields=\['text'\]\)"):
            look_in_event_loop(note)
        with pytest.raises(type(COLUMNS[column])):
            refresh(note)
        self.end()
        heals(lambda: look_in_event_loop(note), clock)

    def test_what_a_new_process_can_do(self, column, note, clock):
        """The runbook has it: rows and the census, but no value and no operation on a key."""
        no_material()
        self.begin(column)
        raised = type(COLUMNS[column])
        events = AuditEvent.objects.count()
        before = find_master_key("default").description
        for act in (
            lambda: read(note),
            lambda: write(note),
            lambda: use_kms(note),
            lambda: disable("default"),
            lambda: operate(note),
            lambda: rotation.start("default"),
        ):
            with pytest.raises(raised):
                act()
        after = find_master_key("default")
        assert (after.state, after.description) == ("enabled", before)
        assert AuditEvent.objects.count() == events
        assert not RotationRun.objects.exists()
        save(note)
        see(note)
        Note.objects.filter(pk=note.pk).delete()

    def test_keys_are_made_or_moved(self, column, cell, note, scene, clock):
        read(note)
        self.begin(column)
        raised = error_in(cell(MADE))
        assert cell(MADE) == f"raises `{raised.__name__}`"
        events = AuditEvent.objects.count()
        for act in (
            lambda: create_master_key("made-in-an-outage"),
            lambda: rotate_master_key("default"),
            lambda: rewrap_master_keys("default"),
        ):
            with pytest.raises(raised):
                act()
        assert not MasterKey.objects.filter(alias="made-in-an-outage").exists()
        assert find_master_key("default").versions.count() == 1
        assert AuditEvent.objects.count() == events
        read(note)
        self.end()
        heals(lambda: rotate_master_key("default"), clock)

    def test_denied_attempts_are_recorded(self, column, cell, note, clock, caplog):
        assert cell(DENIED).startswith("goes on: it is logged at once, and stored when")
        create_master_key("lab")
        LabNote.objects.create(text=VALUE)
        user = User.objects.create(username="mallory")
        no_material()
        self.begin(column)
        denied = AuditEvent.objects.filter(outcome="denied", actor_id=user.pk)
        with acting_as(user), pytest.raises(KeyAccessDenied):
            _ = LabNote.objects.get().text
        assert not denied.exists()
        assert [each.denial.principal.id for each in denials.buffer.waiting] == [str(user.pk)]
        assert "Denied attempts could not be stored yet" in caplog.text
        self.end()

        def store():
            denials.store()
            assert denied.count() == 1

        heals(store, clock)


@pytest.mark.django_db(transaction=True)
def test_the_runbook_names_the_warning(scene, clock, caplog):
    note = Note.objects.create(text=VALUE, data=None)
    read(note)
    with happened(Fails(UNAVAILABLE), scene):
        clock.move(MAX_AGE)
        read(note)
    [record] = [each for each in caplog.records if each.levelname == "WARNING"]
    text = Page(ROOT / "docs" / "how-to" / "root-key-outage.md").text
    assert f"the logger `{record.name}`" in text
    [shown] = re.findall(r"```text\n(Material .*)…\n", text)
    found = re.sub(r"[0-9a-f]{16}", "d558e2c542136fe1", record.getMessage())
    assert found.startswith(shown.replace("4210", str(MAX_AGE)))


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_what_a_process_with_keys_saves(scene, clock):
    """As "Recover from a lost root key" says of a service that was restored to an earlier time."""
    note = Note.objects.create(text=VALUE, data=None)
    wrapped = MasterKeyVersion.objects.values_list("wrapped_material", flat=True)
    scene.monkeypatch.setattr(FailingRootKey, "lost", frozenset(map(bytes, wrapped)))
    clock.move(MAX_AGE)
    rotate_master_key("default")
    assert rotation.run("default").state == rotation.RotationState.COMPLETED
    no_material()
    read(note)
