"""Fields that read another package's format: E090, W090 and W091."""

from datetime import date

import pytest
from django.db import models
from django.test.utils import isolate_apps
from django.utils import timezone

from envelope_fields.checks.conversions import check_conversions
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.legacy import FernetFields
from envelope_fields.models import ColumnConversion, LegacyRead

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def found():
    messages = {str(each.obj): each for each in check_conversions(databases=["default"])}
    return messages["tests.Letter.text"]


def test_conversion_that_has_not_begun():
    assert found().id == "envelope_fields.W090"
    assert found().msg.endswith("the conversion has not begun.")
    LegacyRead.objects.create(
        field="tests.letter.text", day=date(2030, 1, 2), package="django-fernet-fields"
    )
    assert found().msg.endswith("such values were read since 2030-01-02.")


def test_conversion_that_is_under_way():
    ColumnConversion.objects.create(
        model="tests.Letter", field="text", kind="legacy", phase="converting"
    )
    assert f"the conversion began on {timezone.now():%Y-%m-%d}" in found().msg


def test_conversion_that_is_finished():
    ColumnConversion.objects.create(
        model="tests.Letter", field="text", kind="legacy", phase="finished",
        finished_at=timezone.now(),
    )  # fmt: skip
    assert found().id == "envelope_fields.W091"


def test_without_a_database_nothing_is_asked():
    assert check_conversions() == []


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        (lambda row: row.alias, ["envelope_fields.E090"]),
        (lambda row: "default" if row is None else row.alias, []),
        ("default", []),
    ],
)
def test_key_of_a_row(key, ids):
    with isolate_apps("tests"):

        class Thing(models.Model):
            text = EncryptedTextField(key=key, legacy=[FernetFields()])

            class Meta:
                app_label = "tests"

    assert [each.id for each in Thing._meta.get_field("text").check()] == ids
