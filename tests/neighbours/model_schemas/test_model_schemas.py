"""Schemas that django-ninja makes of a model: it chooses types by `get_internal_type()`."""

import pytest
from ninja import ModelSchema
from pydantic import ValidationError

from tests.neighbours.model_schemas.models import Patient

pytestmark = pytest.mark.django_db


class PatientSchema(ModelSchema):
    class Meta:
        model = Patient
        fields = ("notes", "maybe", "record", "weight")


def test_types_are_those_of_the_values():
    properties = PatientSchema.json_schema()["properties"]
    assert properties["notes"]["type"] == "string"
    assert properties["maybe"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["record"]["type"] == "object"
    assert properties["weight"]["type"] == "integer"


def test_values_go_in_and_out():
    given = {"notes": "a", "maybe": None, "record": {"blood": "0"}, "weight": 70}
    Patient.objects.create(**PatientSchema(**given).dict())
    assert PatientSchema.from_orm(Patient.objects.get()).dict() == given
    with pytest.raises(ValidationError):
        PatientSchema(**{**given, "weight": "heavy"})
