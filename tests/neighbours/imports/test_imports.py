"""What was exported without the right to read does not come back as the value."""

import json

import pytest
from import_export.fields import Field
from import_export.resources import ModelResource
from import_export.widgets import JSONWidget

from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.neighbours.imports.models import Sample

pytestmark = pytest.mark.django_db

VALUES = ("t", "a", "hidden", {"a": [1]})


@pytest.fixture(autouse=True)
def sample():
    create_master_key("lab")
    return Sample.objects.create(title="t", text="a", secret="hidden", data={"a": [1]})


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("nora")


class MaskedJSONWidget(JSONWidget):
    """As docs/how-to/drafts-and-histories.md has it."""

    def render(self, value, *args, **kwargs):
        value = str(value) if isinstance(value, Mask) else value
        return super().render(value, *args, **kwargs)


class SampleResource(ModelResource):
    data = Field(column_name="data", attribute="data", widget=MaskedJSONWidget())

    class Meta:
        model = Sample


@pytest.fixture
def resource():
    return SampleResource()


def exported(resource):
    return resource.export(Sample.objects.all())


def samples():
    with acting_as(APPLICATION):
        return list(Sample.objects.order_by("pk").values_list("title", "text", "secret", "data"))


def renamed(dataset):
    rows = [dict(row, title="new") for row in dataset.dict]
    dataset.dict = rows
    return dataset


def test_round_trip(resource):
    dataset = renamed(exported(resource))
    assert not resource.import_data(dataset).has_errors()
    assert samples() == [("new", *VALUES[1:])]


def test_dots_over_masks_leave_the_values(resource, user):
    with acting_as(user):
        dataset = renamed(exported(resource))
        assert dataset.dict[0]["secret"] == json.loads(dataset.dict[0]["data"]) == DOTS
        result = resource.import_data(dataset)
    assert not result.has_errors()
    assert samples() == [("new", *VALUES[1:])]


def test_dots_are_no_value_for_who_may_read(resource, user):
    with acting_as(user):
        dataset = renamed(exported(resource))
    result = resource.import_data(dataset)
    assert result.has_errors()
    assert "dots" in str(result.row_errors()[0][1][0].error)
    assert samples() == [VALUES]


def test_dots_are_no_value_for_a_new_row(resource, user):
    with acting_as(user):
        dataset = exported(resource)
        dataset.dict = [dict(row, id="") for row in dataset.dict]
        result = resource.import_data(dataset)
    assert result.has_errors()
    assert samples() == [VALUES]


def test_the_text_of_an_envelope_is_no_value(resource, sample):
    dataset = exported(resource)
    envelope = Sample._meta.get_field("text").value_to_string(sample)
    dataset.dict = [dict(row, text=envelope) for row in dataset.dict]
    assert resource.import_data(dataset).has_errors()
    assert samples() == [VALUES]
