"""Which root key opens a version that several have wrapped, and whose answer counts."""

import logging

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from envelope_fields import keyring, kms
from envelope_fields.exceptions import (
    MasterKeyNotFound,
    MasterKeyUnusable,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.keyring import age, opening, rows
from envelope_fields.lifecycle import create_master_key, rewrap_master_keys
from envelope_fields.models import FurtherWrap, KeyCacheBound, MasterKeyVersion
from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.rotation import census
from tests.keyring.test_age import clock
from tests.models import Note, TenantNote
from tests.root_keys.backends import Service
from tests.stored import stored, version_of

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

__all__ = ["clock"]
AWAY, NO = RootKeyUnavailable("it is away"), RootKeyRefused("it says no")


@pytest.fixture(autouse=True)
def _services(settings):
    """Two further root keys beside the first."""
    roots = Service.settings("first", "second", "third", first=["second", "third"])
    roots["default"] = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": roots, "KEY_CACHE_SECONDS": 0}
    Service.reset()
    yield
    Service.reset()


@pytest.fixture
def note(_services):
    create_master_key("lab")
    found = TenantNote.objects.create(tenant="lab", text="kept")
    keyring.evict()
    Service.asked.clear()
    return found


def read(note):
    return TenantNote.objects.get(pk=note.pk).text


def asked():
    """Return which root keys were asked to unwrap since the last call."""
    names = [name for operation, name in Service.asked if operation == "unwrap"]
    Service.asked.clear()
    return names


def without(settings, *names):
    """Take root keys out of the settings, and let the process begin anew."""
    roots = {
        name: {k: v for k, v in entry.items() if k != "ALSO_WRAPPED_BY"}
        for name, entry in settings.ENVELOPE_FIELDS["ROOT_KEYS"].items()
        if name not in names
    }
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "ROOT_KEYS": roots}


def test_the_first_alone_is_asked_where_it_answers(note, django_assert_num_queries):
    row = rows.current_version("lab")
    with django_assert_num_queries(0):
        opening.opened(row)
    assert asked() == ["first"]


@pytest.mark.parametrize(
    "error",
    [AWAY, WrappedKeyAltered("not mine"), ValueError("the variable is gone")],
    ids=lambda error: type(error).__name__,
)
def test_another_opens_where_it_does_not(note, caplog, error):
    Service.errors["first"] = error
    assert read(note) == "kept"
    assert asked() == ["first", "second"]
    [record] = [each for each in caplog.records if each.name == opening.__name__]
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert "The root key 'second' opened" in said
    assert str(error) in said
    TenantNote.objects.create(tenant="lab", text="written meanwhile")


def test_and_the_next_where_that_does_not(note):
    Service.errors.update(first=AWAY, second=NO)
    assert read(note) == "kept"
    assert asked() == ["first", "second", "second", "third"], "a refusal is asked once more"


def test_none_opens_it(note):
    Service.errors.update(first=AWAY, second=NO, third=WrappedKeyAltered("not mine"))
    with pytest.raises(RootKeyUnavailable, match="it is away"):
        read(note)


@pytest.mark.parametrize("error", [NO, MayNotUnwrap("wrap alone")], ids=["refused", "wraps alone"])
def test_a_refusal_by_the_first_counts(note, error):
    Service.errors["first"] = error
    with pytest.raises(type(error)):
        read(note)
    assert set(asked()) == {"first"}, "no further one is asked"


class TestOneThatTheSettingsHaveNoMore:
    def test_the_next_is_the_first(self, note, settings):
        without(settings, "first")
        assert read(note) == "kept"
        assert asked() == ["second"]
        Service.errors["second"] = NO
        keyring.evict()
        with pytest.raises(RootKeyRefused, match="it says no"):
            read(note)
        assert set(asked()) == {"second"}

    def test_all_of_them(self, note, settings):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": Service.settings("new"), "KEY_CACHE_SECONDS": 0}
        with pytest.raises(ImproperlyConfigured, match="no root key 'first'"):
            read(note)

    def test_a_further_one(self, note, settings):
        without(settings, "second")
        Service.errors["first"] = AWAY
        assert read(note) == "kept"
        assert asked() == ["first", "third"]


class TestSilence:
    @pytest.fixture(autouse=True)
    def _let_callers_wait(self, clock, monkeypatch):
        unwrap = Service.unwrap

        def unwrap_in_vain(self, wrapped, context):
            if self._name in Service.errors:
                clock(10)
            return unwrap(self, wrapped, context)

        monkeypatch.setattr(Service, "unwrap", unwrap_in_vain)

    def test_one_that_lets_callers_wait_is_not_asked_for_each_version(self, note, clock):
        for n in range(5):
            create_master_key(f"lab/{n}")
        keyring.evict()
        Service.asked.clear()
        Service.errors["first"] = AWAY
        for n in range(5):
            opening.opened(rows.current_version(f"lab/{n}"))
        assert asked() == ["first", *["second"] * 5]
        clock(age.LONGEST_PAUSE_SECONDS)
        opening.opened(rows.current_version("lab/0"))
        assert asked() == ["first", "second"]

    def test_it_is_forgotten_with_the_keys(self, note):
        Service.errors["first"] = AWAY
        opening.opened(rows.current_version("lab"))
        Service.errors.clear()
        asked()
        keyring.evict()
        opening.opened(rows.current_version("lab"))
        assert asked() == ["first"]


@pytest.mark.django_db(transaction=True)
class TestAge:
    def test_renewed_by_another_one(self, note, clock):
        assert read(note) == "kept"
        asked()
        Service.errors["first"] = AWAY
        clock(3600)
        assert read(note) == "kept"
        assert asked() == ["first", "second"]
        clock(3600 + 86_400)
        assert read(note) == "kept", "an outage may last longer than the time of grace"

    def test_dropped_where_the_first_refuses(self, note, clock):
        assert read(note) == "kept"
        Service.errors["first"] = NO
        clock(3600)
        with pytest.raises(RootKeyRefused):
            read(note)
        assert ("refresh", "first") in Service.asked

    def test_dropped_where_the_next_refuses_that_is_the_first_now(self, note, clock, settings):
        without(settings, "first")
        assert read(note) == "kept"
        Service.errors["second"] = NO
        clock(3600)
        Service.asked.clear()
        with pytest.raises(RootKeyRefused):
            read(note)
        assert ("refresh", "second") in Service.asked


class TestARowThatWasReadBefore:
    def test_it_has_moved_since(self, note, settings):
        """Another process has moved it, and the old root key is gone before this one reads it."""
        roots = {**Service.settings("new"), **settings.ENVELOPE_FIELDS["ROOT_KEYS"]}
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "ROOT_KEYS": roots}
        row = rows.current_version("lab")
        assert rewrap_master_keys("new").refused == []
        Service.errors["first"] = NO
        Service.asked.clear()
        opening.opened(row)
        assert asked() == ["first", "first", "new"]

    def test_it_is_gone(self, note):
        row = rows.current_version("lab")
        Service.errors.update(first=NO)
        MasterKeyVersion.objects.filter(version_id=row.state.version_id).update(state="destroyed")
        with pytest.raises(RootKeyRefused, match="it says no"):
            opening.opened(row)


class TestTheDatabase:
    def test_what_the_root_key_said_is_raised_where_it_does_not_answer(self, note, monkeypatch):
        row = rows.current_version("lab")
        Service.errors["first"] = AWAY

        def away(version_id):
            raise keyring_error

        keyring_error = rows.no_version(b"12345678")
        monkeypatch.setattr(rows, "further_wraps", away)
        with pytest.raises(RootKeyUnavailable):
            opening.opened(row)

    def test_what_was_overwritten_is_not_asked_for(self, note):
        FurtherWrap.objects.filter(root_key="second").update(wrapped_material=b"")
        Service.errors["first"] = AWAY
        assert read(note) == "kept"
        assert asked() == ["first", "third"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others have types")
class TestColumnsThatHoldNoBytes:
    """On SQLite, a column may hold anything."""

    @pytest.fixture(params=["text", "", 7, -1, 1.5, 2**62])
    def value(self, request):
        return request.param

    def change(self, column, value, table="masterkeyversion"):
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE envelope_fields_{table} SET {column} = %s", [value])
        keyring.evict()

    def test_wrapped_material(self, value):
        note = Note.objects.create(text="kept", data=None)
        self.change("wrapped_material", value)
        with pytest.raises(
            WrappedKeyAltered, match=r"tests\.Note\.text.*restore its row from a backup"
        ):
            _ = Note.objects.get(pk=note.pk).text
        with pytest.raises(WrappedKeyAltered, match=r"Note\.text"), transaction.atomic():
            Note.objects.create(text="another", data=None)

    def test_of_a_further_wrap(self, note, value):
        self.change("wrapped_material", value, "furtherwrap")
        Service.errors["first"] = AWAY
        with pytest.raises(RootKeyUnavailable):
            read(note)

    def test_a_version_id(self, value):
        note = Note.objects.create(text="kept", data=None)
        version_id = version_of(stored(note, "text"))
        self.change("version_id", value)
        with pytest.raises(MasterKeyNotFound, match=version_id.hex()):
            _ = Note.objects.get(pk=note.pk).text
        with pytest.raises(WrappedKeyAltered, match=r"Note\.text"), transaction.atomic():
            Note.objects.create(text="another", data=None)
        counted = census(database="default")
        found = [(row.version_id, row.version, row.values) for row in counted if row.values]
        assert found == [(version_id, None, 1)]
        found = checks.run_checks(databases=["default"])
        assert "envelope_fields.E005" in [each.id for each in found]

    def test_the_bound_of_caches(self, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        note = Note.objects.create(text="kept", data=None)
        KeyCacheBound.objects.update_or_create(pk=1, defaults={"seconds": 60})
        self.change("seconds", "text", "keycachebound")
        with pytest.raises(MasterKeyUnusable, match=r"Note\.text: The bound of key caches"):
            _ = Note.objects.get(pk=note.pk).text

    def test_a_state(self):
        note = Note.objects.create(text="kept", data=None)
        self.change("state", b"\xff", "masterkey")
        with pytest.raises(MasterKeyUnusable, match=r"tests\.Note\.text"):
            _ = Note.objects.get(pk=note.pk).text


def test_what_was_altered_is_named(db):
    """A write and `kms` have no envelope that would name the version."""
    key = create_master_key("tenant")
    MasterKeyVersion.objects.filter(master_key=key).update(
        wrapped_material=bytes(81), root_key="default"
    )
    FurtherWrap.objects.update(wrapped_material=b"")
    keyring.evict()
    version = key.versions.get()
    name = rf"version 1 \({bytes(version.version_id).hex()}\) of master key 'tenant': "
    with pytest.raises(WrappedKeyAltered, match=f"^{name}"):
        kms.encrypt(key, b"x", {})
    with pytest.raises(WrappedKeyAltered, match=rf"^tests\.TenantNote\.text: {name}"):
        TenantNote(tenant="tenant", text="a").save()
