"""Every way in: what Django writes is an envelope, or nothing is written."""

import uuid

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models, transaction
from django.db.models import Case, F, Func, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Concat, Lower, Now, Upper
from django.test.utils import isolate_apps

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle import create_master_key
from tests.models import (
    CompositeKeyed,
    Declared,
    FirstDated,
    Keyword,
    LabNote,
    LenientTenantNote,
    Note,
    OddNames,
    Place,
    PlaceProxy,
    Restaurant,
    SecondDated,
    TenantNote,
    UuidKeyed,
)
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db

TEXT = Note._meta.get_field("text")


def assert_encrypted(instance, name, plaintext, using=None):
    """The column holds an envelope, of the right length, without the plaintext in it."""
    envelope = stored(instance, name, using)
    assert isinstance(envelope, bytes)
    layout.parse(envelope)
    assert len(envelope) == layout.OVERHEAD_BYTES + len(plaintext.encode())
    assert len(plaintext) < 4 or plaintext.encode() not in envelope


@pytest.mark.parametrize("text", ["", "a", "0", "ünï ☃ 𝄞", "x" * 10_000, "envelope:AQ", "nul\0"])
def test_save(text):
    note = Note.objects.create(text=text)
    assert_encrypted(note, "text", text)
    assert Note.objects.get(pk=note.pk).text == text
    assert note.text == text  # saving leaves the instance as it was
    note.text = text + "!"
    note.save()
    assert_encrypted(note, "text", text + "!")
    note.save(update_fields=["title"])
    note.refresh_from_db()
    assert note.text == text + "!"


@pytest.mark.parametrize("value", [0, False, "", 5, 1.5])
def test_values_that_are_false_stay_what_a_text_field_makes_of_them(value):
    note = Note.objects.create(text=value)
    assert Note.objects.get(pk=note.pk).text == str(value)
    note = Note.objects.create(data=value)
    assert Note.objects.get(pk=note.pk).data == value
    assert stored(note, "data") is not None


def test_each_write_has_a_data_key_of_its_own():
    note = Note.objects.create(text="same")
    seen = {stored(note, "text")}
    for _ in range(5):
        note.save()
        seen.add(stored(note, "text"))
    Note.objects.bulk_create([Note(text="same") for _ in range(5)])
    seen |= {stored(each, "text") for each in Note.objects.all()}
    assert len(seen) == 11
    assert len({envelope[21:33] for envelope in seen}) == 11
    assert len({envelope[81:] for envelope in seen}) == 11


def test_null_is_null():
    declared = Declared.objects.create(nullable=None, dates=None)
    assert stored(declared, "nullable") is None
    assert stored(declared, "dates") is None
    assert Declared.objects.filter(nullable__isnull=True, dates__isnull=True).count() == 1
    assert Declared.objects.get().nullable is None
    declared.nullable = ""
    declared.save()
    assert Declared.objects.filter(nullable__isnull=False).get().nullable == ""


def test_update():
    Note.objects.bulk_create([Note(text="a"), Note(text="b")])
    assert Note.objects.update(text="new", data={"a": 1}) == 2
    assert {(note.text, note.data["a"]) for note in Note.objects.all()} == {("new", 1)}
    note = Note.objects.first()
    assert_encrypted(note, "text", "new")
    Note.objects.update(text=Value("typed", output_field=TEXT))
    assert_encrypted(note, "text", "typed")
    assert Note.objects.first().text == "typed"
    Declared.objects.create(nullable="x")
    Declared.objects.update(nullable=None)
    assert Declared.objects.get().nullable is None
    Declared.objects.update(nullable=Value(None))
    assert Declared.objects.get().nullable is None


class SneakyValue(Value):
    """Makes SQL of its own."""

    def as_sql(self, compiler, connection):
        return "'plain'", []


PLAIN = {
    "Value": lambda: Value("plain"),
    "Value with output": lambda: Value("plain", output_field=models.TextField()),
    "Value of another field": lambda: Value("x", output_field=Keyword._meta.get_field("text")),
    "Value subclass": lambda: SneakyValue("plain", output_field=TEXT),
    "F": lambda: F("title"),
    "F itself": lambda: F("text"),
    "Upper": lambda: Upper(Value("plain")),
    "Lower": lambda: Lower("title"),
    "Concat": lambda: Concat(Value("a"), Value("b")),
    "Case": lambda: Case(When(pk__gt=0, then=Value("plain")), default=Value("plain")),
    "Case with output": lambda: Case(
        When(pk__gt=0, then=Value("plain")), output_field=TEXT, default=Value("plain")
    ),
    "Case of a column": lambda: Case(When(pk__gt=0, then=F("title")), output_field=TEXT),
    "Case default": lambda: Case(
        When(pk__gt=0, then=Value("x", output_field=TEXT)), default=F("title"), output_field=TEXT
    ),
    "Cast": lambda: Cast(Value("plain"), output_field=TEXT),
    "Cast to text": lambda: Cast(Value("plain", output_field=TEXT), models.TextField()),
    "Coalesce": lambda: Coalesce(Value("plain", output_field=TEXT), Value("plain")),
    "Func": lambda: Func(Value("plain"), function="LOWER", output_field=TEXT),
    "Now": lambda: Now(),
    "JSON null": lambda: Value(None, models.JSONField()),
    "Subquery": lambda: Subquery(Note.objects.values("text")[:1]),
    "Subquery of a plain column": lambda: Subquery(Note.objects.values("title")[:1]),
}


@pytest.mark.parametrize("expression", PLAIN.values(), ids=PLAIN.keys())
def test_expressions_that_would_store_plaintext_or_copy_are_refused(expression):
    note = Note.objects.create(title="title", text="before")
    envelope = stored(note, "text")
    with pytest.raises(FieldError, match=r"tests\.Note\.text"), transaction.atomic():
        Note.objects.update(text=expression())
    note.text = expression()
    with pytest.raises((FieldError, ValueError)), transaction.atomic():
        note.save()
    # Django itself refuses columns in an INSERT, in ways of its own.
    with pytest.raises((FieldError, ValueError, AttributeError)), transaction.atomic():
        Note.objects.create(text=expression())
    with pytest.raises((FieldError, ValueError, AttributeError)), transaction.atomic():
        Note.objects.bulk_create([Note(text=expression()), Note(text="x")])
    with pytest.raises(FieldError), transaction.atomic():
        Note.objects.bulk_update([note], ["text"])
    assert stored(note, "text") == envelope
    assert Note.objects.count() == 1


def test_bulk_create_and_bulk_update():
    notes = Note.objects.bulk_create([Note(text=f"t{n}", data=[n]) for n in range(50)])
    notes = list(Note.objects.order_by("pk"))
    assert [note.text for note in notes] == [f"t{n}" for n in range(50)]
    for note in notes:
        note.text += "!"
        note.data = None if note.data[0] % 2 else {"n": note.data}
    assert Note.objects.bulk_update(notes, ["text", "data", "title"], batch_size=20) == 50
    again = list(Note.objects.order_by("pk"))
    assert [note.text for note in again] == [f"t{n}!" for n in range(50)]
    assert [note.data for note in again] == [note.data for note in notes]
    assert_encrypted(notes[0], "text", "t0!")
    assert stored(notes[1], "data") is None


def test_upserts():
    Keyword.objects.create(word="a", text="old", data=1)
    rows = [Keyword(word="a", text="new", data=2), Keyword(word="b", text="fresh")]
    options = {"update_conflicts": True, "update_fields": ["text", "data"]}
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["word"]
    Keyword.objects.bulk_create(rows, **options)
    found = {row.word: row for row in Keyword.objects.all()}
    assert (found["a"].text, found["a"].data) == ("new", 2)
    assert (found["b"].text, found["b"].data) == ("fresh", {})
    assert_encrypted(found["a"], "text", "new")
    Keyword.objects.bulk_create([Keyword(word="a", text="ignored")], ignore_conflicts=True)
    assert Keyword.objects.get(word="a").text == "new"


def test_get_or_create_and_update_or_create():
    row, created = Keyword.objects.get_or_create(word="a", defaults={"text": "first"})
    assert created
    row, created = Keyword.objects.get_or_create(word="a", defaults={"text": "second"})
    assert (created, row.text) == (False, "first")
    row, created = Keyword.objects.update_or_create(word="a", defaults={"text": "third"})
    assert Keyword.objects.get().text == "third"
    with pytest.raises(FieldError, match="is encrypted"):
        Keyword.objects.get_or_create(text="third")


@pytest.mark.django_db(transaction=True)
def test_async():
    @async_to_sync
    async def story():
        note = await Note.objects.acreate(text="async")
        assert (await Note.objects.aget(pk=note.pk)).text == "async"
        note.text = "saved"
        await note.asave()
        assert [each.text async for each in Note.objects.all()] == ["saved"]
        await Note.objects.abulk_create([Note(text="bulk")])
        assert await Note.objects.aupdate(text="updated") == 2
        await note.arefresh_from_db()
        return note

    assert_encrypted(story(), "text", "updated")


def test_shapes_of_models():
    FirstDated.objects.create(text="same")
    SecondDated.objects.create(text="same")
    labels = {model._meta.get_field("text").label for model in (FirstDated, SecondDated)}
    assert labels == {"tests.firstdated.text", "tests.seconddated.text"}
    assert FirstDated.objects.get().text == SecondDated.objects.get().text == "same"

    restaurant = Restaurant.objects.create(secret="garlic", menu=["soup"])
    assert Place.objects.get().secret == "garlic"
    assert Restaurant.objects.get().menu == ["soup"]
    assert Restaurant._meta.get_field("secret").label == "tests.place.secret"
    assert PlaceProxy.objects.get().secret == "garlic"
    PlaceProxy.objects.create(secret="proxy")
    assert {place.secret for place in Place.objects.all()} == {"garlic", "proxy"}
    Restaurant.objects.update(secret="parent", menu=[])
    assert Restaurant.objects.get().secret == "parent"
    assert_encrypted(restaurant, "secret", "parent")

    odd = OddNames.objects.create(text="odd", data={"größe": 5})
    OddNames.objects.bulk_update([OddNames(pk=odd.pk, text="odder", data=[1])], ["text", "data"])
    assert OddNames.objects.get().text == "odder"
    OddNames.objects.update(text="oddest")
    assert OddNames.objects.get().text == "oddest"
    assert_encrypted(odd, "text", "oddest")

    keyed = UuidKeyed.objects.create(text="uuid")
    assert UuidKeyed.objects.get(pk=keyed.pk).text == "uuid"
    assert isinstance(keyed.pk, uuid.UUID)

    CompositeKeyed.objects.create(ward=1, bed=2, text="composite")
    bed = CompositeKeyed.objects.get(pk=(1, 2))
    bed.text = "changed"
    bed.save()
    CompositeKeyed.objects.bulk_update([bed], ["text"])
    assert CompositeKeyed.objects.get(pk=(1, 2)).text == "changed"
    assert_encrypted(bed, "text", "changed")


def test_key_by_alias():
    with (
        pytest.raises(MasterKeyNotFound, match=r"tests\.LabNote\.text: .*'lab'"),
        transaction.atomic(),
    ):
        LabNote.objects.create(text="value")
    key = create_master_key("lab")
    note = LabNote.objects.create(text="value")
    assert version_of(stored(note, "text")) == bytes(key.current_version.version_id)
    LabNote.objects.update(text="update needs no instance")
    assert LabNote.objects.get().text == "update needs no instance"


@pytest.fixture
def tenants():
    return {alias: create_master_key(alias) for alias in ("red", "blue")}


def versions_of(rows):
    return {row.tenant: version_of(stored(row, "text")) for row in rows}


def test_key_per_row(tenants):
    ids = {alias: bytes(key.current_version.version_id) for alias, key in tenants.items()}
    TenantNote.objects.create(tenant="red", text="red", data=1)
    TenantNote.objects.bulk_create([TenantNote(tenant="blue", text="blue", data=2)])
    rows = list(TenantNote.objects.all())
    assert versions_of(rows) == ids
    for row in rows:
        row.text += "!"
    TenantNote.objects.bulk_update(rows, ["text", "data"])
    assert [row.text for row in rows] == [row.tenant + "!" for row in rows]
    assert versions_of(rows) == ids
    assert {row.text for row in TenantNote.objects.all()} == {"red!", "blue!"}
    null = Value(None, models.JSONField())
    TenantNote.objects.bulk_create([TenantNote(tenant="red", data=null)])
    null = TenantNote.objects.order_by("-pk")[0]
    assert null.data is None
    assert version_of(stored(null, "data")) == ids["red"]


def test_json_null_per_row(tenants):
    rows = TenantNote.objects.bulk_create(
        [TenantNote(tenant=alias, data={"a": 1}) for alias in ("red", "blue")]
    )
    rows = list(TenantNote.objects.all())
    for row in rows:
        row.data = Value(None, models.JSONField())
    TenantNote.objects.bulk_update(rows, ["data"])
    assert {version_of(stored(row, "data")) for row in rows} == {
        bytes(key.current_version.version_id) for key in tenants.values()
    }
    assert {len(stored(row, "data")) for row in rows} == {97 + 4}


@pytest.mark.parametrize(
    "write",
    [
        lambda row: TenantNote.objects.update(text="x"),
        lambda row: TenantNote.plain_objects.bulk_update([row], ["text"]),
        lambda row: TenantNote.objects.update(
            text=Value("x", output_field=TenantNote._meta.get_field("text"))
        ),
        lambda row: TenantNote.objects.update(data=Value(None, models.JSONField())),
    ],
)
def test_key_per_row_needs_the_row(tenants, write):
    row = TenantNote.objects.create(tenant="red", text="red")
    envelope = stored(row, "text")
    with pytest.raises(FieldError, match="EncryptedQuerySet"), transaction.atomic():
        write(row)
    assert stored(row, "text") == envelope
    TenantNote.objects.update(data=None)  # NULL needs no key


def test_a_callable_that_answers_without_a_row_may_update(tenants):
    LenientTenantNote.objects.create(tenant="red", text="red")
    LenientTenantNote.objects.update(text="by default")
    assert LenientTenantNote.objects.get().text == "by default"


@pytest.mark.parametrize("alias", [None, 5, b"red"])
def test_a_callable_that_returns_no_alias(alias, tenants):
    row = TenantNote(text="x")
    row.tenant = alias
    with pytest.raises(FieldError, match="instead of the alias"), transaction.atomic():
        row.save()


def test_a_value_that_cannot_be_stored_leaves_everything_as_it_was():
    note = Note.objects.create(text="before", data={"a": 1})
    note.text = "lone \ud800 surrogate"
    with pytest.raises(ValueError, match=r"tests\.Note\.text: .*surrogates"), transaction.atomic():
        note.save()
    note.text, note.data = "before", {"a": {1, 2}}
    with pytest.raises(TypeError, match=r"tests\.Note\.data: .*encoder"), transaction.atomic():
        note.save()
    note.refresh_from_db()
    assert (note.text, note.data) == ("before", {"a": 1})


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": -float("inf")}}])
@pytest.mark.parametrize("row", [Note(text="x"), Declared()], ids=["plain", "with an encoder"])
def test_what_json_does_not_have_is_refused(row, value):
    """The databases refuse it in a JSONField, since other programs could not read it."""
    name = "data" if isinstance(row, Note) else "dates"
    row = type(row)(**{name: value})
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    assert caught.value.message_dict[name] == ["Value must be valid JSON."]
    rows = type(row).objects
    for write in (row.save, lambda: rows.bulk_create([row]), lambda: rows.update(**{name: value})):
        with (
            pytest.raises(ValueError, match=rf"\.{name}: .*NaN and infinity"),
            transaction.atomic(),
        ):
            write()
    assert not rows.exists()


@isolate_apps("tests")
def test_db_default_is_refused():
    class Defaulted(models.Model):
        text = type(TEXT)(db_default="plain")

        class Meta:
            app_label = "tests"
            managed = False

    with pytest.raises(FieldError, match="db_default"), transaction.atomic():
        Defaulted().save()
    editor = connection.schema_editor(collect_sql=True)
    with pytest.raises(FieldError, match="is encrypted"):
        editor.db_default_sql(Defaulted._meta.get_field("text"))
