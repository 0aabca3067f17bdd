"""What another package has stored in a column beside ours is converted, to its end."""

import json
import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from envelope_fields.census import census
from envelope_fields.conversion.column_phases import moving_field
from envelope_fields.conversion.convert import ConvertBeside
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.throttle import Limits
from envelope_fields.models import ColumnConversion
from envelope_fields.rotation.scope import chosen_columns
from envelope_fields.rotation.verification import verify
from tests.fields.legacy.stored import vectors
from tests.management import command
from tests.models import beside
from tests.models.beside import Card
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(beside.apps, "other")

FIELDS = {
    "django-encrypted-model-fields": "text",
    "django-fernet-encrypted-fields": "token",
    "django-mirage-field": "mirage",
    "django-pgcrypto-fields": "message",
    "django-searchable-encrypted-fields": "sealed",
}
TEXTS = [
    each for each in vectors(*FIELDS) if each.content["field"] == "TextField" and each.value
]  # fmt: skip
ONE_OF_EACH = list({each.package: each for each in TEXTS}.values())


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", beside.apps)


@pytest.fixture(params=ONE_OF_EACH, ids=lambda vector: vector.package)
def vector(request):
    with override_settings(**request.param.settings):
        yield request.param


@pytest.fixture
def name(vector):
    return FIELDS[vector.package]


@pytest.fixture
def label(name):
    return f"tests.Card.{name}"


@pytest.fixture
def theirs(vector, name):
    """Return a function that has the package store in some rows."""

    def make(count=3, using="default"):
        made = [Card.objects.using(using).create() for _ in range(count)]
        for row in made:
            store(row, f"{name}_theirs", vector.stored)
        return made

    return make


def convert(label, to, *arguments):
    return command("convert_field", label, f"--to={to}", *arguments)


class TestConverting:
    def test_to_its_end(self, theirs, vector, name, label):
        rows = [*theirs(), *theirs(2, "other")]
        ours = Card.objects.create(**{name: "ours"})
        empty = Card.objects.create()
        out, error = convert(label, "finished")
        assert error == ""
        assert f"Sample: 5 of {vector.package}: opened under" in out
        assert "5 values converted, 0 failed" in out
        assert f"{label}: finished, 6 envelopes" in out
        for row in [*rows, ours]:
            assert stored(row, f"{name}_theirs") is None
            assert stored(row, name).startswith(b"\x01")
        values = [getattr(row, name) for row in Card.objects.order_by("pk")]
        assert values == [vector.value] * 3 + ["ours", None]
        assert getattr(Card.objects.get(pk=empty.pk), name) is None

    def test_again(self, theirs, name, label):
        theirs()
        convert(label, "converting")
        once = [stored(row, name) for row in Card.objects.all()]
        assert convert(label, "converting")[1] == ""
        assert convert(label, "finished")[1] == ""
        assert convert(label, "finished")[1] == ""
        assert [stored(row, name) for row in Card.objects.all()] == once

    def test_dry_run_writes_nothing(self, theirs, vector, name, label):
        (row,) = theirs(1)
        out, error = convert(label, "finished", "--dry-run")
        assert error == ""
        assert f"1 value of {vector.package}: to convert them takes about" in out
        assert (stored(row, name), ColumnConversion.objects.count()) == (None, 0)

    def test_what_does_not_open_is_listed_and_stays(self, theirs, vector, name, label):
        good, bad = theirs(2)
        other = "in no format" if isinstance(vector.stored, str) else b"in no format"
        store(bad, f"{name}_theirs", other)
        if name == "text":
            store(bad, f"{name}_theirs", "gAAAAAB" + "A" * 93)  # what is in clear is read there
        before = stored(bad, f"{name}_theirs")
        _, error = convert(label, "finished")
        assert "not all values of a sample open, and nothing was written" in error
        assert stored(good, name) is None
        _, error = convert(label, "finished", "--skip-unreadable")
        assert "1 value of" in error
        assert str(bad.pk) in error
        assert "no format" not in error
        assert stored(bad, f"{name}_theirs") == before
        assert getattr(Card.objects.get(pk=good.pk), name) == vector.value
        assert stored(good, f"{name}_theirs") is None

    def test_old_build_that_has_written_after_us(self, theirs, vector, name, label):
        Card.objects.create(**{name: "ours, and older"})
        row = Card.objects.get()
        store(row, f"{name}_theirs", vector.stored)
        assert convert(label, "finished")[1] == ""
        assert getattr(Card.objects.get(), name) == vector.value

    def test_after_its_end_what_the_package_stores_is_an_error(self, theirs, name, label):
        assert convert(label, "finished")[1] == ""
        (late,) = theirs(1)
        _, error = convert(label, "finished")
        assert "1 value of" in error
        with pytest.raises(MalformedEnvelope, match="finished"):
            getattr(Card.objects.get(pk=late.pk), name)
        assert stored(late, f"{name}_theirs") is not None


@pytest.mark.parametrize("write", ["ours", "theirs"])
def test_write_that_comes_meanwhile_stays(theirs, vector, name, label, monkeypatch, write):
    kept, changed = theirs(2)
    process = ConvertBeside.process

    def interrupted(self, found):
        outcome = process(self, found)
        if write == "ours":
            Card.objects.filter(pk=changed.pk).update(**{name: "newer"})
        else:
            store(changed, f"{name}_theirs", None)
        return outcome

    monkeypatch.setattr(ConvertBeside, "process", interrupted)
    [column] = [each for each in chosen_columns([label]) if each.database == "default"]
    (result,) = Batches(column, ConvertBeside(column), Limits()).between(None, None, None)
    assert (result.moved, result.skipped) == (1, 1)
    assert getattr(Card.objects.get(pk=kept.pk), name) == vector.value
    assert getattr(Card.objects.get(pk=changed.pk), name) == ("newer" if write == "ours" else None)


def test_census_and_conversions_name_them(theirs, vector, name, label):
    theirs(2)
    Card.objects.create(**{name: "ours"})
    rows = [each for each in census() if each.field == name and each.database == "default"]
    assert sorted((bool(row.version_id), row.values) for row in rows) == [(False, 2), (True, 1)]
    out, _ = command("census")
    assert re.search(rf"{name} .* {vector.package} +2\n", out), out
    [content] = [
        each for each in json.loads(command("conversions", "--json")[0]) if each["field"] == label
    ]
    assert content["remaining"] == [{"format": vector.package, "values": 2}]
    assert (content["kind"], content["phase"], content["envelopes"]) == ("legacy", "open", 1)


def test_what_is_in_clear_is_counted_by_itself():
    for text in ("gAAAAABl-cut off", "in clear", "GAAAAA: in clear", ""):
        store(Card.objects.create(), "text_theirs", text)
    Card.objects.create(text="ours")
    listed = json.loads(command("conversions", "--json")[0])
    [content] = [each for each in listed if each["field"] == "tests.Card.text"]
    assert content["remaining"] == [
        {"format": "django-encrypted-model-fields", "values": 1},
        {"format": "plaintext", "values": 3},
    ]
    assert content["envelopes"] == 1
    assert re.search(r"text .* plaintext +3\n", command("census")[0])


def test_verification_reads_what_is_ours(theirs, name, label):
    theirs(2)
    Card.objects.create(**{name: "ours"})
    batches = list(verify([label]))
    assert [each for batch in batches for each in batch.unreadable] == []


def test_rewrap_moves_envelopes_alone(theirs, name, label):
    rows = theirs(2)
    ours = Card.objects.create(**{name: "ours"})
    before = stored(ours, name)
    call_command("rotate_master_key", "default", stdout=StringIO())
    _, error = command("rewrap", "--key=default")
    assert error == ""
    assert stored(ours, name) != before
    assert all(stored(row, f"{name}_theirs") is not None for row in rows)


def test_label_is_one_of_this_kind(label):
    assert moving_field(label) is None
    _, error = convert(label, "both")
    assert "--to is converting or finished" in error


def test_text_that_the_driver_does_not_read_is_listed():
    if connection.vendor != "sqlite":
        pytest.skip("other databases store no such text")
    row, other = Card.objects.create(), Card.objects.create()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tests_card SET text = CAST(x'ff78797a' AS TEXT) WHERE id = %s", [row.pk]
        )
    store(other, "text_theirs", "in clear")
    out, error = command("convert_field", "tests.Card.text", "--to=finished")
    assert f"tests.Card.text {row.pk}: UnreadableValue" in error
    assert "xyz" not in out + error
    assert stored(other, "text_theirs") is None


def test_json_without_leaves_is_converted():
    """No key opens it, since none has to."""
    row = Card.objects.create()
    store(row, "facts_theirs", "{}")
    with override_settings(SALT_KEY="salt"):
        out, error = command("convert_field", "tests.Card.facts", "--to=finished")
    assert error == ""
    assert "1 of django-fernet-encrypted-fields: read" in out
    assert Card.objects.get().facts == {}
