"""Values get a new data key and ciphertext, under the key that their field has now."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from envelope_fields import rotation
from envelope_fields.crypto import format as layout
from envelope_fields.lifecycle import create_master_key, disable, move_alias, rotate_master_key
from envelope_fields.models import MasterKey, RotationState
from envelope_fields.rotation import Limits
from tests.models import Clinic, Document, LabNote, Note, Renamed, TenantNote
from tests.rotation import left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")


def current(alias="default"):
    return bytes(MasterKey.objects.get(alias=alias).current_version.version_id)


def test_everything_is_new():
    notes = Note.objects.bulk_create([Note(text=f"{n}", data={"n": n}) for n in range(10)])
    before = [stored(note, "text") for note in notes]
    rotate_master_key("default")
    run = rotation.run("default", kind="re_encrypt", limits=Limits(batch_size=4))
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (20, 20, 0))
    for note, value in zip(notes, before, strict=True):
        new = stored(note, "text")
        assert version_of(new) == current()
        assert new[layout.PAYLOAD_AT :] != value[layout.PAYLOAD_AT :]
        assert len(new) == len(value)
    assert [(n.text, n.data) for n in Note.objects.order_by("pk")] == [
        (f"{n}", {"n": n}) for n in range(10)
    ]
    assert left("default") == 0


def test_values_of_a_leaked_version_alone():
    leaked = Note.objects.create(text="leaked", data=None)
    rotate_master_key("default")
    other = Note.objects.create(text="other", data=None)
    value = stored(other, "text")
    rotate_master_key("default")
    disable(MasterKey.objects.get(alias="default").versions.get(number=1))
    run = rotation.run("default", kind="re_encrypt", versions=[1])
    assert numbers_of(run) == (1, 1, 0)
    assert version_of(stored(leaked, "text")) == current()
    assert stored(other, "text") == value
    assert Note.objects.get(pk=leaked.pk).text == "leaked"


def test_another_key_of_a_field(monkeypatch):
    create_master_key("old-lab")
    lab = create_master_key("lab")
    with pytest.MonkeyPatch.context() as patch:
        field = LabNote._meta.get_field("text")
        patch.setattr(field, "key", "old-lab")
        patch.delitem(field.__dict__, "writer", raising=False)
        note = LabNote.objects.create(text="x")
    LabNote._meta.get_field("text").__dict__.pop("writer", None)
    assert version_of(stored(note, "text")) == current("old-lab")
    run = rotation.run("old-lab", kind="re_encrypt")
    assert numbers_of(run) == (1, 1, 0)
    assert version_of(stored(note, "text")) == bytes(lab.current_version.version_id)
    assert LabNote.objects.get().text == "x"


def test_values_under_a_key_that_lost_its_alias():
    create_master_key("lab")
    note = LabNote.objects.create(text="x")
    old = MasterKey.objects.get(alias="lab")
    new = create_master_key("next-lab")
    move_alias("lab", new)
    old.refresh_from_db()
    run = rotation.run(old, kind="re_encrypt")
    assert numbers_of(run) == (1, 1, 0)
    assert version_of(stored(note, "text")) == bytes(new.current_version.version_id)


def test_each_row_goes_under_its_own_key():
    for alias in ("tenant-a", "tenant-b", "common"):
        create_master_key(alias)
    rows = [
        TenantNote.objects.create(tenant=alias, text=alias)
        for alias in ("tenant-a", "common", "tenant-b", "common")
    ]
    TenantNote.objects.filter(pk__in=[rows[1].pk]).update(tenant="tenant-b")
    before = stored(rows[3], "text")

    run = rotation.run("common", kind="re_encrypt")

    assert (run.state, numbers_of(run)[1:]) == (RotationState.COMPLETED, (1, 0))
    assert version_of(stored(rows[1], "text")) == current("tenant-b")
    assert stored(rows[3], "text") == before
    texts = TenantNote.objects.order_by("pk").values_list("text", flat=True)
    assert list(texts) == ["tenant-a", "common", "tenant-b", "common"]


def test_a_row_whose_key_is_not_there():
    create_master_key("tenant-a")
    rows = [TenantNote.objects.create(tenant="tenant-a", text=f"{n}") for n in range(3)]
    TenantNote.objects.filter(pk=rows[1].pk).update(tenant="tenant-z")
    rotate_master_key("tenant-a")
    run = rotation.run("tenant-a", kind="re_encrypt")
    assert numbers_of(run) == (3, 2, 1)
    failure = rotation.failures(run).get()
    assert (failure.row, failure.cause) == (str(rows[1].pk), "MasterKeyNotFound")


def test_tenants_by_template():
    clinics = [Clinic.objects.create(name=f"{n}") for n in range(2)]
    documents = [Document.objects.create(clinic=clinic, body="b") for clinic in clinics]
    alias = f"clinic/{clinics[0].pk}"
    rotate_master_key(alias)
    assert numbers_of(rotation.run(alias, kind="re_encrypt")) == (1, 1, 0)
    assert version_of(stored(documents[0], "body")) == current(alias)


def test_a_payload_that_was_altered_is_reported():
    notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(3)])
    value = bytearray(stored(notes[1], "text"))
    value[-1] ^= 1
    put(notes[1], "text", bytes(value))
    rotate_master_key("default")
    run = rotation.run("default", kind="re_encrypt")
    assert numbers_of(run) == (3, 2, 1)
    assert rotation.failures(run).get().cause == "DecryptionFailed"
    assert stored(notes[1], "text") == bytes(value)


def test_large_values_go_in_portions(monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.batches.BYTES_AT_ONCE", 3000)
    for n in range(7):
        Note.objects.create(text=f"{n}" * 1000, data=None)
    rotate_master_key("default")
    assert numbers_of(rotation.run("default", kind="re_encrypt")) == (7, 7, 0)
    assert [note.text[0] for note in Note.objects.order_by("pk")] == list("0123456")


def test_a_previous_context_becomes_the_present_one():
    row = Renamed.objects.create(text="x")
    rotate_master_key("default")
    rotation.run("default", kind="re_encrypt")
    assert version_of(stored(row, "text")) == current()
    assert Renamed.objects.get().text == "x"


def test_no_plaintext_in_what_is_raised(monkeypatch):
    from envelope_fields.crypto import envelope

    Note.objects.create(text="a very secret text", data=None)
    rotate_master_key("default")

    def refuse(*args):
        del args
        raise MemoryError

    monkeypatch.setattr(envelope, "encrypt", refuse)
    with pytest.raises(MemoryError) as caught:
        rotation.run("default", kind="re_encrypt")
    ours = [entry for entry in caught.traceback if "/envelope_fields/" in str(entry.path)]
    assert len(ours) > 5
    for entry in ours:
        assert "very secret" not in repr(entry.locals)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_rows_that_share_a_primary_key_are_told_apart(capsys):
    """A table that inherits on PostgreSQL has keys of its own, which may be those of its parent."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has tables that inherit")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE heir () INHERITS (tests_note)")
        try:
            notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(3)])
            cursor.execute("INSERT INTO heir SELECT * FROM ONLY tests_note")
            for note in notes:
                cursor.execute("DELETE FROM ONLY tests_note WHERE id = %s", [note.pk])
                Note.objects.create(pk=note.pk, text=f"own {note.text}", data=None)
            rotate_master_key("default")
            run = rotation.run("default", kind="re_encrypt")
            assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (6, 6, 0))
            assert left("default") == 0
            texts = sorted(Note.objects.values_list("text", flat=True))
            assert texts == ["0", "1", "2", "own 0", "own 1", "own 2"]
            cursor.execute(
                "UPDATE ONLY tests_note SET text = set_byte(text, 100, get_byte(text, 100) # 1)"
            )
            with pytest.raises(CommandError, match="cannot be read: 3"):
                call_command("verify_envelopes")
        finally:
            cursor.execute("DROP TABLE heir")
