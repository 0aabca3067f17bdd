"""Upserts into fields whose key is that of a row: of the one that is stored, not of the object."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, transaction

from envelope_fields.lifecycle import create_master_key
from tests.models import Clinic, Document, TenantWord
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db

BODY = Document._meta.get_field("body")


def names_conflicts():
    return connection.features.supports_update_conflicts_with_target


def upsert(row, matched, written):
    """Insert a row, or write these columns of the row that has the same in the matched ones."""
    return type(row)._default_manager.bulk_create(
        [row],
        update_conflicts=True,
        update_fields=written,
        **({"unique_fields": matched} if names_conflicts() else {}),
    )


@pytest.fixture
def tenants():
    return {alias: create_master_key(alias) for alias in ("red", "blue")}


def key_of(row, name, tenants):
    version = version_of(stored(row, name))
    return next(a for a, key in tenants.items() if bytes(key.current_version.version_id) == version)


@pytest.fixture
def red(tenants):
    return TenantWord.objects.create(tenant="red", word="a", number=1, text="of red")


@pytest.mark.parametrize("matched", [["word"], ["pk"]])
def test_another_tenants_row_is_not_written_under_our_key(red, matched):
    envelope = stored(red, "text")
    blue = TenantWord(pk=red.pk, tenant="blue", word="a", number=1, text="of blue")
    message = r"tests\.TenantWord\.text takes its key"
    with pytest.raises(FieldError, match=message), transaction.atomic():
        upsert(blue, matched, ["text"])
    assert stored(red, "text") == envelope
    assert TenantWord.objects.get().text == "of red"


def test_the_error_says_which_lists_are_meant(red):
    lists = r"in unique_fields or update_fields\." if names_conflicts() else r"in update_fields\."
    with pytest.raises(FieldError, match=lists), transaction.atomic():
        upsert(TenantWord(tenant="blue", word="a", number=1, text="x"), ["word"], ["text"])


@pytest.mark.skipif("not connection.features.supports_update_conflicts_with_target")
def test_a_row_that_is_found_by_its_tenant_is_written(red, tenants):
    upsert(TenantWord(tenant="red", word="b", number=1, text="new"), ["tenant", "number"], ["text"])
    row = TenantWord.objects.get()
    assert (row.word, row.text) == ("a", "new")
    assert key_of(row, "text", tenants) == "red"


def test_a_row_that_gets_the_tenant_too_is_written(red, tenants):
    blue = TenantWord(tenant="blue", word="a", number=1, text="of blue")
    upsert(blue, ["word"], ["tenant", "text"])
    row = TenantWord.objects.get()
    assert (row.tenant, row.text) == ("blue", "of blue")
    assert key_of(row, "text", tenants) == "blue"


def test_what_writes_no_value_is_no_concern_of_the_field(red):
    blue = TenantWord(tenant="blue", word="a", number=2, text="ignored")
    upsert(blue, ["word"], ["number"])
    TenantWord.objects.bulk_create([blue], ignore_conflicts=True)
    row = TenantWord.objects.get()
    assert (row.tenant, row.number, row.text) == ("red", 2, "of red")


def test_every_object_is_looked_at(red, tenants):
    rows = [
        TenantWord(tenant="red", word="b", number=2, text="new"),
        TenantWord(tenant="blue", word="a", number=1, text="of blue"),
    ]
    with pytest.raises(FieldError, match="takes its key"), transaction.atomic():
        TenantWord.objects.bulk_create(
            rows,
            update_conflicts=True,
            update_fields=["text"],
            **({"unique_fields": ["word"]} if names_conflicts() else {}),
        )
    assert TenantWord.objects.get().text == "of red"


class TestKeysThatFollowARelation:
    @pytest.fixture
    def clinics(self):
        return [Clinic.objects.create(name=name) for name in ("red", "blue")]

    @pytest.fixture(params=["template", "function"])
    def by(self, request, monkeypatch, tenants):
        """Let the key follow from the foreign key, or from the related row that is cached."""
        if request.param == "function":
            monkeypatch.setattr(BODY, "key", lambda document: document.clinic.name)
            monkeypatch.delitem(vars(BODY), "writer", raising=False)
            yield
            vars(BODY).pop("writer", None)
        else:
            yield

    def test_it_stays(self, by, clinics):
        red, blue = clinics
        document = Document.objects.create(clinic=red, number=1, body="of red")
        envelope = stored(document, "body")
        with pytest.raises(FieldError, match=r"tests\.Document\.body"), transaction.atomic():
            upsert(Document(clinic=blue, number=1, body="of blue"), ["number"], ["body"])
        assert stored(document, "body") == envelope

    def test_it_is_written_too(self, by, clinics):
        red, blue = clinics
        Document.objects.create(clinic=red, number=1, body="of red")
        upsert(Document(clinic=blue, number=1, body="of blue"), ["number"], ["clinic", "body"])
        document = Document.objects.get()
        assert (document.clinic, document.body) == (blue, "of blue")
