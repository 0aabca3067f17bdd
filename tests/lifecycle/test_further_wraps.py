"""Several root keys for one master key: made together, moved together, and overwritten together."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction

from envelope_fields import audit, keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable, RootKeyRefused, RootKeyUnavailable
from envelope_fields.keyring import rows
from envelope_fields.lifecycle import (
    create_master_key,
    destroy_due_keys,
    open_master_key_versions,
    rewrap_master_keys,
    rotate_master_key,
    schedule_deletion,
    shred,
    under_other_root_keys,
    update_master_key,
)
from envelope_fields.lifecycle.on_demand import create_default_key, repair
from envelope_fields.lifecycle.representation import key_content_with_versions
from envelope_fields.models import (
    AuditEvent,
    AuditKey,
    FurtherWrap,
    KeyRowProtected,
    MasterKey,
    MasterKeyVersion,
)
from envelope_fields.root_keys import MayNotUnwrap
from tests.at_once import at_once
from tests.models import TenantNote
from tests.root_keys.backends import Service

pytestmark = pytest.mark.django_db(databases="__all__")
AWAY = RootKeyUnavailable("it is away")


@pytest.fixture(autouse=True)
def root_keys(settings):
    """Set the root keys: by name, and by which others each is wrapped, too."""
    with Service.in_settings(settings) as replace:
        replace("one", "two", "three", one=["two"])
        yield replace


def wraps(row):
    """Return what wraps a row: in it, and besides; and see that each of them opens."""
    row.refresh_from_db()
    there = FurtherWrap.objects.filter(version_id=row.version_id).exclude(wrapped_material=b"")
    if isinstance(row, MasterKeyVersion):
        for name in (row.root_key, *there.values_list("root_key", flat=True)):
            keyring.check_wrap(bytes(row.version_id), name)
    return [(each.root_key, each.wrapping_key_id) for each in (row, *there.order_by("pk"))]


def version_of(alias="lab"):
    return MasterKey.objects.get(alias=alias).current_version


class TestANewVersion:
    def test_is_wrapped_by_all(self):
        key = create_master_key("lab")
        rotated = rotate_master_key(key)
        for version in (key.versions.get(number=1), rotated):
            assert wraps(version) == [("one", "one:v1"), ("two", "two:v1")]

    def test_and_so_is_the_key_of_the_trail(self):
        create_master_key("lab")
        assert wraps(AuditKey.objects.get()) == [("one", "one:v1"), ("two", "two:v1")]
        keyring.evict()
        Service.errors["one"] = AWAY
        create_key_without_the_first()
        assert audit.verify().intact

    def test_of_a_key_that_names_a_root_key(self, root_keys):
        root_keys("one", "two", "three", one=["two"], three=["one", "two"])
        create_master_key("lab", root_key="three")
        assert [name for name, _ in wraps(version_of())] == ["three", "one", "two"]
        create_master_key("plain", root_key="two")
        assert [name for name, _ in wraps(version_of("plain"))] == ["two"]

    @pytest.mark.parametrize("name", ["one", "two"])
    def test_is_not_made_where_one_of_them_does_not_answer(self, name):
        Service.errors[name] = AWAY
        with pytest.raises(RootKeyUnavailable):
            create_master_key("lab")
        assert not MasterKey.objects.filter(alias="lab").exists()
        assert not FurtherWrap.objects.exists()

    def test_is_not_made_where_one_does_not_open_what_it_wrapped(self, monkeypatch):
        wrap = Service.wrap

        def another_material(self, material, context):
            return wrap(self, bytearray(32 * b"x") if self._name == "two" else material, context)

        monkeypatch.setattr(Service, "wrap", another_material)
        with pytest.raises(RootKeyRefused, match="'two' does not give back"):
            create_master_key("lab")
        assert not FurtherWrap.objects.exists()

    def test_opens_by_either(self):
        create_master_key("lab")
        TenantNote.objects.create(tenant="lab", text="kept")
        keyring.evict()
        Service.errors["one"] = AWAY
        assert TenantNote.objects.get().text == "kept"

    def test_is_the_default_key_after_a_flush(self, django_db_blocker):
        MasterKey.objects.filter(alias="default").update(alias=None)
        create_default_key(_apps(), "default")
        assert wraps(version_of("default")) == [("one", "one:v1"), ("two", "two:v1")]


class TestTheDefaultKey:
    """It is made by a migration, and again after a flush."""

    def test_is_made_with_all_of_them(self, root_keys):
        root_keys("two", "three", two=["three"])
        for model in (FurtherWrap, MasterKeyVersion, MasterKey):
            model.objects.all()._raw_delete("default")
        repair(using="default")
        assert [name for name, _ in wraps(version_of("default"))] == ["two", "three"]

    def test_one_that_is_there_needs_no_answer(self, root_keys):
        before = wraps(version_of("default"))
        root_keys("two", "three", two=["three"])
        Service.errors["three"] = AWAY
        repair(using="default")
        assert wraps(version_of("default")) == before


class TestAProcessThatMayWrapAlone:
    @pytest.mark.parametrize("name", ["one", "two"])
    def test_its_version_waits_for_one_that_may_open_all_wraps(self, name):
        key = create_master_key("lab")
        Service.errors[name] = None
        unwrap = Service.unwrap

        def unwrap_by_others(self, wrapped, context):
            if self._name == name:
                raise MayNotUnwrap("it may wrap alone")
            return unwrap(self, wrapped, context)

        del Service.errors[name]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Service, "unwrap", unwrap_by_others)
            version = rotate_master_key(key)
            assert version.opened_at is None
            assert key.current_version.number == 1
            assert open_master_key_versions().opened == []
        assert open_master_key_versions().opened == [version]
        assert key.current_version == version
        assert wraps(version) == [("one", "one:v1"), ("two", "two:v1")]

    def test_nor_does_it_add_any(self, root_keys):
        create_master_key("lab")
        root_keys("one", "two", "three", one=["three"])

        def wraps_alone(self, wrapped, context):
            if self._name == "three":
                raise MayNotUnwrap("it may wrap alone")
            return unwrap(self, wrapped, context)

        unwrap = Service.unwrap
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Service, "unwrap", wraps_alone)
            done = rewrap_master_keys("one")
        assert {type(each.error) for each in done.refused} == {MasterKeyUnusable}
        assert [name for name, _ in wraps(version_of())] == ["one", "two"]

    def test_wraps_that_open_to_something_else_are_found(self):
        create_master_key("lab")
        version = version_of()
        row = rows.with_version_id(bytes(version.version_id))
        planted = Service(name="two").wrap(bytearray(32 * b"p"), row.context).material
        FurtherWrap.objects.filter(version_id=version.version_id).update(wrapped_material=planted)
        MasterKeyVersion.objects.filter(pk=version.pk).update(opened_at=None)
        done = open_master_key_versions()
        assert done.opened == []
        assert "other material" in str(done.refused[0].error)


class TestMoving:
    def names(self, row=None):
        return [name for name, _ in wraps(row or version_of())]

    def test_adds_what_is_missing_and_takes_away_what_is_not_wanted(self, root_keys):
        create_master_key("lab")
        root_keys("one", "two", "three", one=["three", "two"])
        assert len(under_other_root_keys("one")) == 3
        done = rewrap_master_keys("one")
        assert (len(done.moved), done.refused, done.remaining) == (3, [], 0)
        assert self.names() == ["one", "two", "three"]
        assert self.names(AuditKey.objects.get()) == ["one", "two", "three"]
        root_keys("one", "two", "three")
        assert rewrap_master_keys("one").remaining == 0
        assert self.names() == ["one"]
        gone = FurtherWrap.objects.filter(version_id=version_of().version_id)
        assert {bytes(each.wrapped_material) for each in gone} == {b""}
        assert rewrap_master_keys("one").moved == []

    def test_one_that_was_overwritten_may_come_back(self, root_keys):
        create_master_key("lab")
        root_keys("one", "two")
        rewrap_master_keys("one")
        root_keys("one", "two", one=["two"])
        rewrap_master_keys("one")
        assert self.names() == ["one", "two"]
        assert FurtherWrap.objects.filter(version_id=version_of().version_id).count() == 1

    def test_takes_all_wraps_along(self, root_keys):
        create_master_key("lab")
        root_keys("three", "four", "one", "two", three=["four"])
        rewrap_master_keys("three")
        assert self.names() == ["three", "four"]
        assert not FurtherWrap.objects.filter(root_key="two").exclude(wrapped_material=b"").exists()

    def test_is_in_the_trail_with_what_wrapped_it_before_and_after(self, root_keys):
        key = create_master_key("lab")
        root_keys("three", "one", "two")
        rewrap_master_keys("three")
        event = AuditEvent.objects.get(action="rewrap_master_key", key_id=key.pk)
        assert event.before == {
            "root_key": "one",
            "wrapping_key_id": "one:v1",
            "further_wraps": [{"root_key": "two", "wrapping_key_id": "two:v1"}],
        }
        assert event.after == {"root_key": "three", "wrapping_key_id": "three:v1"}
        trail = AuditEvent.objects.get(action="rewrap_audit_key")
        assert (trail.before, trail.after) == (event.before, event.after)

    def test_from_what_is_lost_by_what_is_left(self, root_keys):
        create_master_key("lab")
        TenantNote.objects.create(tenant="lab", text="kept")
        root_keys("two", "one")
        Service.errors["one"] = AWAY
        keyring.evict()
        done = rewrap_master_keys("two")
        assert (done.refused, done.remaining) == ([], 0)
        assert self.names() == ["two"]
        root_keys("two")
        keyring.evict()
        assert TenantNote.objects.get().text == "kept"

    def test_not_from_what_refuses_until_it_is_out_of_the_settings(self, root_keys):
        create_master_key("lab")
        root_keys("two", "one")
        Service.errors["one"] = RootKeyRefused("it says no")
        done = rewrap_master_keys("two")
        assert done.remaining == len(done.refused) == 3, "and events need the key of the trail"
        root_keys("two")
        assert rewrap_master_keys("two").remaining == 0
        assert self.names() == ["two"]

    def test_two_change_places_without_the_one_that_does_not_answer(self, root_keys):
        create_master_key("lab")
        rewrap_master_keys("one")
        root_keys("two", "one", two=["one"])
        Service.errors["one"] = AWAY
        Service.asked.clear()
        assert rewrap_master_keys("two").refused == []
        assert ("wrap", "two") not in Service.asked, "what is there stays"
        Service.errors.clear()
        assert self.names() == ["two", "one"]

    def test_nothing_goes_before_what_stays_has_opened(self, root_keys):
        """The row's own wrap was altered, and the one that opens is not wanted any more."""
        version = create_master_key("lab").versions.get()
        broken = bytearray(version.wrapped_material)
        broken[-1] ^= 1
        MasterKeyVersion.objects.filter(pk=version.pk).update(wrapped_material=bytes(broken))
        root_keys("one", "two")
        done = rewrap_master_keys("one")
        assert version in [each.row for each in done.refused]
        further = FurtherWrap.objects.get(version_id=version.version_id)
        assert bytes(further.wrapped_material) != b""
        root_keys("two", "one")
        assert rewrap_master_keys("two").refused == []
        assert self.names() == ["two"], "and another one repairs it"

    def test_a_key_moves_to_its_own_root_key_and_what_that_entry_says(self, root_keys):
        key = create_master_key("lab")
        root_keys("one", "two", "three", one=["two"], three=["one"])
        update_master_key(key, root_key="three")
        rewrap_master_keys("one")
        assert self.names() == ["three", "one"]

    def test_one_of_them_is_away(self, root_keys, caplog):
        create_master_key("lab")
        rewrap_master_keys("one")
        Service.errors["two"] = AWAY
        assert rewrap_master_keys("one").moved == []
        assert "the root key 'two' wraps is not known: it is away" in caplog.text
        root_keys("three", "one", "two", three=["two"])
        assert rewrap_master_keys("three").refused == [], "its wraps stay"
        Service.errors.clear()
        assert self.names() == ["three", "two"]


class TestVersionsOfAServicesKey:
    def test_are_followed(self):
        create_master_key("lab")
        rewrap_master_keys("one")
        assert rewrap_master_keys("one").moved == []
        Service.versions["one"] = 2
        assert len(under_other_root_keys("one")) == 3
        done = rewrap_master_keys("one")
        assert (len(done.moved), done.remaining) == (3, 0)
        assert wraps(version_of()) == [("one", "one:v2"), ("two", "two:v1")]
        Service.versions["two"] = 5
        rewrap_master_keys("one")
        assert wraps(version_of()) == [("one", "one:v2"), ("two", "two:v5")]
        assert wraps(AuditKey.objects.get()) == [("one", "one:v2"), ("two", "two:v5")]
        event = AuditEvent.objects.filter(action="rewrap_master_key").first()
        assert event.before["further_wraps"][0]["wrapping_key_id"] == "two:v1"

    def test_are_asked_for_once(self):
        for number in range(4):
            create_master_key(f"lab/{number}")
        Service.versions["one"] = 2
        Service.asked.clear()
        rewrap_master_keys("one")
        assert [each for each in Service.asked if each[0] == "current"] == [
            ("current", "one"), ("current", "two"),
        ]  # fmt: skip

    def test_what_is_not_known_of_a_wrap_is_another_one(self):
        create_master_key("lab")
        rewrap_master_keys("one")
        MasterKeyVersion.objects.filter(pk=version_of().pk).update(wrapping_key_id="")
        assert len(rewrap_master_keys("one").moved) == 1
        assert wraps(version_of())[0] == ("one", "one:v1")

    def test_a_root_key_that_does_not_say(self, monkeypatch):
        create_master_key("lab")
        rewrap_master_keys("one")
        monkeypatch.setattr(Service, "current_wrapping_key_id", lambda self: None)
        MasterKeyVersion.objects.filter(pk=version_of().pk).update(wrapping_key_id="one:v0")
        assert rewrap_master_keys("one").moved == []

    def test_a_service_that_rotates_meanwhile(self, monkeypatch):
        create_master_key("lab")
        Service.versions["one"] = 2
        original = keyring.rewrapped

        def and_rotate(*given):
            Service.versions["one"] += 1
            return original(*given)

        monkeypatch.setattr(keyring, "rewrapped", and_rotate)
        done = rewrap_master_keys("one")
        assert (len(done.moved), done.remaining) == (3, 0)

    @pytest.mark.parametrize("answer", ["x" * 501, 7, b"one:v1"])
    def test_a_backend_that_says_something_else(self, monkeypatch, answer):
        monkeypatch.setattr(Service, "current_wrapping_key_id", lambda self: answer)
        with pytest.raises(RootKeyRefused, match="at most 500"):
            under_other_root_keys("one")


class TestDestruction:
    def left(self, version):
        found = FurtherWrap.objects.filter(version_id=version.version_id)
        return {bytes(each.wrapped_material) for each in found}

    def test_overwrites_all_wraps(self):
        key = create_master_key("lab")
        version, kept = key.versions.get(), create_master_key("kept").versions.get()
        schedule_deletion(key, 7)
        MasterKey.objects.filter(pk=key.pk).update(deletion_at="2020-01-01T00:00:00Z")
        assert len(destroy_due_keys().destroyed) == 1
        assert self.left(version) == {b""}
        assert self.left(kept) != {b""}

    def test_of_a_version_too(self):
        key = create_master_key("lab")
        version = key.versions.get()
        newer = rotate_master_key(key)
        schedule_deletion(version, 7)
        MasterKeyVersion.objects.filter(pk=version.pk).update(deletion_at="2020-01-01T00:00:00Z")
        assert len(destroy_due_keys().destroyed) == 1
        assert self.left(version) == {b""}
        assert self.left(newer) != {b""}

    @pytest.mark.django_db(transaction=True, databases="__all__")
    def test_so_does_shredding(self):
        key = create_master_key("lab")
        TenantNote.objects.create(tenant="lab", text="gone")
        shred(key, confirm="lab")
        assert self.left(key.versions.get()) == {b""}

    def test_what_is_destroyed_is_not_moved_and_nothing_is_added_to_it(self, root_keys):
        key = create_master_key("lab")
        version = key.versions.get()
        schedule_deletion(key, 7)
        MasterKey.objects.filter(pk=key.pk).update(deletion_at="2020-01-01T00:00:00Z")
        original = keyring.rewrapped

        def and_destroy(row, *given):
            made = original(row, *given)
            if row.state.version_id == bytes(version.version_id):
                destroy_due_keys()
            return made

        root_keys("three", "one", "two", three=["two"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keyring, "rewrapped", and_destroy)
            assert rewrap_master_keys("three").refused == []
        version.refresh_from_db()
        assert (bytes(version.wrapped_material), self.left(version)) == (b"", {b""})
        assert rewrap_master_keys("three").moved == []


class TestRows:
    def test_are_not_deleted(self):
        create_master_key("lab")
        for delete in (FurtherWrap.objects.all().delete, FurtherWrap.objects.first().delete):
            with pytest.raises(KeyRowProtected):
                delete()

    def test_are_one_for_each_root_key(self):
        create_master_key("lab")
        wrap = FurtherWrap.objects.first()
        wrap.pk = None
        with pytest.raises(IntegrityError), transaction.atomic():
            wrap.save(force_insert=True)

    def test_do_not_show_material(self):
        create_master_key("lab")
        wrap = FurtherWrap.objects.first()
        for shown in (repr(wrap), str(wrap)):
            assert bytes(wrap.wrapped_material).hex() not in shown
        assert "two" in str(wrap)

    def test_are_shown_with_their_version(self):
        content = key_content_with_versions(create_master_key("lab"))
        [version] = content["versions"]
        assert version["further_wraps"] == [{"root_key": "two", "wrapping_key_id": "two:v1"}]

    def test_a_rollback_takes_them_along(self):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            create_master_key("lab")
            raise ZeroDivisionError
        assert not FurtherWrap.objects.exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_several_at_once(root_keys):
    for number in range(4):
        create_master_key(f"lab/{number}")
    root_keys("three", "one", "two", three=["one"])
    outcomes = at_once(*[lambda: rewrap_master_keys("three")] * 3)
    assert [outcome.refused for outcome in outcomes] == [[]] * 3
    assert sum(len(outcome.moved) for outcome in outcomes) == 6
    for version in MasterKeyVersion.objects.all():
        assert [name for name, _ in wraps(version)] == ["three", "one"]
    assert audit.verify().intact


class TestSettings:
    @pytest.mark.parametrize(
        "further", ["two", ["nowhere"], ["one"], ["two", "two"], [None], [["two"]], {"two": 1}]
    )
    def test_that_cannot_be_meant(self, root_keys, further):
        root_keys("one", "two", one=further)
        with pytest.raises(ImproperlyConfigured, match=r"\['one'\]\[\"ALSO_WRAPPED_BY\"\]"):
            configuration()

    def test_another_root_key_is_not_followed(self, root_keys):
        root_keys("one", "two", "three", one=["two"], two=["three"])
        assert configuration().wrapped_by[None] == ("one", "two")
        assert configuration().wrapped_by["three"] == ("three",)


def create_key_without_the_first():
    """Make a key while the first root key is away: by one that does without."""
    create_master_key("other", root_key="three")


def _apps():
    from django.apps import apps

    return apps
