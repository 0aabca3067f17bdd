"""What is bound is what a row has when it is loaded again, or nothing is written."""

import enum
import pickle
import uuid

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from envelope_fields.databases.mysql import MySQL
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.sealed import MISSING, SealedValue
from tests.models.bound import Clinic, Event, Record, Sample, apps
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db
tables = tables_of(apps)


class Plain(enum.Enum):
    RED = "r"


class Name(str, enum.Enum):  # noqa: UP042 - it is not the same
    RED = "red"


class Shown(enum.StrEnum):
    RED = "red"


class Number(int, enum.Enum):
    ONE = 1


def again(row):
    return type(row)._base_manager.get(pk=row.pk)


def sample(**columns):
    given = {"code": "a", "number": 1, "colour": "red", "text": "x", **columns}
    return Sample.objects.create(**given)


class TestWhatADatabaseStores:
    @pytest.mark.parametrize("code", [Plain.RED, Shown.RED, Number.ONE, 7, True])
    def test_a_text_of_something_else(self, code):
        row = sample(code=code)
        assert (again(row).code, again(row).text) == (str(code), "x")

    @pytest.mark.parametrize("number", [Number.ONE, True, 1.9, "1"])
    def test_a_number_of_something_else(self, number):
        assert again(sample(number=number)).text == "x"

    def test_an_enum_of_which_a_driver_writes_the_name(self):
        if connection.vendor != "mysql":
            assert again(sample(colour=Name.RED)).text == "x"
            return
        with pytest.raises(FieldError, match=r"Sample\.colour .*\.value"), transaction.atomic():
            sample(colour=Name.RED)
        row = sample()
        found = again(row)
        found.colour = Name.RED
        with pytest.raises(FieldError, match="colour"), transaction.atomic():
            found.save()
        assert again(row).text == "x"

    @pytest.mark.parametrize("spare", ["  ", "b"])
    def test_a_text_that_is_longer_than_its_column(self, spare):
        """PostgreSQL and MariaDB leave out spaces at the end without a word."""
        with pytest.raises(FieldError, match=r"Sample\.code .*20 characters"), transaction.atomic():
            sample(code="a" * 20 + spare)
        row = sample(code="a" * 18 + "  ")
        assert again(row).text == "x"
        found = again(row)
        found.code += spare
        with pytest.raises(FieldError, match=r"Sample\.code"), transaction.atomic():
            found.save()
        assert again(row).text == "x"

    def test_a_text_of_which_its_column_lacks_characters(self, monkeypatch):
        """Without a strict sql_mode, MariaDB writes something else in their place."""
        if connection.vendor != "mysql":
            return
        monkeypatch.setattr(MySQL, "_charset", lambda *_: "latin1")
        with pytest.raises(FieldError, match=r"Sample\.code .*utf8mb4"), transaction.atomic():
            sample(code="Łódź")
        row = sample(code="Zürich")
        assert again(row).text == "x"
        assert again(sample(code="Lodz")).text == "x"

    @pytest.mark.parametrize("number", [2**15, -(2**15) - 1])
    def test_a_number_that_its_column_has_no_room_for(self, number):
        """Without a strict sql_mode, MariaDB writes another one."""
        if connection.vendor == "sqlite":
            assert again(sample(number=number)).text == "x"
            return
        with pytest.raises(FieldError, match=r"Sample\.number .*32767"), transaction.atomic():
            sample(number=number)
        assert again(sample(number=-(2**15))).text == "x"

    @isolate_apps("tests")
    def test_a_field_that_stores_something_else(self):
        class Lower(models.CharField):
            def get_prep_value(self, value):
                return super().get_prep_value(value).lower()

        class Row(models.Model):
            code = Lower(max_length=20)
            text = EncryptedTextField(bind_to=("code",))

            class Meta:
                app_label = "tests"

        field = Row._meta.get_field("text")
        assert field.context_of(field.row_of(Row(code="abc")))
        with pytest.raises(FieldError, match=r"Row\.code stores another value"):
            field.context_of(field.row_of(Row(code="Abc")))


@isolate_apps("tests")
def test_a_field_that_is_added_to_a_model_that_is_declared():
    class Row(models.Model):
        code = models.CharField(max_length=20)

        class Meta:
            app_label = "tests"

    Row.add_to_class("text", EncryptedTextField(bind_to=("code",)))
    sealed = SealedValue(Row._meta.get_field("text"), b"")
    row = Row.from_db("default", ["id", "code", "text"], [1, "a", sealed])
    row.code = "b"
    assert vars(row)["text"].row == (1, "a")
    with pytest.raises(FieldError, match=r"Row\.text is bound to tests\.Row\.code"):
        Row.objects.update(code="c")


class TestBoundOtherwiseThanBefore:
    @pytest.fixture
    def record(self):
        clinic = Clinic.objects.create(name="here")
        return Record.objects.create(clinic=clinic, secret="s", early="early")

    def test_a_pickle_of_before_belongs_to_the_row_of_its_object(self, record, monkeypatch):
        monkeypatch.setattr("envelope_fields.fields.sealed.apps", apps)
        monkeypatch.setattr("django.db.models.base.apps", apps)
        found = again(record)
        with monkeypatch.context() as before:
            before.setitem(vars(Record._meta.get_field("secret")), "row_names", ("id",))
            vars(found)["secret"].row = found.pk
            pickled = pickle.dumps(found)
        loaded = pickle.loads(pickled)
        assert vars(loaded)["secret"].row is MISSING
        assert vars(loaded)["early"].row is not MISSING
        assert loaded.secret == "s"

    def test_a_copy_takes_no_envelope_that_it_could_not_read(self, record, monkeypatch):
        source = Record._meta.get_field("early")
        source._forget()
        monkeypatch.setattr(source, "previous_bindings", ((),))
        try:
            event = Event(record_id=uuid.uuid4(), clinic=record.clinic)
            event.early = vars(again(record))["early"]
            event.save()
        finally:
            source._forget()
        assert stored(event, "early") != stored(record, "early")
        assert again(event).early == "early"
        store(event, "early", stored(record, "early"))
        assert again(event).early == "early"  # which is bound to the clinic


class Touching(models.IntegerField):
    """Changes another column while its row is made."""

    def pre_save(self, instance, add):
        instance.code += "b"
        return super().pre_save(instance, add)


@pytest.mark.parametrize("order", ["code touching text", "text touching code"])
def test_a_column_that_changes_while_the_row_is_made(order):
    with isolate_apps("tests"):
        fields = {
            "code": models.CharField(max_length=20),
            "touching": Touching(default=0),
            "text": EncryptedTextField(bind_to=("code",)),
        }
        for number, name in enumerate(order.split()):
            fields[name].creation_counter = number
        meta = type("Meta", (), {"app_label": "tests"})
        Row = type("Row", (models.Model,), {**fields, "Meta": meta, "__module__": __name__})
    stays = Row(pk=1, code="a", text="x")
    stays._state.adding = False
    writes = [Row(code="a", text="x").save]
    if order.startswith("code"):  # values are encrypted after all are asked for
        writes.append(stays.save)
    for write in writes:
        with pytest.raises(FieldError, match=r"Row\.code, which changed"), transaction.atomic():
            write()
    with pytest.raises(FieldError, match=r"Row\.code, which changed"), transaction.atomic():
        Row.objects.bulk_create([Row(code="a", text="x")])


def test_a_key_that_is_given_as_text():
    Record.objects.create(secret="s", early="")
    found = Record.objects.only("name").get()
    found.pk = str(found.pk)
    assert found.secret == "s"


@pytest.mark.skipif("not connection.features.supports_update_conflicts_with_target")
def test_a_text_of_a_type_of_its_own_may_be_the_same_as_another():
    with isolate_apps("tests"):

        class Loose(models.TextField):
            def db_type(self, connection):
                return "citext"

        class Row(models.Model):
            code = Loose(unique=True)
            text = EncryptedTextField(bind_to=("code",))

            class Meta:
                app_label = "tests"

        with pytest.raises(FieldError, match=r"Row\.code"), transaction.atomic():
            Row.objects.bulk_create(
                [Row(code="A", text="x")],
                update_conflicts=True,
                unique_fields=["code"],
                update_fields=["text"],
            )
