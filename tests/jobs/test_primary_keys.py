"""Rows are found, moved and named by primary keys of every type, in the order of the database."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet

from envelope_fields import rotation
from envelope_fields.census.indexes import ColumnNotThere
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.jobs.statements.parts import KeysOutOfOrder
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import Limits
from tests.models import UuidKeyed, keyed
from tests.rotation import left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")

MOMENTS = [
    datetime(2026, 3, 29, 0, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    *[datetime(2026, 1, 1, 12, minute, tzinfo=UTC) for minute in range(6)],
]
# Unlike in every collation that is used here, also where case, accents and spaces do not count.
TEXTS = [
    "", "a", "B", "c", "Zebra", "älter", "Ölkanne", "Straße", "10", "9", "-1", "%", "%s", "'", '"',
    "\\", "\\'", "日本", "😀", "a b", "a_b", "a\tb", " c", "x" * 60,
]  # fmt: skip
KEYS = {
    keyed.TextKeyed: TEXTS,
    keyed.BytesKeyed: [b"", b"\0", b"\0\1", b"\xff", b"%s", b"'\\", b"a", b"A", bytes(40)],
    keyed.IntegerKeyed: [-(2**63), -5, -1, 0, 1, 9, 10, 2**63 - 1],
    keyed.NamedAsInStatements: [1, 2, 3, 5, 8, 13],
    keyed.DecimalKeyed: [
        *map(Decimal, ("-1.500", "-0.001", "0.000", "0.1", "0.101", "2.5", "10", "123456789.123"))
    ],
    keyed.FloatKeyed: [-1e300, -1.5, -5e-324, 0.0, 0.1, 1 / 3, 1e17, 1.7e308],
    keyed.DateTimeKeyed: MOMENTS,
    keyed.DateKeyed: sorted({date(1100, 2, 3), *(moment.date() for moment in MOMENTS)}),
    keyed.TimeKeyed: [time(), time(0, 0, 0, 1), time(12), time(12, 30), time(23, 59, 59, 999999)],
    keyed.DurationKeyed: [
        *(timedelta(days) for days in (-5, 0, 9000)),
        *(timedelta(microseconds=n) for n in (-1, 1, 10**12 + 1)),
    ],
    keyed.AddressKeyed: ["10.0.0.1", "9.9.9.9", "::1", "2001:db8::1", "255.255.255.255"],
    keyed.CodeKeyed: [keyed.Code(text) for text in ("abc", "cba", "bca", "x", "10", "01")],
}


@pytest.fixture(scope="module", autouse=True)
def tables(django_db_setup, django_db_blocker):
    every = keyed.apps.all_models["keyed"].values()
    models = [model for model in every if model._meta.managed]
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        yield
        with connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)


def only(model, monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(model))


def parents(count):
    return keyed.UuidParent.objects.bulk_create(keyed.UuidParent() for _ in range(count))


def rows_of(model):
    if model is keyed.RelationKeyed:
        return [model(key=parent) for parent in parents(7)]
    if model is keyed.MixedKeyed:
        return [
            model(parent=parent, name=name, at=moment)
            for parent in parents(2)
            for name in ("a", "B", "", "10")
            for moment in MOMENTS[:2]
        ]
    return [model(key=key) for key in KEYS[model]]


@pytest.fixture(params=[*KEYS, keyed.RelationKeyed, keyed.MixedKeyed], ids=lambda m: m.__name__)
def rows(request, monkeypatch):
    only(request.param, monkeypatch)
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 3)
    found = rows_of(request.param)
    for number, row in enumerate(found):
        row.text = f"{number}"
        row.save(force_insert=True)
    return found


def test_every_row_is_moved_and_read(rows):
    for kind in ("rewrap", "re_encrypt"):
        rotate_master_key("default")
        run = rotation.run("default", kind=kind, limits=Limits(batch_size=2))
        assert (run.state, run.pass_number) == (RotationState.COMPLETED, 1)
        assert numbers_of(run) == (len(rows), len(rows), 0)
        assert left("default") == 0
    model = type(rows[0])
    assert sorted(int(row.text) for row in model.objects.all()) == list(range(len(rows)))
    call_command("verify_envelopes", verbosity=0)


def test_a_row_that_fails_is_named_by_its_key(rows):
    row = rows[len(rows) // 2]
    value = stored(row, "text")
    put(row, "text", value[:40] + bytes(41) + value[81:])
    rotate_master_key("default")
    run = rotation.run("default", limits=Limits(batch_size=2))
    assert numbers_of(run) == (len(rows), len(rows) - 1, 1)
    named = rotation.failures(run).get().row
    assert named
    others = {str(key) for each in rows if each is not row for key in [each.pk]}
    assert named not in others


class TestKeysOfRows:
    """A callable `key=` is asked with the row, which Django loads by what the driver gave."""

    def chosen(self, model):
        for alias in ("one", "two"):
            create_master_key(alias)
        keys = KEYS.get(getattr(keyed, model.__name__.replace("Chosen", "Keyed"))) or parents(6)
        rows = [model(key=key, alias="one", text=f"{n}") for n, key in enumerate(keys)]
        for row in rows:
            row.save(force_insert=True)
        return rows

    @pytest.mark.parametrize(
        "model",
        [keyed.CodeChosen, keyed.DecimalChosen, keyed.DateTimeChosen, keyed.RelationChosen],
        ids=lambda model: model.__name__,
    )
    def test_values_go_under_the_key_that_their_row_has_now(self, model, monkeypatch):
        only(model, monkeypatch)
        rows = self.chosen(model)
        moved = rows[::2]
        for row in moved:
            model.objects.filter(pk=row.pk).update(alias="two")
        run = rotation.run("one", kind="re_encrypt", limits=Limits(batch_size=4))
        assert (run.state, numbers_of(run)[1:]) == (RotationState.COMPLETED, (len(moved), 0))
        assert sorted(int(row.text) for row in model.objects.all()) == list(range(len(rows)))
        two = MasterKey.objects.get(alias="two").current_version
        under_two = [version_of(stored(row, "text")) == bytes(two.version_id) for row in rows]
        assert under_two == [row in moved for row in rows]

    def test_no_manager_hides_a_row(self, monkeypatch):
        only(keyed.HiddenChosen, monkeypatch)
        for alias in ("one", "two"):
            create_master_key(alias)
        row = keyed.HiddenChosen(key="a", alias="one", text="x")
        row.save(force_insert=True)
        QuerySet(keyed.HiddenChosen).update(alias="two")
        run = rotation.run("one", kind="re_encrypt")
        assert numbers_of(run)[1:] == (1, 0)


# Key columns of other programs, and values for them, as SQL.
FOREIGN = {
    "sqlite": {
        "TEXT COLLATE NOCASE": ["'a'", "'B'", "'c'", "'D'", "'ä'"],
        "TEXT COLLATE RTRIM": ["'a'", "'b '", "'b c'", "''"],
        "TEXT": ["'10'", "'9'", "'a' || char(0)", "'a' || char(0) || 'b'", "'a'"],
        "NUMERIC": ["1", "1.5", "'x'", "-3", "1e300"],
        "": ["1", "'1'", "x'01'", "1.5", "'a'"],
        "DATETIME": ["'2026-01-01T00:00:00'", "'2026-01-01 00:00:00'", "'2026-01-01'", "'?'"],
        "BOOLEAN": ["0", "1"],
    },
    "postgresql": {
        "char(10)": ["'a'", "'bcd'", "'x y'", "''"],
        "varchar(20) COLLATE \"C\"": ["'a'", "'B'", "'ä'", "'10'", "'9'"],
        "citext": ["'a'", "'B'", "'c'", "'D'"],
        "varchar(20) COLLATE no_case": ["'a'", "'B'", "'c'", "'D'"],
        "inet": ["'10.0.0.1'", "'9.0.0.0/8'", "'::1'"],
        "mood": ["'sad'", "'ok'", "'happy'"],
        "positive": ["1", "9", "10"],
        "interval": ["'1 day'", "'1 second'", "'-1 hour'"],
        "timetz": ["'10:00+01'", "'09:30+00'"],
        "real": ["0.1", "0.2", "-1e30"],
        "measure": ["0.1", "0.2", "0.3", "0.7", "-1e30"],  # a driver knows it as text
        "bit(3)": ["B'101'", "B'001'"],
        "\"char\"": ["'a'", "'b'"],
    },
    "mysql": {
        "char(10)": ["'a'", "'bcd'", "'x y'", "''"],
        "varchar(20) COLLATE utf8mb4_bin": ["'a'", "'A'", "'ä'", "'10'", "'9'"],
        "varchar(20) COLLATE utf8mb4_unicode_ci": ["'a'", "'Straße'", "'B'", "'c '", "'ä2'"],
        "varchar(20) CHARACTER SET latin1": ["'a'", "'ß'", "'B'", "'Ä'"],
        "varbinary(20)": ["'a'", "'A'", "x'00'", "x'ff27'", "''"],
        "binary(3)": ["'a'", "'b'"],
        "datetime": ["'2026-01-01 00:00:00'", "'2026-01-01 00:00:01'"],
        "timestamp(6)": ["'2026-01-01 00:00:00.5'", "'2026-01-01 00:00:01'"],
        "bigint unsigned": ["0", "18446744073709551615", "9223372036854775808"],
        "uuid": [f"'{uuid.UUID(int=n)}'" for n in (1, 2**64, 2**127)],
        "inet6": ["'::1'", "'::ffff:10.0.0.1'", "'2001:db8::1'"],
        "year": ["1999", "2026"],
    },
}  # fmt: skip
ADDED = {
    "citext": "CREATE EXTENSION IF NOT EXISTS citext",
    "varchar(20) COLLATE no_case": "CREATE COLLATION IF NOT EXISTS no_case "
    "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    "mood": "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "positive": "CREATE DOMAIN positive AS int CHECK (value > 0)",
    "measure": "CREATE DOMAIN measure AS real",
}
REMOVED = {
    "mood": "DROP TYPE mood",
    "positive": "DROP DOMAIN positive",
    "measure": "DROP DOMAIN measure",
}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_tables_of_other_programs(subtests, monkeypatch):
    only(keyed.Foreign, monkeypatch)
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 2)
    for kind, keys in FOREIGN[connection.vendor].items():
        with subtests.test(kind), connection.cursor() as cursor:
            if kind in ADDED:
                cursor.execute(ADDED[kind])
            _moved_and_read(cursor, kind, keys)
            if kind in REMOVED:
                cursor.execute(REMOVED[kind])


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("rows", [1, 2])
def test_keys_that_do_not_go_back_as_they_came_end_the_run(rows, monkeypatch):
    if connection.vendor != "mysql":
        pytest.skip("the driver of MariaDB alone does so")
    only(keyed.Foreign, monkeypatch)
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", rows)
    with connection.cursor() as cursor, pytest.raises(KeysOutOfOrder, match=r"keyed\.Foreign"):
        _moved_and_read(cursor, "bit(3)", ["b'101'", "b'001'", "b'010'"])
    assert "KeysOutOfOrder" in RotationRun.objects.get().error


def _moved_and_read(cursor, kind, keys):
    field, quote = keyed.Foreign._meta.get_field("text"), connection.ops.quote_name
    table = quote(keyed.Foreign._meta.db_table).replace("%", "%%")
    stored_as = {"sqlite": "blob", "postgresql": "bytea", "mysql": "longblob"}[connection.vendor]
    declared = f"{quote('key')} {kind} PRIMARY KEY, text {stored_as}"
    cursor.execute(f"CREATE TABLE {table} ({declared})", ())
    try:
        for number, key in enumerate(keys):
            value = field.writer(Unencrypted(f"{number}", None), "default")
            cursor.execute(f"INSERT INTO {table} VALUES ({key}, %s)", [value])
        for how in ("rewrap", "re_encrypt"):
            rotate_master_key("default")
            run = rotation.run("default", kind=how, limits=Limits(batch_size=2))
            assert (run.state, run.pass_number) == (RotationState.COMPLETED, 1)
            assert numbers_of(run) == (len(keys), len(keys), 0)
            assert left("default") == 0
        cursor.execute(f"SELECT text FROM {table}", ())
        texts = sorted(field.reader(bytes(value), None, None) for (value,) in cursor.fetchall())
        assert texts == [f"{number}" for number in range(len(keys))]
    finally:
        cursor.execute(f"DROP TABLE {table}", ())


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="others are not asked for types")
@pytest.mark.django_db(databases="__all__")
def test_that_are_not_migrated_are_named():
    UuidKeyed.objects.create(text="a")
    rotate_master_key("default")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tests_uuidkeyed RENAME COLUMN id TO ident")
    with pytest.raises(
        ColumnNotThere, match=r"tests_uuidkeyed\.text: its table has no column 'id'"
    ):
        rotation.run("default", fields=["tests.UuidKeyed"])
