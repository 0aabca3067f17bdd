"""Jobs over values that are bound to columns of their rows, and bindings of before."""

from datetime import date
from uuid import UUID

import pytest
from django.core.exceptions import FieldError
from django.core.management import CommandError, call_command
from django.db import connection

from envelope_fields import rotation
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields.binary import BinaryColumn
from envelope_fields.fields.binding import note_rows
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import RotationState
from envelope_fields.rotation import RotationKind
from envelope_fields.rotation.rows import BoundRows
from envelope_fields.rotation.verification import verify
from tests.models import keyed
from tests.models.bound import Admission, Clinic, Owned, Placed, Record, Sample, apps
from tests.models.tables import tables_of
from tests.rotation import numbers_of
from tests.stored import store, stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps)

KINDS = [RotationKind.REWRAP, RotationKind.RE_ENCRYPT]


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    """Have jobs go over these alone."""
    seen = keyed.only(Record, Admission, Sample, Placed, Owned)
    monkeypatch.setattr("envelope_fields.census.columns.apps", seen)


@pytest.fixture
def clinics():
    return [Clinic.objects.create(name=name) for name in ("here", "there")]


@pytest.fixture
def rows(clinics):
    sample = {"number": 1, "day": date(2026, 1, 2), "colour": "red"}
    record = Record.objects.create(clinic=clinics[0], secret="of one", early="early", maybe=[1])
    first = Sample.objects.create(code="a ", text="sample", **sample)
    return [
        record,
        Record.objects.create(secret="of two", early=""),
        first,
        Sample.objects.create(code="Öre", text="other", by=first, **sample),
        Placed.objects.create(clinic=clinics[1], number=7, text="placed"),
        Admission.objects.create(clinic=clinics[1], secret="x", ward="w", reason="reason"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_row_that_shares_its_primary_key_is_reported(kind):
    """A table that inherits on PostgreSQL has keys of its own, which may be those of its parent."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has tables that inherit")
    Record.objects.create(secret="one", early="", maybe=[1])
    table = Record._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE heir () INHERITS ({table})")
        cursor.execute(f"INSERT INTO heir SELECT * FROM ONLY {table}")
        cursor.execute(
            f"UPDATE ONLY {table} SET secret = set_byte(secret, 50, get_byte(secret, 50) # 1)"
        )
        rotate_master_key("default")
        run = rotation.run("default", kind=kind, fields=["bound.Record.secret"])
        cursor.execute("DROP TABLE heir")
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (2, 1, 1))


def again(row):
    return type(row)._base_manager.get(pk=row.pk)


def contents(rows):
    names = ("secret", "early", "maybe", "text", "reason")
    return [[getattr(again(row), name, "") for name in names] for row in rows]


def unreadable():
    return [each for found in verify() for each in found.unreadable]


@pytest.mark.parametrize("kind", KINDS)
def test_values_move_to_the_new_version(rows, kind):
    before, version = contents(rows), rotate_master_key("default")
    payload = stored(rows[0], "secret")[81:]
    run = rotation.run("default", kind=kind)
    total, moved, failed = numbers_of(run)
    assert (run.state, moved, failed) == (RotationState.COMPLETED, total, 0)
    assert contents(rows) == before
    assert version_of(stored(rows[0], "secret")) == bytes(version.version_id)
    assert (stored(rows[0], "secret")[81:] == payload) is (kind == RotationKind.REWRAP)
    assert unreadable() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_row_is_named_and_the_others_go_on(rows, clinics, kind):
    swapped = stored(rows[1], "secret")
    store(rows[0], "secret", swapped)
    found = unreadable()
    assert [(each.field, UUID(each.row), each.cause) for each in found] == [
        ("bound.Record.secret", rows[0].pk, "DecryptionFailed")
    ]
    rotate_master_key("default")
    run = rotation.run("default", kind=kind)
    assert numbers_of(run)[2] == 1
    assert rotation.failures(run).get().cause == "UnwrapFailed"
    assert stored(rows[0], "secret") == swapped


def test_a_row_that_raw_sql_moved_is_found(rows, clinics):
    store(rows[0], "clinic", clinics[1].pk)
    assert {each.field for each in unreadable()} == {"bound.Record.secret", "bound.Record.early"}
    with pytest.raises(CommandError, match="cannot be read: 2"):
        call_command("verify_envelopes", verbosity=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_moves_before_the_swap_is_not_written(rows, clinics, kind, monkeypatch):
    """As by a process of before the field was bound, which writes the column alone."""
    rotate_master_key("default")
    original, before = BoundRows.unmoved, stored(rows[0], "secret")

    def unmoved(self, changes):
        store(rows[0], "clinic", clinics[1].pk)
        return original(self, changes)

    with monkeypatch.context() as patched:
        patched.setattr(BoundRows, "unmoved", unmoved)
        rotation.run("default", kind=kind)
    assert stored(rows[0], "secret") == before
    store(rows[0], "clinic", clinics[0].pk)
    assert again(rows[0]).secret == "of one"


def test_the_payload_is_not_read_by_a_rewrap(rows, monkeypatch):
    rotate_master_key("default")
    with monkeypatch.context() as patched:
        patched.setattr(
            "envelope_fields.jobs.statements.Statements.values",
            lambda *_: pytest.fail("payloads are read"),
        )
        run = rotation.run("default")
    assert numbers_of(run)[2] == 0


def test_tenants_keys_and_masks():
    for alias in ("red", "blue"):
        create_master_key(alias)
    rows = [Owned.objects.create(tenant=alias, text=alias) for alias in ("red", "blue", "red")]
    for kind in KINDS:
        rotate_master_key("red")
        run = rotation.run("red", kind=kind)
        assert numbers_of(run)[1:] == (2, 0)
        assert [again(row).text for row in rows] == ["red", "blue", "red"]


class TestBindingsOfBefore:
    SECRET = Record._meta.get_field("secret")

    @pytest.fixture
    def bind(self, monkeypatch):
        """Return what declares the field anew, as the next release of a project does."""

        def declare(bind_to=(), previous_bindings=(), previous_contexts=(), context=None):
            self.SECRET._forget()
            monkeypatch.setattr(self.SECRET, "bind_to", bind_to)
            monkeypatch.setattr(self.SECRET, "previous_bindings", previous_bindings)
            monkeypatch.setattr(self.SECRET, "previous_contexts", previous_contexts)
            monkeypatch.setattr(self.SECRET, "context", context)
            attribute = Record.secret
            monkeypatch.setattr(Record, "secret", type(attribute)(self.SECRET))
            note_rows(Record, [self.SECRET])
            self.SECRET.binary = BinaryColumn(self.SECRET)

        yield declare
        self.SECRET._forget()

    STEPS = {
        "bind": ((), ("id", "clinic")),
        "unbind": (("id", "clinic"), ()),
        "another": (("id",), ("clinic_id",)),
        "more": (("id",), ("id", "clinic")),
    }

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("step", STEPS)
    def test_a_full_column_moves_online(self, clinics, bind, step, kind):
        before, after = self.STEPS[step]
        bind(before)
        row = Record.objects.create(clinic=clinics[0], secret="s", early="")
        bind(after)
        if after != ():
            with pytest.raises(DecryptionFailed, match="previous_bindings"):
                again(row).secret  # noqa: B018
        bind(after, (before,))
        assert again(row).secret == "s"
        untouched = again(row)
        untouched.name = "saved meanwhile"
        untouched.save()
        assert again(row).secret == "s"
        payload = stored(row, "secret")[81:]
        run = rotation.run("default", kind=kind, fields=["bound.Record.secret"])
        assert (run.state, numbers_of(run)[1:]) == (RotationState.COMPLETED, (1, 0))
        assert (stored(row, "secret")[81:] == payload) is (kind == RotationKind.REWRAP)
        run = rotation.run("default", kind=kind, fields=["bound.Record.secret"])
        assert numbers_of(run)[1:] == (0, 0)
        bind(after)
        assert again(row).secret == "s"

    def test_a_column_is_renamed(self, clinics, bind, monkeypatch):
        bind(("id", ("practice_id", "clinic")))
        row = Record.objects.create(clinic=clinics[0], secret="s", early="")
        bind(("id", "clinic"), (("id", ("practice_id", "clinic")),))
        assert again(row).secret == "s"
        rotation.run("default", fields=["bound.Record.secret"])
        bind(("id", "clinic"))
        assert again(row).secret == "s"

    def test_together_with_a_label_of_before(self, clinics, bind):
        bind(context="clinic.earlier")
        row = Record.objects.create(clinic=clinics[0], secret="s", early="")
        bind(("clinic",), ((), ("id",)), ("clinic.earlier",))
        assert again(row).secret == "s"
        store(row, "clinic", clinics[1].pk)
        assert again(row).secret == "s"  # it is bound to nothing, until it is moved
        run = rotation.run("default", kind="re_encrypt", fields=["bound.Record.secret"])
        assert numbers_of(run)[1:] == (1, 0)
        store(row, "clinic", clinics[0].pk)
        with pytest.raises(DecryptionFailed):
            again(row).secret  # noqa: B018

    def test_a_column_of_before_is_still_written_with_the_value(self, clinics, bind):
        bind(("id",), (("clinic",),))
        Record.objects.create(clinic=clinics[0], secret="s", early="")
        with pytest.raises(FieldError, match="clinic"):
            Record.objects.update(clinic=None)
