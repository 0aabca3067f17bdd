"""What cannot be moved is told of, row by row, and keeps nothing else from moving."""

import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, connections
from django.test.utils import CaptureQueriesContext

from envelope_fields import lifecycle, rotation
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.grants import grant, revoke
from envelope_fields.jobs import statements
from envelope_fields.jobs.batches import Batches
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import AuditEvent, MasterKey, RotationFailure, RotationState
from envelope_fields.rotation import Limits
from envelope_fields.rotation.rewrap import Rewrap
from tests.models import LabNote, Note, TenantNote
from tests.rotation import left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")

SMALL = Limits(batch_size=2)


def notes(count):
    return Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(count)])


@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_a_bit_that_flipped_at_any_place(kind):
    rows = notes(layout.OVERHEAD_BYTES + 1)
    spoilt = {}
    for place, row in enumerate(rows[:-1]):
        value = bytearray(stored(row, "text"))
        value[place] ^= 1 << place % 8
        spoilt[row.pk] = bytes(value)
        put(row, "text", spoilt[row.pk])
    rotate_master_key("default")
    run = rotation.run("default", kind=kind)
    assert run.state == RotationState.COMPLETED
    # Another format or key version is none of this key's; the payload is not looked at by a rewrap.
    foreign = layout.HEADER_BYTES
    in_payload = layout.OVERHEAD_BYTES - layout.PAYLOAD_AT if kind == "rewrap" else 0
    failed = layout.OVERHEAD_BYTES - foreign - in_payload
    assert numbers_of(run) == (len(rows) - foreign, 1 + in_payload, failed)
    assert left("default") == failed
    for place, row in enumerate(rows[:-1]):
        value = stored(row, "text")
        if place < layout.PAYLOAD_AT or kind == "re_encrypt":
            assert value == spoilt[row.pk]
        else:
            assert value[layout.PAYLOAD_AT :] == spoilt[row.pk][layout.PAYLOAD_AT :]
    causes = set(RotationFailure.objects.values_list("cause", flat=True))
    assert causes == {"UnwrapFailed"} | ({"DecryptionFailed"} if kind == "re_encrypt" else set())


@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_what_is_no_envelope(kind):
    rows = notes(8)
    whole = stored(rows[0], "text")
    values = [b"", b"\x01", whole[:9], whole[:96], b"plain text" * 20, b"\x02" + whole[1:]]
    for row, value in zip(rows[1:], values, strict=False):
        put(row, "text", value)
    rotate_master_key("default")
    run = rotation.run("default", kind=kind, limits=SMALL)
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (2, 2, 0))
    assert [stored(row, "text") for row in rows[1:7]] == values


def test_a_truncated_payload_is_found_by_a_re_encryption():
    (row,) = notes(1)
    put(row, "text", stored(row, "text")[:97])
    rotate_master_key("default")
    assert numbers_of(rotation.run("default", kind="re_encrypt")) == (1, 0, 1)


class TestStates:
    @pytest.fixture
    def versions(self):
        """Three versions, of which each has a value."""
        rows = []
        for _ in range(3):
            rows += notes(1)
            version = rotate_master_key("default")
        return rows, MasterKey.objects.get(alias="default").versions.order_by("number"), version

    @pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
    @pytest.mark.parametrize("state", ["pending_deletion", "destroyed"])
    def test_versions_that_are_given_up(self, versions, kind, state):
        rows, found, current = versions
        # The census would not have let it come to this; who writes the database may.
        found.filter(number=2).update(state=state)
        run = rotation.run("default", kind=kind)
        assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (3, 2, 1))
        failure = rotation.failures(run).get()
        assert (failure.row, failure.cause) == (str(rows[1].pk), "MasterKeyUnusable")
        assert state.replace("_", " ") in failure.message
        moved = [version_of(stored(row, "text")) == bytes(current.version_id) for row in rows]
        assert moved == [True, False, True]

    @pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
    def test_the_key_is_disabled_in_the_middle(self, kind):
        notes(6)
        key = MasterKey.objects.get(alias="default")
        rotate_master_key("default")
        with pytest.raises(MasterKeyUnusable):
            rotation.run(
                "default", kind=kind, limits=SMALL,
                watch=lambda tally: disable(MasterKey.objects.get(pk=key.pk)),
            )  # fmt: skip
        run = key.runs.get()
        assert (run.state, left("default")) == (RotationState.FAILED, 4)
        assert "disabled" in run.error
        assert not RotationFailure.objects.exists()
        lifecycle.enable(key)
        assert rotation.run("default", kind=kind).state == RotationState.COMPLETED
        assert left("default") == 0

    def test_the_key_that_values_leave_is_disabled_in_the_middle(self):
        for alias in ("one", "two"):
            create_master_key(alias)
        for number in range(6):
            TenantNote.objects.create(tenant="one", text=f"{number}", data=None)
        TenantNote.objects.update(tenant="two")
        key = MasterKey.objects.get(alias="one")
        with pytest.raises(MasterKeyUnusable):
            rotation.run("one", kind="re_encrypt", limits=SMALL, watch=lambda tally: disable(key))
        run = key.runs.get()
        assert (run.state, numbers_of(run)) == (RotationState.FAILED, (6, 2, 0))

    def test_the_key_that_one_row_goes_to_is_disabled(self):
        for alias in ("one", "two", "three"):
            create_master_key(alias)
        rows = [TenantNote.objects.create(tenant="one", text=f"{n}", data=None) for n in range(4)]
        TenantNote.objects.update(tenant="two")
        TenantNote.objects.filter(pk=rows[2].pk).update(tenant="three")
        disable("three")
        run = rotation.run("one", kind="re_encrypt", limits=SMALL)
        assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (4, 3, 1))
        assert rotation.failures(run).get().row == str(rows[2].pk)

    def test_rights_are_taken_away_in_the_middle(self, django_user_model):
        user = django_user_model.objects.create_user("nora")
        create_master_key("lab")
        for number in range(6):
            LabNote.objects.create(text=f"{number}")
        rotate_master_key("lab")
        given = grant("lab", user, ["re_encrypt"])
        run = rotation.start("lab", limits=SMALL, actor=user)
        with pytest.raises(KeyAccessDenied, match="nora"):
            rotation.run(run, watch=lambda tally: revoke(given) if left("lab") == 4 else None)
        run.refresh_from_db()
        assert (run.state, left("lab")) == (RotationState.FAILED, 4)
        event = AuditEvent.objects.order_by("number").last()
        assert (event.action, event.actor_id) == ("fail_rotation", str(user.pk))


@pytest.mark.parametrize(
    ("error", "written"),
    [
        # PostgreSQL tells the whole row, in lines behind the first.
        (
            OperationalError("it failed\nDETAIL: Failing row contains (1, Ada, secret)"),
            "OperationalError: it failed",
        ),
        # And these tell a value in the first one.
        (DataError('invalid input syntax for type numeric: "secret"'), "DataError"),
        (OperationalError("Could not decode to UTF-8 column 'text' with text 'secret'"),
         "OperationalError"),
        (IntegrityError("(1062, \"Duplicate entry 'secret' for key 'text'\")"), "IntegrityError"),
    ],
)  # fmt: skip
def test_what_the_database_says_of_a_row_is_not_written_down(error, written, monkeypatch):
    notes(1)
    rotate_master_key("default")

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(Batches, "between", refuse)
    with pytest.raises(type(error)):
        rotation.run("default")
    run = MasterKey.objects.get(alias="default").runs.get()
    assert run.error == written
    event = AuditEvent.objects.order_by("number").last()
    assert (event.action, event.after["error"]) == ("fail_rotation", written)


def test_code_of_the_project_that_raises_ends_the_run_without_its_words(monkeypatch):
    notes(1)
    rotate_master_key("default")

    def break_off(*args, **kwargs):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Batches, "_swap_once", break_off)
    with pytest.raises(ZeroDivisionError):
        rotation.run("default")
    run = MasterKey.objects.get(alias="default").runs.get()
    assert (run.state, run.error) == (RotationState.FAILED, "ZeroDivisionError")


class TestSQLite:
    @pytest.fixture
    def utf16(self, tmp_path):
        if connection.vendor != "sqlite":
            pytest.skip("SQLite alone stores text in one of two ways")
        name = str(tmp_path / "utf16.sqlite3")
        settings = {**connection.settings_dict, "NAME": name, "OPTIONS": {}}
        connections["utf16"] = other = type(connections["default"])(settings, "utf16")
        with other.cursor() as cursor:
            cursor.execute("PRAGMA encoding = 'UTF-16'")
        with other.schema_editor() as editor:
            editor.create_model(Note)
        yield other
        other.close()
        del connections["utf16"]

    def test_text_in_utf_16(self, utf16):
        """There, || would drop the last byte of every second value."""
        from envelope_fields.census.columns import encrypted_columns

        Note.objects.using("utf16").bulk_create(
            [Note(pk=number, text="x" * number, data=None) for number in range(1, 20)]
        )
        before = [stored(note, "text") for note in Note.objects.using("utf16").order_by("pk")]
        old = version_of(before[0])
        rotate_master_key("default")
        (column,) = [each for each in encrypted_columns("utf16") if str(each) == "tests.Note.text"]
        (tally,) = Batches(column, Rewrap(column), Limits()).between([old], None, (20,))
        assert tally.moved == 19
        notes = list(Note.objects.using("utf16").order_by("pk"))
        assert [note.text for note in notes] == ["x" * number for number in range(1, 20)]
        assert [stored(note, "text")[81:] for note in notes] == [value[81:] for value in before]


class TestMariaDB:
    @pytest.mark.parametrize(("kind", "most"), [("rewrap", 2000), ("re_encrypt", 1875)])
    def test_what_the_server_would_cut_is_left(self, kind, most, monkeypatch):
        """CONCAT gives NULL for what is larger than max_allowed_packet."""
        if connection.vendor != "mysql":
            pytest.skip("MariaDB alone has such a limit")
        monkeypatch.setattr(statements.mysql.MySQL, "_packet", 2000)
        sizes = [10, most - layout.OVERHEAD_BYTES, most - layout.OVERHEAD_BYTES + 1]
        rows = [Note.objects.create(text="x" * size, data=None) for size in sizes]
        rotate_master_key("default")
        run = rotation.run("default", kind=kind)
        assert numbers_of(run) == (3, 2, 1)
        failure = rotation.failures(run).get()
        assert (failure.row, failure.cause) == (str(rows[2].pk), "ValueTooLarge")
        assert "max_allowed_packet" in failure.message

    def test_it_is_not_cut_either_where_nobody_looked(self):
        if connection.vendor != "mysql":
            pytest.skip("MariaDB alone has such a limit")
        Note.objects.create(text="x", data=None)
        rotate_master_key("default")
        with CaptureQueriesContext(connection) as queries:
            rotation.run("default")
        (swap,) = [each["sql"] for each in queries if "STRAIGHT_JOIN" in each["sql"]]
        assert swap.endswith("AND LENGTH(`tests_note`.`text`) <= @@max_allowed_packet")
