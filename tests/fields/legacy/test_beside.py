"""What other packages have stored in columns of another kind is read beside ours."""

import json
import pickle

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import Count, F, OuterRef, Subquery
from django.test import override_settings
from django.utils import timezone

from envelope_fields.exceptions import DecryptionFailed, KeyAccessDenied, MalformedEnvelope
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField, open_values
from envelope_fields.fields.legacy import (
    EncryptedModelFields,
    FernetEncryptedFields,
    Mirage,
    Pgcrypto,
    Plaintext,
)
from envelope_fields.fields.legacy.reading import format_of, marked
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.models import ColumnConversion, MasterKey
from envelope_fields.policy import acting_as
from tests.fields.legacy.stored import vectors
from tests.models.beside import Card, apps
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps, "other")

FIELDS = {
    "django-encrypted-model-fields": "text",
    "django-fernet-encrypted-fields": "token",
    "django-mirage-field": "mirage",
    "django-pgcrypto-fields": "message",
    "django-searchable-encrypted-fields": "sealed",
}
EVERY = [
    each for each in vectors(*FIELDS)
    if each.content["field"] == "TextField" and "\0" not in each.value
]  # fmt: skip
ONE_OF_EACH = list({each.package: each for each in EVERY if each.value}.values())


@pytest.fixture(params=ONE_OF_EACH, ids=lambda vector: vector.package)
def vector(request):
    with override_settings(**request.param.settings):
        yield request.param


@pytest.fixture
def name(vector):
    return FIELDS[vector.package]


@pytest.fixture
def card(vector, name):
    """A card of which another package has stored a value."""
    made = Card.objects.create()
    store(made, f"{name}_theirs", vector.stored)
    return Card.objects.get(pk=made.pk)


@pytest.mark.parametrize("vector", EVERY, ids=repr)
def test_value_that_a_package_has_stored(vector):
    name = FIELDS[vector.package]
    with override_settings(**vector.settings):
        made = Card.objects.create()
        store(made, f"{name}_theirs", vector.stored)
        assert getattr(Card.objects.get(), name) == vector.value


@pytest.mark.parametrize("vector", vectors("django-fernet-encrypted-fields"), ids=repr)
def test_json_whose_names_are_in_clear(vector):
    if vector.content["field"] != "JSONField":
        return
    with override_settings(**vector.settings):
        store(Card.objects.create(), "facts_theirs", vector.stored)
        assert Card.objects.get().facts == {"a": ["1", "None", "True", "x"], "b": "y"}


class TestReading:
    def test_object_holds_what_is_stored_until_a_caller_looks(self, card, name, vector):
        assert type(vars(card)[name]) is SealedValue
        assert vector.value.encode() not in pickle.dumps(vars(card)[name])
        assert getattr(card, name) == vector.value
        assert getattr(card, f"{name}_theirs") == vector.value

    def test_every_way_to_read(self, card, name, vector):
        other = Card.objects.create(**{name: "another"})
        both = {card.pk: vector.value, other.pk: "another"}
        cards = Card.objects.order_by("pk")
        for each in (name, f"{name}_theirs"):
            assert dict(cards.values_list("pk", each)) == both
            assert dict(cards.annotate(same=F(each)).values_list("pk", "same")) == both
            own = Card.objects.filter(pk=OuterRef("pk")).values(each)
            assert dict(cards.annotate(same=Subquery(own)).values_list("pk", "same")) == both
            assert {row.pk: getattr(row, name) for row in cards.only(each)} == both
            assert {row.pk: getattr(row, name) for row in cards.defer(each)} == both
        assert {row.pk: getattr(row, name) for row in cards.iterator()} == both
        assert {row.pk: getattr(row, name) for row in Card.encrypted.opened()} == both
        opened = list(cards)
        open_values(opened)
        assert {row.pk: vars(row)[name] for row in opened} == both
        for columns in ("*", "id", f"id, {quoted(name)}", f"id, {quoted(f'{name}_theirs')}"):
            rows = Card.objects.raw(f"SELECT {columns} FROM tests_card")
            assert {row.pk: getattr(row, name) for row in rows} == both
        card.refresh_from_db(fields=[name])
        assert getattr(card, name) == vector.value

    def test_whether_there_is_a_value(self, card, name):
        Card.objects.create(**{name: "another"})
        empty = Card.objects.create()
        assert Card.objects.get(**{f"{name}__isnull": True}) == empty
        assert Card.objects.filter(**{name: None}).get() == empty
        assert Card.objects.filter(**{f"{name}__isnull": False}).count() == 2
        assert Card.objects.aggregate(count=Count(name)) == {"count": 2}

    def test_nothing_is_looked_for_among_tokens(self, card, name, vector):
        for lookup in ("", "__contains", "__gt"):
            with pytest.raises(FieldError):
                list(Card.objects.filter(**{f"{name}{lookup}": vector.value}))
            with pytest.raises(FieldError):
                list(Card.objects.filter(**{f"{name}_theirs{lookup}": vector.value}))
        with pytest.raises(FieldError):
            list(Card.objects.order_by(name))


class TestWriting:
    def is_ours(self, row, name):
        assert stored(row, f"{name}_theirs") is None
        return stored(row, name).startswith(b"\x01")

    def test_what_was_not_looked_at_stays(self, card, name, vector):
        before = stored(card, f"{name}_theirs")
        card.title = "renamed"
        card.save()
        Card.objects.filter(pk=card.pk).update(title="again")
        deferred = Card.objects.defer(name).get()
        deferred.save()
        assert stored(card, f"{name}_theirs") == before
        assert stored(card, name) is None
        assert getattr(Card.objects.get(), name) == vector.value

    @pytest.mark.parametrize(
        "write",
        [
            lambda row, name: row.save(),
            lambda row, name: row.save(update_fields=[name]),
            lambda row, name: Card.objects.filter(pk=row.pk).update(**{name: "new"}),
            lambda row, name: Card.objects.bulk_update([row], [name]),
            lambda row, name: Card.encrypted.bulk_update([row], [name]),
            lambda row, name: Card.objects.update_or_create(pk=row.pk, defaults={name: "new"}),
        ],
        ids=["save", "update_fields", "update", "bulk_update", "of ours", "update_or_create"],
    )
    def test_what_is_written_is_an_envelope(self, card, name, write):
        setattr(card, name, "new")
        write(card, name)
        assert self.is_ours(card, name)
        assert getattr(Card.objects.get(), name) == "new"

    def test_null_empties_both(self, card, name):
        Card.objects.update(**{name: None})
        assert (stored(card, name), stored(card, f"{name}_theirs")) == (None, None)
        assert getattr(Card.objects.get(), name) is None

    def test_several_rows_in_one_statement(self, card, name, vector):
        other = Card.objects.create()
        store(other, f"{name}_theirs", vector.stored)
        kept, changed = Card.objects.order_by("pk")
        setattr(changed, name, "new")
        Card.encrypted.bulk_update([kept, changed], [name])
        assert self.is_ours(kept, name)  # which `bulk_update` opens
        assert self.is_ours(changed, name)
        assert [getattr(row, name) for row in Card.objects.order_by("pk")] == [vector.value, "new"]

    @pytest.mark.skipif(connection.vendor == "mysql", reason="it names no columns of an upsert")
    def test_upsert(self, card, name):
        rows = [Card(pk=card.pk, **{name: "new"})]
        Card.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["pk"], update_fields=[name]
        )
        assert self.is_ours(card, name)
        assert getattr(Card.objects.get(), name) == "new"

    def test_copies_are_envelopes(self, card, name, vector):
        card.pk = None
        card._state.adding = True
        card.save()
        assert self.is_ours(card, name)
        moved = Card.objects.first()
        moved.save(using="other")
        assert self.is_ours(moved, name)
        assert getattr(Card.objects.using("other").get(), name) == vector.value

    def test_old_build_writes_later_than_we_did(self, card, name, vector):
        Card.objects.update(**{name: "ours"})
        store(card, f"{name}_theirs", vector.stored)
        assert getattr(Card.objects.get(), name) == vector.value
        again = Card.objects.get()
        setattr(again, name, "ours once more")
        again.save()
        assert getattr(Card.objects.get(), name) == "ours once more"


def test_what_is_in_clear_beside_tokens():
    row = Card.objects.create()
    store(row, "text_theirs", "Grüße, in clear")
    with override_settings(FIELD_ENCRYPTION_KEY="A" * 43 + "="):
        found = Card.objects.get()
        assert b"in clear" not in pickle.dumps(vars(found)["text"])
        assert found.text == "Grüße, in clear"


CLEAR_TEXTS = ['"Hello", she said', "[x] done", "{note}", '{"a": "b"}', "", "über", "ä"]


@pytest.mark.parametrize("reader", [FernetEncryptedFields, Pgcrypto, EncryptedModelFields, Mirage])
@pytest.mark.parametrize("text", CLEAR_TEXTS)
def test_text_in_clear_that_begins_as_a_format_does(reader, text):
    """What it is to be told by is whether it is one."""
    field = EncryptedTextField(null=True, converts="theirs", legacy=[reader(), Plaintext()])
    assert format_of(field, marked(text)) == Plaintext()
    assert format_of(field, marked(text)).read(text, field).value == text


@pytest.mark.parametrize("content", [{"a": "b", "c": 5}, "text", ["x"], 5, {"a": [{}], "b": "c"}])
def test_json_in_clear_beside_that_of_tokens(content):
    field = EncryptedJSONField(
        null=True, converts="theirs", legacy=[FernetEncryptedFields(), Plaintext()]
    )
    found = format_of(field, marked(json.dumps(content)))
    assert found == Plaintext()
    assert found.read(json.dumps(content), field).value == content


@pytest.mark.parametrize("content", ["{}", "[]", '{"a": {"b": []}}', '{"a": "TOKEN", "b": "text"}'])
def test_json_that_the_package_may_have_stored(content):
    token = Fernet("A" * 43 + "=").encrypt(b"a value").decode()
    field = EncryptedJSONField(
        null=True, converts="theirs", legacy=[FernetEncryptedFields(), Plaintext()]
    )
    assert format_of(field, marked(content.replace("TOKEN", token))) == FernetEncryptedFields()


def test_json_without_end_is_no_value():
    field = EncryptedJSONField(null=True, converts="theirs", legacy=[FernetEncryptedFields()])
    assert format_of(field, marked("[" * 100_000)) is None


def test_text_that_begins_as_what_marks_them(vector, card, name):
    """What has the mark in our own column was not written by us."""
    Card.objects.update(**{name: None})
    raw = vector.stored if isinstance(vector.stored, bytes) else vector.stored.encode()
    for content in (raw, b"\x02" + raw, b""):
        store(card, name, content)
        with pytest.raises(MalformedEnvelope):
            getattr(Card.objects.get(), name)


def test_wrong_key(card, name):
    wrong = {
        "FIELD_ENCRYPTION_KEY": "B" * 43 + "=",
        "SECRET_KEY": "wrong",
        "SECRET_KEY_FALLBACKS": [],
        "PGCRYPTO_KEY": "wrong",
        "FIELD_ENCRYPTION_KEYS": ["00" * 32],
        "MIRAGE_SECRET_KEY": "wrong, and of at least 32 characters",
    }
    with (
        override_settings(**wrong),
        pytest.raises(DecryptionFailed, match=f"primary key {card.pk}"),
    ):
        getattr(card, name)


def test_policy(card, name, django_user_model):
    MasterKey.objects.update(managed_by="customer")
    with acting_as(django_user_model.objects.create(username="u")), pytest.raises(KeyAccessDenied):
        getattr(card, name)


def test_after_the_conversion_it_is_an_error(card, name):
    ColumnConversion.objects.create(
        model="tests.Card", field=name, kind="legacy", phase="finished", finished_at=timezone.now()
    )
    with pytest.raises(MalformedEnvelope, match="finished"):
        getattr(card, name)
    fresh = Card.objects.get()
    before = stored(card, f"{name}_theirs")
    fresh.save()
    assert stored(card, f"{name}_theirs") == before


def test_rolled_back_write(card, name, vector):
    with transaction.atomic():
        Card.objects.update(**{name: "new"})
        transaction.set_rollback(True)
    assert getattr(Card.objects.get(), name) == vector.value


def test_two_packages_are_refused():
    with pytest.raises(TypeError, match="one reader"):
        EncryptedTextField(converts="theirs", legacy=[EncryptedModelFields(), Mirage()])


def quoted(name):
    return connection.ops.quote_name(Card._meta.get_field(name).column)
