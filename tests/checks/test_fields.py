"""What one field declares."""

import pytest
from django.db import models

from envelope_fields.fields import (
    EncryptedFieldMixin,
    EncryptedJSONField,
    EncryptedTextField,
    encrypted,
)

pytestmark = pytest.mark.any_database


def by_tenant(instance):
    return "tenant"


class ByTenant:
    def __call__(self, instance):
        return "tenant"


def declare(field):
    class Patient(models.Model):
        born = models.DateField()
        notes = field

    return Patient


SOUND = {
    "bare": {},
    "text": {"max_length": 5, "blank": True, "null": True, "default": "x", "choices": [("x", "X")]},
    "column": {"db_column": "n", "db_comment": "encrypted", "unique": False, "db_index": False},
    "masked": {"on_denied": "mask"},
    "alias": {"key": "lab/results_2.eu:main@x-1"},
    "function": {"key": by_tenant},
    "callable": {"key": ByTenant()},
    "class": {"key": ByTenant},
    "label": {"context": "ward.patient.notes"},
    "labels": {"previous_contexts": ["clinic.person.notes", "n"]},
    "short label": {"previous_contexts": ["n"]},
}

UNSOUND = [
    ({"unique": True}, "E010"),
    ({"primary_key": True}, "E011"),
    ({"db_index": True}, "E012"),
    ({"unique_for_date": "born"}, "E013"),
    ({"unique_for_month": "born"}, "E013"),
    ({"unique_for_year": "born"}, "E013"),
    ({"db_default": "x"}, "E014"),
    ({"db_default": models.Value("x")}, "E014"),
    ({"db_default": None}, "E014"),
    ({"on_denied": "hide"}, "E008"),
    ({"key": 5}, "E016"),
    ({"key": b"default"}, "E016"),
    ({"key": ""}, "E016"),
    ({"key": "two words"}, "E016"),
    ({"key": "/begins"}, "E016"),
    ({"key": "line\n"}, "E016"),
    ({"key": "x" * 201}, "E016"),
    ({"context": ""}, "E017"),
    ({"context": 5}, "E017"),
    ({"context": b"ward.patient.notes"}, "E017"),
    ({"copy_of": "notes"}, "E025"),
    ({"copy_of": "tests.Missing.notes"}, "E025"),
    ({"copy_of": "tests.Patient.missing"}, "E025"),
    ({"copy_of": "tests.Patient.born"}, "E025"),
    ({"previous_contexts": [5]}, "E018"),
    ({"previous_contexts": [None]}, "E018"),
    ({"previous_contexts": [""]}, "E018"),
    ({"previous_contexts": "clinic.person.notes"}, "E018"),
    ({"previous_contexts": ["tests.patient.notes"]}, "E018"),
    ({"context": "pinned.to.this", "previous_contexts": ["a.b.c", "pinned.to.this"]}, "E018"),
]


@pytest.mark.parametrize("options", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("kind", [EncryptedTextField, EncryptedJSONField])
def test_a_sound_field_is_silent(kind, options, registry, ids):
    declare(kind(**options))
    assert [number for number in ids() if number != "W002"] == []


@pytest.mark.parametrize(("options", "number"), UNSOUND, ids=str)
@pytest.mark.parametrize("kind", [EncryptedTextField, EncryptedJSONField])
def test_an_unsound_field_is_reported_once(kind, options, number, registry, ids):
    declare(kind(**options))
    assert [reported for reported in ids() if reported != "W002"] == [number]


def test_a_history_that_cannot_have_what_is_masked(registry, ids):
    class Patient(models.Model):
        notes = EncryptedTextField(key="lab", on_denied="mask")

    def history(**options):
        field = EncryptedTextField(**options)
        registry.all_models["tests"].pop("history", None)
        attributes = {"__module__": __name__, "instance_type": Patient, "notes": field}
        type("History", (models.Model,), attributes)
        return [number for number in ids() if number != "W002"]

    assert history() == ["E026"]
    assert history(null=True) == []
    assert history(copy_of="tests.Patient.notes") == []


def test_a_collation_is_reported(registry, ids):
    declare(EncryptedTextField(db_collation="C"))
    assert ids() == ["E015"]


def test_what_is_wrong_in_several_ways_is_reported_in_each(registry, ids):
    declare(EncryptedTextField(unique=True, db_index=True, db_default="x", key=5, context=""))
    assert ids() == ["E010", "E012", "E014", "E016", "E017"]


class Halved(models.IntegerField):
    def get_db_prep_value(self, value, connection, prepared=False):
        return value and value // 2


class Shouted(models.TextField):
    def get_db_prep_value(self, value, connection, prepared=False):
        return value and value.upper()


class ShoutedAbove(EncryptedTextField):
    get_db_prep_value = Shouted.get_db_prep_value


class Own(EncryptedFieldMixin, Halved):
    def to_plaintext(self, value):
        return str(value // 2).encode()


@pytest.mark.parametrize(
    ("field", "found"),
    [(encrypted(Halved()), ["E033"]), (ShoutedAbove(), ["E033"]), (encrypted(Shouted()), []),
     (Own(), [])],
    ids=["number", "above", "text", "own"],
)  # fmt: skip
def test_preparing_that_is_not_asked_is_reported(registry, ids, field, found):
    declare(field)
    assert ids() == found


def test_a_message_names_the_field_and_the_way_out(registry, report):
    model = declare(EncryptedTextField(unique=True))
    (message,) = report()
    assert message.obj is model._meta.get_field("notes")
    assert str(message).startswith("tests.Patient.notes: (envelope_fields.E010) 'unique' is not")
    assert "blind index" in message.hint


def test_a_field_of_an_abstract_base_is_checked_in_each_child(registry, ids):
    class Base(models.Model):
        notes = EncryptedTextField(unique=True)

        class Meta:
            abstract = True

    class First(Base):
        pass

    class Second(Base):
        pass

    assert ids() == ["E010", "E010"]
