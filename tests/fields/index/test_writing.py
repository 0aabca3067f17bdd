"""An index is right after every way to write its value."""

import datetime

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import Case, F, Value, When
from django.db.models.functions import Lower
from django.db.transaction import atomic

from tests.models.indexed import Citizen, Doctor, Insured, Person, PersonProxy, Sample

A, B, C = "Ada@Example.org", "ben@example.org", "cy@example.org"
BORN = datetime.date(1815, 12, 10)


def found(model=Person, **lookups):
    return sorted(model.objects.filter(**lookups).values_list("pk", flat=True))


def index_of(row, name="email_index"):
    return type(row).objects.values_list(name, flat=True).get(pk=row.pk)


def upsert(rows, unique_fields, **options):
    """Insert rows or update those that are there, which MariaDB finds by itself."""
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = unique_fields
    type(rows[0]).objects.bulk_create(rows, update_conflicts=True, **options)


@pytest.fixture
def ada():
    return Person.objects.create(name="ada", email=A)


class TestSave:
    def test_create(self, ada):
        assert found(email="ada@EXAMPLE.org ") == [ada.pk]
        assert len(index_of(ada)) == 24
        assert bytes(ada.email_index) == index_of(ada)

    def test_an_update(self, ada):
        ada.email = B
        ada.save()
        assert found(email=A) == []
        assert found(email=B) == [ada.pk]

    def test_of_a_loaded_object(self, ada):
        loaded = Person.objects.get()
        loaded.email = B
        loaded.save()
        assert found(email=B) == [ada.pk]

    def test_of_an_untouched_value(self, ada):
        loaded = Person.objects.get()
        Person.objects.update(email=B)  # by another process, meanwhile
        loaded.name = "new"
        loaded.save()
        assert found(email=B) == [ada.pk]
        assert found(name="new") == [ada.pk]

    def test_with_update_fields(self, ada):
        ada.email, ada.name = B, "unsaved"
        ada.save(update_fields=["email"])
        assert found(email=B) == [ada.pk]
        assert found(name="ada") == [ada.pk]

    def test_with_update_fields_of_others(self, ada):
        ada.email, ada.name = B, "saved"
        ada.save(update_fields=["name"])
        assert found(email=A, name="saved") == [ada.pk]

    @pytest.mark.parametrize("deferred", [["email"], ["email_index"], ["email", "email_index"]])
    def test_of_an_object_with_deferred_fields(self, ada, deferred):
        loaded = Person.objects.defer(*deferred).get()
        loaded.name = "new"
        loaded.save()
        assert found(email=A, name="new") == [ada.pk]
        loaded.email = B
        loaded.save()
        assert found(email=B, name="new") == [ada.pk]

    def test_of_an_object_with_only_the_value(self, ada):
        loaded = Person.objects.only("email").get()
        loaded.email = B
        loaded.save()
        assert found(email=B) == [ada.pk]

    def test_null(self, ada):
        ada.email = None
        ada.save()
        assert index_of(ada) is None

    def test_an_object_is_loaded_again(self, ada):
        Person.objects.update(email=None)
        ada.refresh_from_db()
        assert (ada.email, ada.email_index) == (None, None)
        Person.objects.update(email=B)
        ada.refresh_from_db()
        assert bytes(ada.email_index) == index_of(ada)
        ada.refresh_from_db(fields=["email_index"])
        ada.save()
        assert found(email=B) == [ada.pk]

    def test_an_empty_normal_form(self):
        ben = Insured.objects.create(ssn="unknown")
        assert index_of(ben, "ssn_index") is None

    def test_a_copy(self, ada):
        loaded = Person.objects.get()
        loaded.pk, loaded.email = None, B
        loaded.save()
        assert found(email=B) == [loaded.pk]
        assert found(email=A) == [ada.pk]

    def test_a_copy_of_an_untouched_value(self):
        Insured.objects.create(ssn="078-05-1120")
        loaded = Insured.objects.get()
        loaded.pk = None
        loaded.save(force_insert=True)
        assert len(found(Insured, ssn="078051120")) == 2

    def test_a_row_that_vanished(self, ada):
        loaded = Person.objects.get()
        Person.objects.all().delete()
        loaded.save()
        assert found(email=A) == [loaded.pk]

    def test_of_a_proxy(self):
        ada = PersonProxy.objects.create(email=A)
        assert found(email=A) == [ada.pk]
        ada.email = B
        ada.save(update_fields=["email"])
        assert found(email=B) == [ada.pk]

    def test_of_a_child(self):
        doctor = Doctor.objects.create(email=A, title="Dr", pager="17")
        assert Doctor.objects.get(email=A, pager="17") == doctor
        loaded = Doctor.objects.get()
        loaded.email, loaded.pager = B, "18"
        loaded.save()
        assert Doctor.objects.get(email=B, pager="18") == doctor
        Doctor.objects.update(email=C, pager="19", title="")
        assert Doctor.objects.get(email=C, pager="19") == doctor


class TestAlone:
    def test_it_cannot_be_assigned(self, ada):
        with pytest.raises(FieldError, match="cannot be written by itself"):
            ada.email_index = b"x" * 24

    def test_without_it_the_row_keeps_it(self, ada):
        ada.email_index = None
        ada.save()
        assert found(email=A) == [ada.pk]

    def test_nor_be_given_to_a_new_object(self):
        with pytest.raises(FieldError, match="cannot be written by itself"):
            Person(email_index=b"x" * 24)

    @pytest.mark.parametrize("value", [b"x" * 24, None, F("notes"), Value(b"x")])
    def test_nor_be_updated(self, ada, value):
        with pytest.raises(FieldError, match="cannot be written by itself"), atomic():
            Person.objects.update(email_index=value)
        assert found(email=A) == [ada.pk]

    def test_nor_in_bulk(self, ada):
        with pytest.raises(FieldError, match="cannot be written by itself"), atomic():
            Person.objects.bulk_update([ada], ["email_index"])
        with pytest.raises(FieldError, match="cannot be written by itself"):
            Person.plain.bulk_update([ada], ["email_index"])

    def test_nor_be_saved(self, ada):
        with pytest.raises(FieldError, match="cannot be written by itself"):
            ada.save(update_fields=["email_index"])

    def test_that_of_another_object_is_not_taken(self, ada):
        ben = Person.objects.create(email=B)
        ben.email_index = ada.email_index
        ben.save()
        assert found(email=B) == [ben.pk]


class TestUpdate:
    def test_a_value(self, ada):
        Person.objects.update(email=B)
        assert found(email=B) == [ada.pk]

    def test_null(self, ada):
        Person.objects.update(email=None)
        assert index_of(ada) is None

    def test_several_at_once(self, ada):
        row = Insured.objects.create()
        Insured.objects.update(name="n", ssn="12-345")
        assert found(Insured, ssn="12345", ssn__last_four="2345", name="n") == [row.pk]

    def test_a_value_of_the_field(self, ada):
        field = Person._meta.get_field("email")
        Person.objects.update(email=Value(B, output_field=field))
        assert found(email=B) == [ada.pk]

    def test_a_case(self, ada):
        field = Person._meta.get_field("email")
        ben = Person.objects.create(name="ben", email=B)
        Person.objects.update(
            email=Case(
                When(name="ada", then=Value(C, output_field=field)),
                default=Value(None),
            )
        )
        assert found(email=C) == [ada.pk]
        assert index_of(ben) is None

    @pytest.mark.parametrize("value", [Lower("name"), F("name"), F("email")])
    def test_what_the_database_computes_is_refused(self, ada, value):
        with pytest.raises(FieldError):
            Person.objects.update(email=value)

    def test_again_by_the_same_queryset(self, ada):
        rows = Person.objects.all()
        rows.update(email=B)
        rows.update(email=C)
        assert found(email=C) == [ada.pk]

    @pytest.mark.parametrize("manager", ["objects", "plain"])
    @pytest.mark.parametrize(
        "names", [["email"], ["email", "email_index"], ["email_index", "email", "name"]]
    )
    def test_in_bulk(self, ada, manager, names):
        ben = Person.objects.create(name="ben", email=B)
        ada.email, ben.email = C, None
        getattr(Person, manager).bulk_update([ada, ben], names)
        assert found(email=C) == [ada.pk]
        assert index_of(ben) is None
        assert found(email=A) == []

    def test_in_bulk_of_loaded_objects(self, ada):
        (loaded,) = Person.objects.all()
        Person.objects.bulk_update([loaded], ["email"])
        assert found(email=A) == [ada.pk]


class TestInsert:
    def test_in_bulk(self):
        people = Person.objects.bulk_create([Person(email=A), Person(email=B), Person()])
        assert [index_of(each) is None for each in people] == [False, False, True]
        assert found(email__in=[A, B]) == [people[0].pk, people[1].pk]

    def test_or_get(self, ada):
        assert Person.objects.get_or_create(email="ADA@example.org") == (ada, False)
        ben, is_made = Person.objects.get_or_create(email=B, defaults={"name": "ben"})
        assert is_made
        assert found(email=B) == [ben.pk]

    def test_or_update(self, ada):
        _, is_made = Person.objects.update_or_create(
            email="ADA@example.org", defaults={"name": "new"}
        )
        assert not is_made
        assert found(email=A, name="new") == [ada.pk]
        Person.objects.update_or_create(pk=ada.pk, defaults={"email": B})
        assert found(email=B, name="new") == [ada.pk]
        Person.objects.update_or_create(name="new", create_defaults={}, defaults={"email": C})
        assert found(email=C) == [ada.pk]

    def test_or_update_in_bulk(self, ada):
        upsert(
            [Person(email="ADA@example.org", name="new"), Person(email=B)],
            update_fields=["name", "email"],
            unique_fields=["email"],
        )
        assert found(email=A, name="new") == [ada.pk]
        assert len(found(email=B)) == 1
        assert Person.objects.get(pk=ada.pk).email == "ADA@example.org"

    def test_or_update_others_in_bulk(self, ada):
        upsert(
            [Person(email="ADA@example.org", name="new")],
            update_fields=["name"],
            unique_fields=["email"],
        )
        assert Person.objects.get().email == A
        assert found(email=A, name="new") == [ada.pk]

    def test_or_update_in_bulk_by_the_primary_key(self, ada):
        upsert([Person(pk=ada.pk, email=B)], update_fields=["email"], unique_fields=["pk"])
        assert found(email=B) == [ada.pk]

    def test_an_upsert_of_the_index_alone_is_refused(self, ada):
        with pytest.raises(FieldError, match="cannot be written by itself"):
            upsert([Person(email=B)], update_fields=["email_index"], unique_fields=["pk"])

    def test_or_ignore_conflicts(self, ada):
        Person.objects.bulk_create(
            [Person(email="ADA@example.org"), Person(email=B)], ignore_conflicts=True
        )
        assert found(email=A) == [ada.pk]
        assert len(found(email=B)) == 1


class TestCompound:
    def test_save(self):
        ada = Citizen.objects.create(last_name="Lovelace", born=BORN)
        assert found(Citizen, name_index=("Lovelace", BORN)) == [ada.pk]
        assert found(Citizen, name_index__in=[("Lovelace", BORN), ("x", BORN)]) == [ada.pk]
        loaded = Citizen.objects.get()
        loaded.last_name = "King"
        loaded.save()
        assert found(Citizen, name_index=("King", BORN)) == [ada.pk]

    def test_a_value_that_was_written_meanwhile_does_not_come_apart_from_it(self):
        ada = Citizen.objects.create(last_name="Lovelace", born=BORN)
        loaded = Citizen.objects.get()
        other = datetime.date(1816, 1, 1)
        Citizen.objects.update(last_name="Lovelace", born=other)
        loaded.last_name = "King"
        loaded.save()
        now = Citizen.objects.get()
        assert found(Citizen, name_index=("King", now.born)) == [ada.pk]

    @pytest.mark.parametrize("options", [{}, {"raw": True}], ids=["saved", "raw"])
    def test_a_value_of_another_object_does_not_come_apart_from_it(self, options):
        ada = Citizen.objects.create(name="ada", last_name="Lovelace", born=BORN)
        Citizen.objects.create(name="ben", born=datetime.date(1816, 1, 1))
        loaded, other = Citizen.objects.order_by("name")
        Citizen.objects.filter(name="ada").update(last_name="King", born=BORN)
        loaded.born = vars(other)["born"]  # sealed
        loaded.save_base(**options)
        now = Citizen.objects.get(pk=ada.pk)
        assert now.born == datetime.date(1816, 1, 1)
        assert found(Citizen, name_index=(now.last_name, now.born)) == [ada.pk]

    def test_one_of_its_values_alone(self):
        ada = Citizen.objects.create(last_name="Lovelace", born=BORN)
        with pytest.raises(FieldError, match="in one statement"), atomic():
            Citizen.objects.update(last_name="King")
        ada.last_name = "King"
        with pytest.raises(FieldError, match="in one statement"), atomic():
            ada.save(update_fields=["last_name"])
        ada.save(update_fields=["last_name", "born"])
        assert found(Citizen, name_index=("King", BORN)) == [ada.pk]

    def test_in_bulk(self):
        ada = Citizen.objects.create(last_name="Lovelace", born=BORN)
        ada.last_name = "King"
        Citizen.objects.bulk_update([ada], ["last_name", "born"])
        assert found(Citizen, name_index=("King", BORN)) == [ada.pk]
        with pytest.raises(FieldError):
            Citizen.objects.bulk_update([ada], ["last_name"])

    def test_a_deferred_one(self):
        ada = Citizen.objects.create(last_name="Lovelace", born=BORN)
        loaded = Citizen.objects.defer("born").get()
        loaded.name = "new"
        loaded.save()
        assert found(Citizen, name_index=("Lovelace", BORN), name="new") == [ada.pk]


class TestJson:
    def test_save(self):
        ada = Sample.objects.create(data={"mrn": "A1", "other": [1]})
        assert found(Sample, data__mrn="A1") == [ada.pk]
        ada.data["mrn"] = 5
        ada.save()
        assert found(Sample, data__mrn=5) == [ada.pk]
        assert found(Sample, data__mrn="5") == []
        assert found(Sample, data__mrn__in=["A1", 5]) == [ada.pk]

    @pytest.mark.parametrize(
        "data", [{}, [], {"mrn": None}, {"mrn": {}}, {"mrn": ""}, 3, {"mrn": [1]}]
    )
    def test_what_has_no_such_value(self, data):
        ada = Sample.objects.create(data=data)
        assert index_of(ada, "data_index") is None
