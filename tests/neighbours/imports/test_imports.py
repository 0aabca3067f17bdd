"""What was exported without the right to read does not come back as the value."""

from datetime import date
from types import SimpleNamespace

import pytest
from import_export import fields
from import_export.resources import ModelResource

from envelope_fields.fields.masks import DOTS
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.neighbours.imports.models import Sample

pytestmark = pytest.mark.django_db

HIDDEN = {
    "secret": "hidden",
    "data": {"a": [1]},
    "size": 7,
    "taken": date(2026, 1, 2),
    "positive": True,
}
VALUES = ("t", "a", *HIDDEN.values())


@pytest.fixture(autouse=True)
def sample():
    create_master_key("lab")
    return Sample.objects.create(title="t", text="a", **HIDDEN)


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("nora")


class SampleResource(ModelResource):
    class Meta:
        model = Sample


@pytest.fixture
def resource():
    return SampleResource()


def exported(resource):
    return resource.export(Sample.objects.all())


def samples():
    with acting_as(APPLICATION):
        return list(Sample.objects.order_by("pk").values_list("title", "text", *HIDDEN))


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
        assert [dataset.dict[0][name] for name in HIDDEN] == [DOTS] * len(HIDDEN)
        result = resource.import_data(dataset)
    assert not result.has_errors()
    assert samples() == [("new", *VALUES[1:])]


@pytest.mark.parametrize("name", HIDDEN)
def test_dots_are_no_value_for_who_may_read(resource, user, name):
    dataset = renamed(exported(resource))
    dataset.dict = [dict(row, **{name: DOTS}) for row in dataset.dict]
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


def test_dots_of_a_column_that_is_not_imported(user):
    class Reading(SampleResource):
        secret = fields.Field("secret", "secret", readonly=True)

    with acting_as(user):
        dataset = exported(Reading())
    dataset.dict = [{"id": row["id"], "secret": row["secret"]} for row in dataset.dict]
    assert not Reading().import_data(dataset).has_errors()
    assert samples() == [VALUES]


def test_columns_of_what_is_no_model():
    column = fields.Field("secret", "secret")
    row = SimpleNamespace(secret="")
    column.save(row, {"secret": "ours"})
    assert column.export(row) == "ours"
    called = []
    row.secret = lambda: called.append(1)
    column.export(row)
    assert called == [1]


def test_the_text_of_an_envelope_is_no_value(resource, sample):
    dataset = exported(resource)
    envelope = Sample._meta.get_field("text").value_to_string(sample)
    dataset.dict = [dict(row, text=envelope) for row in dataset.dict]
    assert resource.import_data(dataset).has_errors()
    assert samples() == [VALUES]


def test_a_blind_index_follows_from_its_value(resource):
    dataset = exported(resource)
    assert dataset.dict[0]["text_index"] == ""
    dataset.dict = [dict(row, text="Other", text_index="AAAA") for row in dataset.dict]
    assert not resource.import_data(dataset).has_errors()
    assert Sample.objects.get(text="other").title == "t"
