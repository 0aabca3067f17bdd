"""Lookups, writes and uniqueness while one index replaces another: each by its own normal forms."""

import uuid
from datetime import date

import pytest
from django.apps.registry import Apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import (
    BlindIndexField,
    EncryptedDateField,
    EncryptedEmailField,
    EncryptedJSONField,
    EncryptedQuerySet,
    EncryptedTextField,
    IndexedUnique,
    Scoped,
)
from envelope_fields.fields.index.uniqueness import lost_with
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import BlindIndex, BlindIndexKey
from envelope_fields.tenants import TenantKey
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

apps = Apps(["tests"])
TENANT_KEY = TenantKey("search/{tenant}")


class Meta:
    apps = apps
    app_label = "tests"


class Otherwise(models.Model):
    """Whose new indexes take for equal what the old ones do not."""

    email = EncryptedEmailField(null=True, blank=True)
    email_old = BlindIndexField("email")
    email_new = BlindIndexField("email", normalizer="email", replaces="email_old")
    phone = EncryptedTextField(blank=True)
    phone_old = BlindIndexField("phone", normalizer="casefold", unique=True)
    phone_new = BlindIndexField("phone", normalizer="digits", unique=True, replaces="phone_old")
    end_old = BlindIndexField("phone", normalizer="last_four")
    end_new = BlindIndexField("phone", normalizer="last_four", replaces="end_old")

    Meta = Meta


class Everything(models.Model):
    """Of several fields, of a path, within a scope, with a key for each tenant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    tenant = models.IntegerField(default=1)
    last_name = EncryptedTextField(blank=True)
    born = EncryptedDateField(null=True)
    name_old = BlindIndexField("last_name", "born")
    name_new = BlindIndexField("last_name", "born", replaces="name_old")
    record = EncryptedJSONField(default=dict)
    mrn_old = BlindIndexField("record__mrn")
    mrn_new = BlindIndexField("record__mrn", replaces="mrn_old")
    code = EncryptedTextField(blank=True, bind_to=("tenant",))
    code_old = BlindIndexField("code", scope=("tenant",), key=TENANT_KEY, unique=True)
    code_new = BlindIndexField(
        "code", scope=("tenant",), key=TENANT_KEY, unique=True, replaces="code_old"
    )

    objects = EncryptedQuerySet.as_manager()

    class Meta(Meta):
        constraints = [
            IndexedUnique(fields=["tenant", "mrn_old"], name="old_mrn"),
            IndexedUnique(fields=["tenant", "mrn_new"], name="new_mrn"),
        ]


class Alone(models.Model):
    """Whose constraint, and unique index, have no like that replaces them."""

    ward = models.IntegerField(default=1)
    email = EncryptedEmailField()
    email_old = BlindIndexField("email", unique=True)
    email_new = BlindIndexField("email", replaces="email_old")

    class Meta(Meta):
        constraints = [IndexedUnique(fields=["ward", "email"], name="one_a_ward")]


tables = tables_of([Otherwise, Everything, Alone])


def read(**states):
    """Bring indexes to a state, as far as this process is concerned."""
    for name, state in states.items():
        found = BlindIndex.objects.filter(label__endswith=f".{name}")
        assert found
        for row in found:
            row.state = state
            row.save()


@pytest.fixture
def row():
    return Otherwise.objects.create(email="Ada@Example.org", phone="+49 30 1234")


class TestAnotherNormalizer:
    def test_each_is_looked_in_by_its_own(self, row):
        queryset = Otherwise.objects.filter(email="ada@example.ORG")
        several = Otherwise.objects.filter(email__in=["ada@example.ORG", "Ada@Example.org"])
        assert queryset.exists()
        assert several.exists()
        read(email_new="filling")
        assert not queryset.exists()
        assert several.exists()
        assert Otherwise.objects.exclude(email="ada@example.ORG").exists()
        assert Otherwise.objects.get(email="Ada@Example.org") == row
        read(email_new="reading")
        assert not Otherwise.objects.exclude(email="ada@example.ORG").exists()

    def test_one_is_asked_for_what_it_does_not_take_for_equal(self, row):
        queryset = Otherwise.objects.filter(email__iexact="ada@example.org")
        assert queryset.exists()
        read(email_new="filling")
        with pytest.raises(IndexNotReady, match=r"email_old is looked in until .*email_new"):
            queryset.exists()

    def test_both_are_unique(self, row):
        for phone in ("+49 30 1234", "+49-30-1234"):
            with pytest.raises(IntegrityError), transaction.atomic():
                Otherwise.objects.create(phone=phone)

    @pytest.mark.parametrize(("state", "found"), [("reading", True), ("filling", False)])
    def test_validation_goes_by_the_one_that_is_read(self, row, state, found):
        read(phone_new=state)
        other = Otherwise(phone="49301234")
        if found:
            with pytest.raises(ValidationError) as refused:
                other.full_clean()
            assert list(refused.value.message_dict) == ["phone"]
        else:
            other.full_clean()

    def test_a_part(self, row):
        for state in ("reading", "filling"):
            read(end_new=state)
            assert Otherwise.objects.get(phone__last_four="1234") == row

    @pytest.mark.skipif(connection.vendor == "mysql", reason="has no unique_fields")
    @pytest.mark.parametrize("state", ["reading", "filling"])
    def test_upserts(self, row, state):
        read(phone_new=state)
        if state == "filling":
            with connection.cursor() as cursor:
                cursor.execute("UPDATE tests_otherwise SET phone_new = NULL")
        Otherwise.objects.bulk_create(
            [Otherwise(email="ben@example.org", phone="+49 30 1234")],
            update_conflicts=True, unique_fields=["phone"], update_fields=["email"],
        )  # fmt: skip
        found = Otherwise.objects.get()
        assert (found.pk, found.email) == (row.pk, "ben@example.org")


class TestOfEveryKind:
    @pytest.fixture(params=["reading", "filling"])
    def everything(self, request):
        found = Everything.objects.create(
            last_name="Ada", born=date(1815, 12, 10), record={"mrn": "7"}, code="x", tenant=1
        )
        read(name_new=request.param, mrn_new=request.param, code_new=request.param)
        return found

    def test_several_fields(self, everything):
        looked_for = ("Ada", date(1815, 12, 10))
        assert Everything.objects.get(name_new=looked_for) == everything
        assert Everything.objects.get(name_old=looked_for) == everything
        read(name_old="retired", name_new="reading")
        assert Everything.objects.get(name_old=looked_for) == everything

    def test_a_path(self, everything):
        assert Everything.objects.get(record__mrn="7") == everything
        assert not Everything.objects.filter(record__mrn="8")

    def test_a_scope(self, everything):
        assert Everything.objects.get(code=Scoped("x", tenant=1)) == everything
        assert not Everything.objects.filter(code=Scoped("x", tenant=2))
        Everything.objects.create(code="x", tenant=2)
        with pytest.raises(ValidationError) as refused:
            Everything(code="x", tenant=1).validate_constraints()
        assert list(refused.value.message_dict) == ["code"]

    def test_a_constraint_of_each(self, everything):
        assert lost_with(Everything._meta.get_field("mrn_old")) == []
        with pytest.raises(ValidationError, match="Tenant and Record already exists"):
            Everything(record={"mrn": "7"}).full_clean()
        with pytest.raises(ValidationError):  # as in a form, which has no field for an index
            Everything(record={"mrn": "7"}).validate_constraints(exclude=["mrn_old", "mrn_new"])
        Everything(record={"mrn": "7"}).validate_constraints(exclude=["record", "code"])
        with pytest.raises(IntegrityError), transaction.atomic():
            Everything.objects.create(record={"mrn": "7"}, code="y")


def test_a_pin_for_each_key_of_tenants():
    old = Everything._meta.get_field("code_old")
    Everything.objects.create(code="x", tenant=1)
    BlindIndex.objects.filter(label__endswith=".code_new").update(label="gone")
    BlindIndexKey.objects.filter(name__endswith=".code_new").update(name="gone")
    rotate_master_key("search/1")
    for tenant in (1, 2):
        Everything.objects.create(code="y", tenant=tenant)
    pins = BlindIndexKey.objects.exclude(name="gone").filter(name__contains=".code_")
    found = pins.order_by("name", "master_key__alias").values_list(
        "name", "master_key__alias", "version__number"
    )
    label = old.field_path.removesuffix("_old")
    assert list(found) == [
        (f"field:{label}_new", "search/1", 2), (f"field:{label}_new", "search/2", 1),
        (f"field:{label}_old", "search/1", 1), (f"field:{label}_old", "search/2", 1),
    ]  # fmt: skip


def test_what_would_be_lost():
    assert lost_with(Alone._meta.get_field("email_old")) == [
        "unique=True of email_new", "a constraint like 'one_a_ward' that names email_new",
    ]  # fmt: skip
