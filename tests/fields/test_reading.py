"""Every way out: the value, or an error that names where and what, and nothing else."""

import asyncio
import json
import pickle
import traceback
from copy import copy

import django
import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, connection, models
from django.db.models import (
    Aggregate,
    Case,
    Count,
    Exists,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Concat, Lower, Upper
from django.test.utils import isolate_apps

from envelope_fields import keyring
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    MalformedEnvelope,
    MasterKeyNotFound,
    OpeningNeedsThread,
)
from envelope_fields.fields import EncryptedQuerySet, EncryptedTextField
from tests.models import Child, Declared, FirstDated, Note, Renamed, SecondDated
from tests.stored import store, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def note():
    return Note.objects.create(title="title", text="the value", data={"a": ["b", None, 1.5]})


def test_querysets(note):
    child = Child.objects.create(note=note, text="child")
    assert Note.objects.values("text", "data").get() == {"text": "the value", "data": note.data}
    assert Note.objects.values_list("text", flat=True).get() == "the value"
    assert Note.objects.only("text").get().text == "the value"
    assert Note.objects.defer("text", "data").get().text == "the value"
    assert Note.objects.annotate(copy=F("text")).get().copy == "the value"
    assert Child.objects.values_list("note__text", "text").get() == ("the value", "child")
    assert Child.objects.annotate(n=F("note__text")).values_list("n", flat=True)[0] == "the value"
    assert Child.objects.select_related("note").get().note.text == "the value"
    assert Note.objects.prefetch_related("children").get().children.all()[0].text == "child"
    inner = Note.objects.filter(pk=OuterRef("note")).values("text")[:1]
    assert Child.objects.annotate(n=Subquery(inner)).get().n == "the value"
    assert [row.text for row in Note.objects.iterator(chunk_size=1)] == ["the value"]
    assert Note.objects.raw("SELECT * FROM tests_note")[0].text == "the value"
    assert Note.objects.in_bulk([note.pk])[note.pk].data == note.data
    assert Note.objects.latest("pk").text == Note.objects.get(children=child).text
    assert Note.objects.filter(Exists(Child.objects.filter(note=OuterRef("pk")))).get() == note
    assert Note.objects.aggregate(n=Count("text"))["n"] == 1
    assert Note.objects.annotate(n=Count("children")).values_list("text", "n").get()[1] == 1


def test_union_of_the_same_column(note):
    rows = Note.objects.values_list("text", flat=True)
    assert list(rows.union(rows.filter(pk=note.pk))) == ["the value"]


def test_union_with_another_column_does_not_open(note):
    """Django reads all rows of a union with the first query's columns, and these are bound."""
    Child.objects.create(note=note, text="child")
    with pytest.raises(DecryptionFailed, match=r"tests\.Note\.text"):
        list(Note.objects.values_list("text").union(Child.objects.values_list("text"), all=True))


def test_pickling(note):
    assert pickle.loads(pickle.dumps(Note.objects.get())).text == "the value"
    queryset = Note.objects.filter(text__isnull=False).annotate(copy=F("text"))
    again = Note.objects.all()
    again.query = pickle.loads(pickle.dumps(queryset.query))
    assert again.get().copy == "the value"
    assert pickle.loads(pickle.dumps(list(queryset)))[0].copy == "the value"


LOOKUPS = [
    "exact", "iexact", "contains", "icontains", "startswith", "istartswith", "endswith",
    "iendswith", "in", "gt", "gte", "lt", "lte", "range", "regex", "iregex", "search",
    "unaccent", "no_such_lookup", "length", "upper__exact",
]  # fmt: skip


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_lookups_are_refused_without_a_query(note, lookup, django_assert_num_queries):
    for find in (Note.objects.filter, Note.objects.exclude, Note.objects.get):
        with django_assert_num_queries(0), pytest.raises(FieldError, match=r"tests\.Note\.text is"):
            find(**{f"text__{lookup}": ["term", "term"] if lookup == "range" else "term"})
    with pytest.raises(FieldError, match="blind index"):
        Child.objects.filter(**{f"note__text__{lookup}": "term"})
    with pytest.raises(FieldError):
        Note.objects.filter(Q(pk=1) | Q(**{f"text__{lookup}": "term"}))


@pytest.mark.parametrize(
    "lookup", ["exact", "contains", "has_key", "has_keys", "contained_by", "a", "a__0", "a__gt"]
)
def test_json_lookups_are_refused(note, lookup):
    with pytest.raises(FieldError, match=r"tests\.Note\.data"):
        Note.objects.filter(**{f"data__{lookup}": "term"})


def test_json_paths_are_refused(note):
    for query in (
        lambda: Note.objects.values("data__a"),
        lambda: Note.objects.order_by("data__a"),
        lambda: Note.objects.annotate(a=F("data__a")),
    ):
        with pytest.raises(FieldError, match="data"):
            list(query())


def test_none_means_null(note):
    assert not Note.objects.filter(text=None).exists()
    assert Note.objects.exclude(text=None).get() == note
    assert Note.objects.filter(text__isnull=False, data__isnull=False).get() == note
    assert Child.objects.filter(note__text__isnull=True).count() == 0
    with pytest.raises(FieldError, match="isnull"):
        Note.objects.filter(data=None)  # to JSONField this is JSON null


def test_a_refused_query_poisons_nothing(note):
    with pytest.raises(FieldError):
        Note.objects.filter(text="x")
    assert Note.objects.get().text == "the value"
    note.text = "later"
    note.save()
    assert Note.objects.get().text == "later"


COMPUTED = {
    "Max": lambda: Max("text"),
    "Min": lambda: Min("text"),
    "Upper": lambda: Upper("text"),
    "Lower": lambda: Lower("text"),
    "Coalesce": lambda: Coalesce("text", Value("x")),
    "Coalesce with itself": lambda: Coalesce("text", "text"),
    "Concat": lambda: Concat("text", Value("x")),
    "Case": lambda: Case(When(pk__gt=0, then=F("text"))),
    "plus": lambda: F("text") + 1,
    "Value": lambda: Value("x", output_field=Note._meta.get_field("text")),
}


@pytest.mark.parametrize("expression", COMPUTED.values(), ids=COMPUTED.keys())
def test_computed_values_are_refused(note, expression, django_assert_num_queries):
    with django_assert_num_queries(0):
        with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted"):
            list(Note.objects.annotate(x=expression()))
        with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted"):
            list(Note.objects.values(x=expression()))
        if isinstance(expression(), Aggregate):
            with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted"):
                Note.objects.aggregate(x=expression())


@pytest.mark.parametrize("kind", [Upper, Max, Coalesce])
def test_computed_values_that_were_given_the_field_as_output_are_refused(note, kind):
    field = Note._meta.get_field("text")
    expression = kind("text", *(["title"] if kind is Coalesce else []), output_field=field)
    with pytest.raises(FieldError, match=f"{kind.__name__}.. computed on its envelopes"):
        field.from_db_value(stored(note, "text"), expression, connection)


@pytest.mark.parametrize("kind", [Upper, Max, Coalesce])
def test_computed_values_are_refused_through_a_subquery_too(note, kind):
    field = Note._meta.get_field("text")
    computed = Note.objects.values(
        x=kind("text", *(["text"] * (kind is Coalesce)), output_field=field)
    )
    for subquery in (
        Subquery(computed),
        Subquery(Note.objects.annotate(y=Subquery(computed)).values("y")),
    ):
        with pytest.raises(FieldError, match="computed on its envelopes"):
            field.from_db_value(stored(note, "text"), subquery, connection)
    plain = Subquery(Note.objects.values("text"))
    assert field.from_db_value(stored(note, "text"), plain, connection) == "the value"


def test_slices_are_refused(note):
    with pytest.raises(FieldError, match="cannot cut"):
        list(Note.objects.values_list(F("text")[0:3]))


class ShoutingField(EncryptedTextField):
    """Converts values as Django documents it for custom fields."""

    def get_prep_value(self, value):
        return value.lower()

    def from_db_value(self, value, expression, connection):
        assert connection.vendor, "some ask which database it is"
        return super().from_db_value(value, expression, connection).upper()


@isolate_apps("tests")
def test_a_subclass_may_convert_values():
    class Shout(models.Model):
        text = ShoutingField()

        class Meta:
            app_label = "tests"
            managed = False

    field = Shout._meta.get_field("text")
    stored_value = field.get_db_prep_save("Hello", connection)
    column = field.get_col("tests_shout")
    (convert,) = column.get_db_converters(connection)
    assert convert(stored_value, column, connection) == "HELLO"
    assert field.reader(stored_value, column, connection) == "hello"


@isolate_apps("tests")
def test_a_subclass_that_converts_opens_values_as_others_do(caplog):
    class Shout(models.Model):
        text = ShoutingField()

        class Meta:
            app_label = "tests"
            managed = False

    field = Shout._meta.get_field("text")
    seal = field.sealer()

    def loaded(envelope):
        return Shout.from_db("default", ["id", "text"], [5, seal(envelope, None, connection)])

    envelope = field.get_db_prep_save("Hello", connection)
    found, unseen = loaded(envelope), loaded(envelope)
    assert found.text == "HELLO"
    keyring.forget()

    async def look():
        return unseen.text

    with pytest.raises(OpeningNeedsThread, match="arefresh_from_db"):
        asyncio.run(look())
    caplog.clear()
    for damaged in (envelope[:-1] + bytes([envelope[-1] ^ 1]), "text", 5):
        with pytest.raises(EnvelopeError, match="row with the primary key 5"):
            _ = loaded(damaged).text
    assert caplog.text.count("could not be opened") == 3


class TrimmingField(EncryptedTextField):
    def to_python(self, value):
        return super().to_python(value).strip()


@isolate_apps("tests")
def test_a_subclass_may_convert_what_is_text_already():
    class Trimmed(models.Model):
        text = TrimmingField()

        class Meta:
            app_label = "tests"
            managed = False

    field = Trimmed._meta.get_field("text")
    stored_value = field.get_db_prep_save("  hello ", connection)
    assert field.reader(stored_value, None, connection) == "hello"


def flipped(envelope, position, bit=1):
    changed = bytearray(envelope)
    changed[position] ^= bit
    return bytes(changed)


def test_a_bit_flipped_at_every_position_is_noticed(note):
    envelope = stored(note, "text")
    read = Note._meta.get_field("text").reader
    for position in range(len(envelope)):
        for bit in range(8):
            with pytest.raises(EnvelopeError, match=r"tests\.Note\.text"):
                read(flipped(envelope, position, 1 << bit), None, None)
    assert read(envelope, None, None) == "the value"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda e: flipped(e, 0), MalformedEnvelope, "not an envelope"),
        (lambda e: b"plain text", MalformedEnvelope, "stored in clear, .*write the value again"),
        (lambda e: flipped(e, 4), MasterKeyNotFound, "No master key version"),
        (lambda e: flipped(e, 10), DecryptionFailed, "data key"),
        (lambda e: flipped(e, 25), DecryptionFailed, "data key"),
        (lambda e: flipped(e, 40), DecryptionFailed, "data key"),
        (lambda e: flipped(e, 85), DecryptionFailed, "payload"),
        (lambda e: flipped(e, -1), DecryptionFailed, "payload"),
        (lambda e: e[:-1], DecryptionFailed, "payload"),
        (lambda e: e + b"\0", DecryptionFailed, "payload"),
        (lambda e: e[:96], MalformedEnvelope, "96 bytes"),
        (lambda e: e[:5], MalformedEnvelope, "5 bytes"),
        (lambda e: b"", MalformedEnvelope, "not an envelope"),
        (lambda e: b"plain text that was never encrypted", MalformedEnvelope, "not an envelope"),
        (lambda e: b"\x01plain text that was never encrypted", MalformedEnvelope, "36 bytes"),
    ],
)
def test_what_does_not_open_raises_and_names_the_field(note, change, error, message):
    envelope = stored(note, "text")
    store(note, "text", change(envelope))
    for read in (
        lambda: Note.objects.get().text,
        lambda: EncryptedQuerySet(Note).opened().get(),
        lambda: list(Note.objects.values("text")),
        lambda: Note.objects.defer("text").get().text,
    ):
        with pytest.raises(error, match=rf"^tests\.Note\.text: .*{message}") as caught:
            read()
    if error is DecryptionFailed:
        assert envelope[1:9].hex() in str(caught.value)
    store(note, "text", envelope)
    assert Note.objects.get().text == "the value"


def test_an_envelope_cut_off_at_any_byte_is_named(note):
    envelope = stored(note, "text")
    read = Note._meta.get_field("text").reader
    for length in range(97):
        message = r"^tests\.Note\.text: not an envelope"
        with pytest.raises(MalformedEnvelope, match=message):
            read(envelope[:length], None, None)
        store(note, "text", envelope[:length])
        with pytest.raises(MalformedEnvelope, match=rf"{message}.* primary key {note.pk}\.$"):
            _ = Note.objects.get().text


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="other databases type the column")
@pytest.mark.parametrize("value", ["text in a BLOB column", "\x01" * 200, 5, 1.5])
def test_sqlite_gives_back_whatever_type_was_stored(note, value):
    store(note, "text", value)
    with pytest.raises(MalformedEnvelope, match=r"^tests\.Note\.text: not an envelope"):
        _ = Note.objects.get().text


def test_an_envelope_of_another_column_does_not_open():
    first, second = FirstDated.objects.create(text="one"), SecondDated.objects.create(text="two")
    store(first, "text", stored(second, "text"))
    with pytest.raises(DecryptionFailed, match="moved"):
        _ = FirstDated.objects.get().text


def test_previous_contexts_are_tried_and_nothing_else():
    def write(label):
        field = EncryptedTextField(context=label)
        field.set_attributes_from_name("text")
        field.model = Renamed
        return field.get_db_prep_save(label, connection)

    row = Renamed.objects.create(text="x")
    for label in ("tests.former.text", "tests.older.text", "tests.oldest.text"):
        store(row, "text", write(label))
        assert Renamed.objects.get().text == label
    store(row, "text", write("tests.renamed.text"))
    with pytest.raises(DecryptionFailed):
        _ = Renamed.objects.get().text
    envelope = write("tests.older.text")
    store(row, "text", flipped(envelope, -1))
    with pytest.raises(DecryptionFailed, match="payload"):
        _ = Renamed.objects.get().text


class WrongDecoder(json.JSONDecoder):
    def decode(self, text):
        raise KeyError(text)


def safe_repr(value):
    try:
        return repr(value)
    except DatabaseError:  # a queryset in a transaction that is broken by now
        return ""


def everything_in(error):
    """Return all that an error report could show: chain, attributes and frames' variables."""
    shown = []
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        shown += [repr(error), repr(error.args), repr(vars(error))]
        shown += [
            safe_repr(value)
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if frame.f_code.co_filename != __file__
            for value in frame.f_locals.values()
        ]
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


def test_no_error_on_reading_carries_the_plaintext(note, monkeypatch):
    text, data = Note._meta.get_field("text"), Note._meta.get_field("data")
    Note.objects.update(text="SECRET")
    envelope = stored(note, "text")
    with pytest.raises(DecryptionFailed) as caught:
        text.reader(flipped(envelope, -1), None, None)
    assert "SECRET" not in everything_in(caught.value)

    key_and_context = dict(vars(data), contexts=text.contexts)
    monkeypatch.setattr(data, "__dict__", {**key_and_context})
    data.__dict__.pop("reader", None)
    with pytest.raises(DecryptionFailed, match=r"tests\.Note\.data.*JSONDecodeError") as caught:
        data.reader(envelope, None, None)  # text where JSON is expected
    assert "SECRET" not in everything_in(caught.value)


def test_a_decoder_that_fails_does_not_show_what_it_read():
    declared = Declared.objects.create(dates={"a": "SECRET"})
    assert Declared._meta.get_field("dates").from_text  # which a copy does not keep
    field = copy(Declared._meta.get_field("dates"))
    field.decoder = WrongDecoder
    with pytest.raises(DecryptionFailed, match="KeyError") as caught:
        field.reader(stored(declared, "dates"), None, None)
    assert "SECRET" not in everything_in(caught.value)


def test_text_that_is_not_utf8_does_not_come_back(note):
    from envelope_fields.crypto import envelope
    from envelope_fields.keyring.values import wrapping_key

    field = Note._meta.get_field("text")
    value = envelope.encrypt(wrapping_key("default", "default"), b"SECRET\xff", field.contexts[0])
    with pytest.raises(DecryptionFailed, match="UnicodeDecodeError") as caught:
        field.reader(value, None, None)
    assert "SECRET" not in everything_in(caught.value)


def test_no_error_on_saving_carries_the_plaintext(note, settings):
    note.data = {"SECRET": {1}}
    with pytest.raises(TypeError) as caught:
        note.save()
    assert "SECRET" not in everything_in(caught.value)
    note.data, note.text = {}, "SECRET\ud800"
    with pytest.raises(ValueError, match="surrogates") as caught:
        note.save()
    assert "SECRET" not in everything_in(caught.value)


def test_json_null_is_not_null():
    null = models.JSONNull() if hasattr(models, "JSONNull") else Value(None, models.JSONField())
    note = Note.objects.create(data=null)
    assert len(stored(note, "data")) == 97 + 4
    assert Note.objects.get().data is None
    assert Note.objects.filter(data__isnull=False).count() == 1
    for expression in (null, Value(None, models.JSONField())):
        Note.objects.update(data=None)
        Note.objects.update(data=expression)
        assert len(stored(note, "data")) == 97 + 4
        note.data = expression
        Note.objects.bulk_update([note], ["data"])
        assert len(stored(note, "data")) == 97 + 4
        Note.objects.bulk_create([Note(data=expression)])
    assert {len(stored(each, "data")) for each in Note.objects.all()} == {101}
    Note.objects.update(data=Value(None))
    assert stored(note, "data") is None


@pytest.mark.skipif(django.VERSION < (6,), reason="6.0 reads back what an expression stored")
def test_an_object_that_stored_json_null_has_none():
    null = Value(None, models.JSONField())
    note = Note.objects.create(data=null)
    assert note.data is None
    note.data = null
    note.save()
    assert note.data is None
    assert len(stored(note, "data")) == 97 + 4
