"""Indexes where rows come and go as they are: fixtures, raw saves, migrations and histories."""

import copy
import json
import pickle

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import QuerySet
from django.db.transaction import atomic
from django.test.utils import isolate_apps
from django.utils.encoding import smart_str

from envelope_fields import keyring
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import BlindIndexField, EncryptedEmailField
from envelope_fields.fields.index.rows import StoredIndex
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.lifecycle import disable
from envelope_fields.models import BlindIndex, BlindIndexKey, MasterKey
from tests.models.indexed import Doctor, Insured, Person, Sample, Visit
from tests.models.shadows import shadow_of
from tests.models.tables import made

A, B = "Ada@Example.org", "ben@example.org"


def found(model=Person, **lookups):
    return sorted(model.objects.filter(**lookups).values_list("pk", flat=True))


@pytest.fixture
def ada():
    return Person.objects.create(name="ada", email=A)


@pytest.fixture(autouse=True)
def _models(monkeypatch):
    """Serializers look models up in the registry of the project."""
    from django.apps import apps

    known = {"tests.person": Person, "tests.insured": Insured, "tests.sample": Sample}
    find = apps.get_model

    def get_model(label, *args, **kwargs):
        return known.get(str(label).lower()) or find(label, *args, **kwargs)

    monkeypatch.setattr(apps, "get_model", get_model)
    from envelope_fields.fixtures.serializers import _connect_encrypted

    for model in known.values():
        _connect_encrypted(model)


def dump(form, rows):
    return serializers.serialize(form, rows)


def load(form, text):
    for each in serializers.deserialize(form, text):
        each.save()


@pytest.mark.parametrize("form", ["json", "yaml", "xml", "jsonl"])
class TestFixtures:
    def test_they_carry_the_index(self, ada, form):
        before = Person.objects.values_list("email_index", flat=True).get()
        text = dump(form, Person.objects.all())
        assert "ample" not in text
        Person.objects.all().delete()
        load(form, text)
        assert Person.objects.values_list("email_index", flat=True).get() == before
        assert found(email=A) == [ada.pk]

    def test_over_a_row_that_is_there(self, ada, form):
        text = dump(form, Person.objects.all())
        Person.objects.update(email=B)
        load(form, text)
        assert found(email=A) == [ada.pk]

    def test_one_that_was_changed_is_dumped_as_it_was_loaded(self, ada, form):
        text = dump(form, Person.objects.all())
        (each,) = serializers.deserialize(form, text)
        each.object.email = B
        each.save()
        assert found(email=B) == [ada.pk]


class TestEdited:
    def fixture(self, ada, **changes):
        (row,) = json.loads(dump("json", [ada]))
        row["fields"].update(changes)
        return row

    def test_a_plain_value_has_its_index_computed(self, ada):
        load("json", json.dumps([self.fixture(ada, email=B)]))
        assert found(email=B) == [ada.pk]

    def test_an_index_that_is_missing_is_computed(self, ada):
        row = self.fixture(ada)
        del row["fields"]["email_index"]
        Person.objects.all().delete()
        load("json", json.dumps([row]))
        assert found(email=A) == [ada.pk]

    def test_so_is_null(self, ada):
        Person.objects.all().delete()
        load("json", json.dumps([self.fixture(ada, email_index=None)]))
        assert found(email=A) == [ada.pk]

    def test_an_index_is_begun_by_it(self, ada):
        row = self.fixture(ada)
        Person.objects.all().delete()
        QuerySet(BlindIndex).filter(label="tests.person.email_index")._raw_delete("default")
        QuerySet(BlindIndexKey).filter(name="shared:address")._raw_delete("default")
        keyring.evict()
        load("json", json.dumps([row]))
        assert found(email=A) == [ada.pk]

    def test_and_one_under_another_key(self, ada):
        import base64

        other = base64.b64encode(b"x" * 24).decode()
        load("json", json.dumps([self.fixture(ada, email_index=other)]))
        assert found(email=A) == [ada.pk]

    def test_null_has_none(self, ada):
        load("json", json.dumps([self.fixture(ada, email=None)]))
        assert Person.objects.values_list("email_index", flat=True).get() is None


class TestHeld:
    """What is dumped of an object is the index of what it holds, and not what it was loaded with.

    Packages that keep versions or drafts of rows dump objects that were just changed.
    """

    @staticmethod
    def saved(ada):
        ada.email = B
        ada.save()

    @staticmethod
    def saved_alone(ada):
        ada.email = B
        ada.save(update_fields=["email"])

    @staticmethod
    def saved_in_bulk(ada):
        ada.email = B
        Person.objects.bulk_update([ada], ["email"])

    @staticmethod
    def changed(ada):
        ada.email = B

    @staticmethod
    def refreshed(ada):
        Person.objects.update(email=B)
        ada.refresh_from_db(fields=["email"])

    @staticmethod
    def looked_at(ada):
        ada.email = B
        ada.save()
        ada.refresh_from_db()
        assert ada.email == B

    @pytest.mark.parametrize(
        "change", ["saved", "saved_alone", "saved_in_bulk", "changed", "refreshed", "looked_at"]
    )
    @pytest.mark.parametrize("form", ["json", "python"])
    def test_changes(self, ada, change, form):
        loaded = Person.objects.get()
        getattr(self, change)(loaded)
        load(form, dump(form, [loaded]))
        assert (found(email=B), found(email=A)) == ([ada.pk], [])

    @pytest.mark.parametrize("email", [None, "", " "])
    def test_what_is_in_no_index_any_more(self, ada, email):
        loaded = Person.objects.get()
        loaded.email = email
        loaded.save()
        load("json", dump("json", [loaded]))
        assert Person.objects.values_list("email_index", flat=True).get() is None

    def test_json_that_was_changed_inside(self):
        Sample.objects.create(name="s", data={"mrn": "A1"})
        loaded = Sample.objects.get()
        loaded.data["mrn"] = "A2"
        load("json", dump("json", [loaded]))
        assert Sample.objects.filter(data__mrn="A2").exists()
        assert not Sample.objects.filter(data__mrn="A1").exists()

    def test_a_value_is_not_opened_for_it(self, ada, monkeypatch):
        loaded = Person.objects.get()
        monkeypatch.setattr(SealedValue, "open", None)
        (row,) = json.loads(dump("json", [loaded]))
        assert row["fields"]["email_index"]

    def test_one_that_cannot_be_made_is_left_out(self, ada):
        loaded = Person.objects.get()
        loaded.email = B
        disable(MasterKey.objects.get(alias="search"))
        (row,) = json.loads(dump("json", [loaded]))
        assert row["fields"]["email_index"] is None

    def test_an_object_that_was_not_saved(self):
        index = Person._meta.get_field("email_index")
        assert index.value_to_string(Person()) is None
        assert len(index.value_to_string(Person(email=A))) == 32


class TestRawSaves:
    def test_of_a_new_object(self):
        ada = Person(email=A, pk=1)
        ada.save_base(raw=True)
        assert found(email=A) == [ada.pk]
        assert ada.email == A

    def test_of_a_loaded_object(self, ada):
        loaded = Person.objects.get()
        loaded.name = "new"
        loaded.save_base(raw=True)
        assert found(email=A, name="new") == [ada.pk]
        loaded.email = B
        loaded.save_base(raw=True)
        assert found(email=B) == [ada.pk]

    def test_of_an_object_whose_row_vanished(self, ada):
        loaded = Person.objects.get()
        Person.objects.all().delete()
        loaded.save_base(raw=True)
        assert found(email=A) == [ada.pk]


class TestDeclared:
    @pytest.mark.parametrize(
        "field",
        [
            BlindIndexField("email"),
            BlindIndexField("email", normalizer="email", unique=True, replaces="other"),
            BlindIndexField("a", "b", shared="s", key="other", db_column="c"),
        ],
    )
    def test_it_deconstructs_to_itself(self, field):
        _, path, args, kwargs = field.deconstruct()
        assert path == "envelope_fields.fields.BlindIndexField"
        again = BlindIndexField(*args, **kwargs)
        assert again.deconstruct()[1:] == (path, args, kwargs)
        assert copy.deepcopy(field).deconstruct()[1:] == (path, args, kwargs)
        text, imports = MigrationWriter.serialize(field)
        assert text.startswith("envelope_fields.fields.BlindIndexField(")
        assert imports == {"import envelope_fields.fields"}

    def test_what_it_always_is(self):
        field = Insured._meta.get_field("ssn_index")
        assert (field.null, field.editable, field.db_index, field.unique) == (
            True,
            False,
            True,
            False,
        )
        unique = Person._meta.get_field("email_index")
        assert (unique.null, unique.editable, unique.db_index, unique.unique) == (
            True, False, False, True,
        )  # fmt: skip

    def test_the_state_of_migrations_has_nothing_more_than_is_declared(self):
        for model in (Person, Visit, Insured):
            state = ModelState.from_model(model)
            assert len(state.options["constraints"]) == (1 if model is Visit else 0)
            before = ProjectState()
            after = ProjectState()
            after.add_model(state)
            again = after.clone()
            found = MigrationAutodetector(
                after, again, NonInteractiveMigrationQuestioner()
            )._detect_changes()
            assert found == {}
            assert before != after

    def test_values_show_nothing(self, ada):
        assert repr(ada.email_index) == str(ada.email_index) == "<StoredIndex>"
        assert smart_str(ada.email_index) == "<StoredIndex>"  # as packages that log or export ask
        assert type(Person.objects.values_list("email_index", flat=True).get()) is StoredIndex
        assert bytes(ada.email_index).hex() not in repr(vars(ada))

    def test_it_is_used_as_bytes_are(self, ada):
        index, stored = ada.email_index, bytes(ada.email_index)
        assert index == stored
        assert {index, index[16:]} == {stored, stored[16:]}
        assert pickle.loads(pickle.dumps(index)) == copy.deepcopy(index) == stored


class TestMigrations:
    """An index is added to a table that has rows, or that has none."""

    @pytest.fixture
    def table(self, django_db_blocker):
        with isolate_apps("tests"):

            class Guest(models.Model):
                email = EncryptedEmailField()

                class Meta:
                    app_label = "tests"

        with connection.schema_editor() as editor:
            editor.create_model(Guest)
        yield Guest
        with connection.schema_editor() as editor:
            editor.delete_model(Guest)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("rows", [0, 2])
    @pytest.mark.parametrize("unique", [True, False])
    def test_add_field(self, table, rows, unique):
        for number in range(rows):
            table.objects.create(email=f"{number}@example.org")
        with isolate_apps("tests"):
            fields = {
                "__module__": __name__,
                "Meta": type("Meta", (), {"app_label": "tests"}),
                "email": EncryptedEmailField(),
                "email_index": BlindIndexField("email", unique=unique),
            }
            model = type("Guest", (models.Model,), fields)
        with connection.schema_editor() as editor:
            editor.add_field(table, model._meta.get_field("email_index"))
        assert list(model.objects.values_list("email_index", flat=True)) == [None] * rows
        ben = model.objects.create(email=B)
        assert len(model.objects.values_list("email_index", flat=True).get(pk=ben.pk)) == 24
        if rows:
            with pytest.raises(IndexNotReady):
                model.objects.get(email=B)
        else:
            assert model.objects.get(email=B) == ben
        with connection.schema_editor() as editor:
            editor.remove_field(model, model._meta.get_field("email_index"))


class TestHistoricalModels:
    @pytest.fixture
    def historical(self):
        state = ProjectState()
        state.add_model(ModelState.from_model(Insured))
        return state.apps.get_model("tests", "Insured")

    def test_they_write_and_look_up(self, historical):
        row = historical.objects.create(ssn="078-05-1120")
        assert found(Insured, ssn="078051120") == [row.pk]
        assert historical.objects.get(ssn="078051120") == row
        historical.objects.update(ssn="1-2-3-4-5")
        assert found(Insured, ssn="12345") == [row.pk]
        historical.objects.bulk_create([historical(ssn="9" * 9)])
        assert len(found(Insured, ssn="9" * 9)) == 1


class TestHistories:
    """Shadow models copy the fields of the model that they follow."""

    @pytest.fixture(scope="class")
    @classmethod
    def history(cls, _tables, django_db_blocker):
        model = shadow_of(Person, "email", "email_index", "name")
        with made([model], django_db_blocker):
            yield model

    def test_they_carry_the_index_without_its_uniqueness(self, ada, history):
        for person in (ada, Person.objects.get()):
            row = history(
                name=person.name,
                email=vars(person)["email"],
                email_index=person.email_index,
            )
            row.save()
        assert history.objects.filter(email=A).count() == 2
        assert Person.objects.filter(email=A).count() == 1
        field = history._meta.get_field("email_index")
        assert (field.unique, field.db_index) == (False, True)
        assert history._meta.total_unique_constraints == []
        assert field.domain == Person._meta.get_field("email_index").domain


def test_a_child_row_has_the_columns_of_its_own_table():
    doctor = Doctor.objects.create(email=A, pager="1")
    with pytest.raises(FieldError), atomic():
        Doctor.objects.bulk_update([doctor], ["email_index"])
    doctor.email, doctor.pager = B, "2"
    Doctor.objects.bulk_update([doctor], ["email", "pager"])
    assert Doctor.objects.get(email=B, pager="2") == doctor
