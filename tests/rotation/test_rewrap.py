"""Values move to the current version; their payloads stay as they are, and they read as before."""

import uuid

import pytest
from django.db import connections

from envelope_fields import keyring, lifecycle, rotation
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import encrypt
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import (
    AuditEvent,
    MasterKey,
    RotationFailure,
    RotationRun,
    RotationState,
)
from envelope_fields.rotation import Limits, RotationUnderWay
from tests.models import (
    CompositeKeyed,
    LabNote,
    Note,
    OddNames,
    Place,
    Renamed,
    Restaurant,
    TenantNote,
    UuidKeyed,
)
from tests.rotation import left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")


def current(alias="default"):
    return bytes(MasterKey.objects.get(alias=alias).current_version.version_id)


def test_a_replica_is_left_out(monkeypatch):
    """Unless it is named: what is written elsewhere comes over by itself."""
    Note.objects.using("other").create(text="a", data=None)
    rotate_master_key("default")
    monkeypatch.setitem(connections["other"].settings_dict["TEST"], "MIRROR", "default")
    assert numbers_of(rotation.run("default")) == (0, 0, 0)
    assert left("default") == 1
    assert numbers_of(rotation.run("default", database="other")) == (1, 1, 0)


def test_values_move_and_payloads_stay():
    notes = Note.objects.bulk_create(
        [Note(text=f"text {number}", data={"n": number}) for number in range(20)]
    )
    before = [(stored(note, "text"), stored(note, "data")) for note in notes]
    rotate_master_key("default")

    run = rotation.run("default")

    assert run.state == RotationState.COMPLETED
    for note, values in zip(notes, before, strict=True):
        for name, value in zip(("text", "data"), values, strict=True):
            new = stored(note, name)
            assert version_of(new) == current()
            assert new[layout.PAYLOAD_AT :] == value[layout.PAYLOAD_AT :]
            assert new[: layout.PAYLOAD_AT] != value[: layout.PAYLOAD_AT]
    found = Note.objects.order_by("pk").values_list("text", "data")
    assert list(found) == [(f"text {number}", {"n": number}) for number in range(20)]
    assert left("default") == 0
    assert numbers_of(run) == (40, 40, 0)


def test_wraps_get_nonces_of_their_own():
    Note.objects.bulk_create([Note(text="same") for _ in range(50)])
    rotate_master_key("default")
    rotation.run("default", limits=Limits(batch_size=7))
    nonces = {stored(note, "text")[9:33] for note in Note.objects.only("pk")}
    assert len(nonces) == 50


def test_nothing_to_do():
    Note.objects.create(text="a")
    run = rotation.run("default")
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (0, 0, 0))


def test_again_does_nothing():
    note = Note.objects.create(text="a")
    rotate_master_key("default")
    rotation.run("default")
    before = stored(note, "text")
    rotation.run("default")
    assert stored(note, "text") == before


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 6])
def test_batches_of_any_size(batch_size):
    Note.objects.bulk_create([Note(text=f"{number}", data=None) for number in range(6)])
    rotate_master_key("default")
    Note.objects.create(text="new", data=None)
    run = rotation.run("default", limits=Limits(batch_size=batch_size))
    assert numbers_of(run) == (6, 6, 0)
    assert left("default") == 0


def test_many_ranges(monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 3)
    Note.objects.bulk_create([Note(text=f"{number}", data=None) for number in range(20)])
    Note.objects.filter(text__isnull=False).order_by("pk").first().delete()
    rotate_master_key("default")
    run = rotation.run("default")
    assert numbers_of(run) == (19, 19, 0)
    assert run.columns.get().ranges.count() == 7


def test_several_rotations_behind():
    first = Note.objects.create(text="first", data=None)
    rotate_master_key("default")
    second = Note.objects.create(text="second", data=None)
    rotate_master_key("default")
    third = Note.objects.create(text="third", data=None)
    rotation.run("default")
    assert {version_of(stored(note, "text")) for note in (first, second, third)} == {current()}


def test_only_some_versions():
    first = Note.objects.create(text="first", data=None)
    rotate_master_key("default")
    second = Note.objects.create(text="second", data=None)
    two = current()
    rotate_master_key("default")
    rotation.run("default", versions=[1])
    assert version_of(stored(first, "text")) == current()
    assert version_of(stored(second, "text")) == two


def test_a_version_that_is_not_there():
    with pytest.raises(MasterKeyNotFound, match="no version 7; it has 1"):
        rotation.start("default", versions=[7])
    assert not RotationRun.objects.exists()


def test_other_keys_are_left_alone():
    create_master_key("lab")
    note, other = Note.objects.create(text="a"), LabNote.objects.create(text="b")
    before = stored(other, "text")
    rotate_master_key("default")
    rotate_master_key("lab")
    rotation.run("default")
    assert stored(other, "text") == before
    rotation.run("lab")
    assert version_of(stored(other, "text")) == current("lab")
    assert LabNote.objects.get().text == "b"
    assert version_of(stored(note, "text")) == current()


def test_every_shape_of_model():
    rows = [
        OddNames.objects.create(text="odd", data=["x"]),
        UuidKeyed.objects.create(id=uuid.uuid4(), text="uuid"),
        *[
            CompositeKeyed.objects.create(ward=w, bed=b, text=f"{w} {b}")
            for w in (2, 1)
            for b in (1, 2)
        ],
        Restaurant.objects.create(secret="s", menu=["soup"]),
    ]
    rotate_master_key("default")
    run = rotation.run("default", limits=Limits(batch_size=3))
    assert run.state == RotationState.COMPLETED
    assert left("default") == 0
    for row in rows:
        assert type(row).objects.get(pk=row.pk).pk == row.pk
    assert OddNames.objects.get().data == ["x"]
    beds = CompositeKeyed.objects.order_by("ward", "bed").values_list("text", flat=True)
    assert list(beds) == ["1 1", "1 2", "2 1", "2 2"]
    assert (Place.objects.get().secret, Restaurant.objects.get().menu) == ("s", ["soup"])


def test_a_second_database():
    Note.objects.using("other").create(text="elsewhere", data=None)
    Note.objects.create(text="here", data=None)
    rotate_master_key("default")
    run = rotation.run("default", database="other")
    assert numbers_of(run) == (1, 1, 0)
    assert left("default") == 1
    assert Note.objects.using("other").get().text == "elsewhere"
    rotation.run("default")
    assert left("default") == 0


def test_only_some_fields():
    note = Note.objects.create(text="a", data=[1])
    UuidKeyed.objects.create(text="b")
    rotate_master_key("default")
    rotation.run("default", fields=["tests.note.TEXT"])
    assert left("default") == 2
    assert version_of(stored(note, "text")) == current()
    rotation.run("default", fields=["tests.Note"])
    assert left("default") == 1


def test_an_unknown_field():
    with pytest.raises(rotation.NoSuchField, match=r"tests\.note\.title.*tests\.Note\.text"):
        rotation.start("default", fields=["tests.Note.title"])


def test_a_rename_needs_a_rewrap_and_no_more():
    row = Renamed.objects.create(text="x")
    field = Renamed._meta.get_field("text")
    older = encrypt(
        keyring.values.wrapping_key("default", "default", field.field_path),
        b"written before",
        field.contexts[2],
    )
    put(row, "text", older)
    assert Renamed.objects.get().text == "written before"

    run = rotation.run("default")  # under the current version, and the context is an old one

    assert numbers_of(run)[1:] == (1, 0)
    new = stored(row, "text")
    assert new[layout.PAYLOAD_AT :] == older[layout.PAYLOAD_AT :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(field.__dict__, "contexts", field.contexts[:1])
        patch.delitem(field.__dict__, "reader", raising=False)
        patch.delitem(field.__dict__, "converter", raising=False)
        patch.delitem(field.__dict__, "cached_col", raising=False)
        assert Renamed.objects.get().text == "written before"
    again = rotation.run("default")
    assert numbers_of(again)[1:] == (0, 0)
    assert stored(row, "text") == new


def test_tenants_stay_under_their_keys():
    for alias in ("tenant-a", "tenant-b"):
        create_master_key(alias)
    rows = [TenantNote.objects.create(tenant=f"tenant-{letter}", text=letter) for letter in "ab"]
    rotate_master_key("tenant-a")
    rotate_master_key("tenant-b")
    b_before = stored(rows[1], "text")
    rotation.run("tenant-a")
    assert version_of(stored(rows[0], "text")) == current("tenant-a")
    assert stored(rows[1], "text") == b_before


class TestBadRows:
    def broken(self):
        notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(5)])
        value = bytearray(stored(notes[2], "text"))
        value[60] ^= 1  # in the wrapped data key
        put(notes[2], "text", bytes(value))
        rotate_master_key("default")
        return notes, bytes(value)

    def test_it_is_reported_and_stays_and_stops_nothing(self):
        notes, value = self.broken()
        run = rotation.run("default", limits=Limits(batch_size=2))
        assert run.state == RotationState.COMPLETED
        assert numbers_of(run) == (5, 4, 1)
        assert stored(notes[2], "text") == value
        failure = RotationFailure.objects.get()
        assert (failure.row, failure.cause) == (str(notes[2].pk), "UnwrapFailed")
        assert str(failure.range.column) == "tests.Note.text"
        assert failure.version_id == version_of(value).hex()
        assert [each.row for each in rotation.failures(run)] == [failure.row]
        assert left("default") == 1

    def test_the_old_version_is_not_let_go(self):
        self.broken()
        rotation.run("default")
        key = MasterKey.objects.get(alias="default")
        with pytest.raises(lifecycle.KeyInUse, match=r"tests\.Note\.text"):
            lifecycle.schedule_deletion(key.versions.get(number=1), confirm="default")

    def test_many_of_them(self):
        notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(120)])
        for note in notes:
            value = bytearray(stored(note, "text"))
            value[60] ^= 1
            put(note, "text", bytes(value))
        rotate_master_key("default")
        run = rotation.run("default")
        assert numbers_of(run) == (120, 0, 120)
        assert rotation.failures(run).count() == 100

    def test_an_altered_payload_is_not_looked_at(self):
        note = Note.objects.create(text="a", data=None)
        value = bytearray(stored(note, "text"))
        value[-1] ^= 1
        put(note, "text", bytes(value))
        rotate_master_key("default")
        assert numbers_of(rotation.run("default")) == (1, 1, 0)

    def test_no_envelopes_and_unknown_versions_are_left_alone(self):
        notes = Note.objects.bulk_create([Note(text="a", data=None) for _ in range(3)])
        put(notes[0], "text", b"plaintext from before")
        put(notes[1], "text", b"\x01" + b"\xff" * 120)
        rotate_master_key("default")
        assert numbers_of(rotation.run("default")) == (1, 1, 0)
        assert stored(notes[0], "text") == b"plaintext from before"
        assert stored(notes[1], "text") == b"\x01" + b"\xff" * 120


class TestStates:
    def test_a_leaked_version_is_disabled_and_left(self):
        note = Note.objects.create(text="a", data=None)
        rotate_master_key("default")
        key = MasterKey.objects.get(alias="default")
        disable(key.versions.get(number=1))
        with pytest.raises(MasterKeyUnusable):
            _ = Note.objects.get().text
        rotation.run("default")
        assert version_of(stored(note, "text")) == current()
        assert Note.objects.get().text == "a"

    def test_readers_get_nothing_from_a_rotation_of_a_disabled_version(self):
        Note.objects.create(text="a", data=None)
        kept = Note.objects.create(text="b", data=[1])
        rotate_master_key("default")
        key = MasterKey.objects.get(alias="default")
        disable(key.versions.get(number=1))
        rotation.run("default", fields=["tests.Note.text"])
        with pytest.raises(MasterKeyUnusable):
            Note.objects.filter(pk=kept.pk).values_list("data").get()

    def test_a_disabled_key(self):
        key = create_master_key("lab")
        LabNote.objects.create(text="b")
        rotate_master_key("lab")
        disable(key)
        with pytest.raises(MasterKeyUnusable, match="enable the key"):
            rotation.start("lab")

    def test_a_key_disabled_meanwhile(self):
        key = create_master_key("lab")
        LabNote.objects.create(text="b")
        rotate_master_key("lab")
        run = rotation.start("lab")
        disable(key)
        with pytest.raises(MasterKeyUnusable):
            rotation.run(run)
        run.refresh_from_db()
        assert run.state == RotationState.FAILED
        assert "disabled" in run.error
        lifecycle.enable(key)
        assert rotation.run("lab").state == RotationState.COMPLETED


class TestRuns:
    def test_one_at_a_time(self):
        first = rotation.start("default")
        with pytest.raises(RotationUnderWay, match=str(first.pk)) as caught:
            rotation.start("default")
        assert caught.value.run == first
        create_master_key("lab")
        rotation.start("lab")
        rotation.cancel(first)
        rotation.start("default")

    def test_pause_and_resume(self):
        Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(10)])
        rotate_master_key("default")
        run = rotation.start("default", limits=Limits(batch_size=3))
        rotation.run(run, watch=lambda tally: rotation.pause(run))
        assert run.state == RotationState.PAUSED
        assert left("default") == 7
        told = rotation.progress(run)
        assert (told.total, told.moved, told.remaining) == (10, 3, 7)
        assert rotation.run(run).state == RotationState.COMPLETED
        assert left("default") == 0

    def test_cancel(self):
        Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(10)])
        rotate_master_key("default")
        run = rotation.start("default", limits=Limits(batch_size=3))
        rotation.run(run, watch=lambda tally: rotation.cancel(run))
        assert (run.state, left("default")) == (RotationState.CANCELLED, 7)
        assert rotation.cancel(run).state == RotationState.CANCELLED
        with pytest.raises(rotation.RunNotPossible):
            rotation.resume(run)
        assert rotation.run("default").state == RotationState.COMPLETED

    def test_the_audit_trail_tells(self):
        Note.objects.create(text="a", data=None)
        rotate_master_key("default")
        run = rotation.start("default")
        rotation.pause(run)
        rotation.run(run)
        acts = list(AuditEvent.objects.order_by("number").values_list("action", flat=True))
        assert acts[-4:] == [
            "start_rotation", "pause_rotation", "resume_rotation", "complete_rotation",
        ]  # fmt: skip
        assert AuditEvent.objects.order_by("number").last().after["moved"] == 1

    def test_rights(self, django_user_model):
        user = django_user_model.objects.create_user("nora")
        with pytest.raises(KeyAccessDenied):
            create_master_key("lab")
            rotation.start("lab", actor=user)

    def test_rights_taken_away_stop_it(self, django_user_model):
        from envelope_fields.grants import grant, revoke

        user = django_user_model.objects.create_user("nora")
        create_master_key("lab")
        LabNote.objects.create(text="b")
        rotate_master_key("lab")
        given = grant("lab", user, ["re_encrypt"])
        run = rotation.start("lab", actor=user)
        revoke(given)
        with pytest.raises(KeyAccessDenied):
            rotation.run(run)
        run.refresh_from_db()
        assert run.state == RotationState.FAILED
        assert left("lab") == 1
