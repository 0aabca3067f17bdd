"""Every type of the family: what is read from either column is the same value."""

import traceback

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from envelope_fields.fields import EncryptedArrayField, EncryptedJSONField, encrypted
from envelope_fields.models import ColumnConversion, ColumnPhase
from tests.fields.family import FAMILY, encrypted as of_family, exactly, plain
from tests.models.converting import set_phase
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)


JSON_NULL = getattr(models, "JSONNull", lambda: models.Value(None, models.JSONField()))


class Colour(models.TextChoices):
    RED = "red"


def declared(name):
    """Return the field in clear and the encrypted one of a type."""
    if name == "JSON":
        return models.JSONField(null=True), EncryptedJSONField(null=True, converts="clear")
    if name == "Choices":
        clear = models.CharField(null=True, max_length=9, choices=Colour)
        return clear, encrypted(clear.clone(), converts="clear")
    if name == "UpperCase":
        clear = UpperCaseField(null=True)
        return clear, encrypted(clear.clone(), converts="clear")
    if name == "Array":
        options = {"base_field": models.DateField(), "null": True}
        return ArrayField(**options), EncryptedArrayField(**options, converts="clear")
    return plain(name, null=True), of_family(name, null=True, converts="clear")


VALUES = {
    **{name: values for name, (_, values) in FAMILY.items()},
    "JSON": [{}, [], "", 0, False, {"a": [1, None, "Zoë"]}],
    "Choices": [Colour.RED],
    "Array": [[]],
}


@pytest.fixture
def thing(request):
    """A model with a field of a type under conversion, and its table."""
    if request.param == "Array" and connection.vendor != "postgresql":
        pytest.skip("PostgreSQL has arrays")
    clear_field, value_field = declared(request.param)
    with isolate_apps("tests"):

        class Converted(models.Model):
            clear = clear_field
            value = value_field

            class Meta:
                app_label = "tests"

    with connection.schema_editor() as editor:
        editor.create_model(Converted)
    yield Converted
    ColumnConversion.objects.all().delete()
    with connection.schema_editor() as editor:
        editor.delete_model(Converted)


def as_read(value):
    return str(value) if isinstance(value, Colour) else value


@pytest.mark.parametrize(
    ("thing", "values"), VALUES.items(), ids=VALUES, indirect=["thing"]
)  # fmt: skip
def test_a_value_is_the_same_in_every_phase(thing, values):
    for value in values:
        expected = as_read(value)
        for phase in ColumnPhase:
            set_phase(thing, "value", phase)
            created = thing.objects.create(value=value)
            updated, bulk = thing.objects.create(), thing.objects.create(value=value)
            thing.objects.filter(pk=updated.pk).update(value=value)
            bulk.value = value
            thing.objects.bulk_update([bulk, thing.objects.create()], ["value"])
            rows = created.pk, updated.pk, bulk.pk
            for row in rows:
                assert exactly(thing.objects.get(pk=row).value, expected)
                assert exactly(thing.objects.get(pk=row).clear, expected)
                found = thing.objects.filter(pk=row).values_list("value", "clear").get()
                assert exactly(found[0], expected)
                assert exactly(found[1], expected)
                raw = thing.objects.raw("SELECT * FROM tests_converted WHERE id = %s", [row])
                assert exactly(raw[0].value, expected)
                assert (stored(raw[0], "value") is None) is not phase.writes_new
                assert (stored(raw[0], "clear") is None) is not phase.writes_old
            if not phase.reads_new and thing._meta.get_field("clear").get_lookup("exact"):
                assert created in thing.objects.filter(value=value)
            thing.objects.all().delete()


@pytest.mark.parametrize(
    ("thing", "values"), VALUES.items(), ids=VALUES, indirect=["thing"]
)  # fmt: skip
def test_what_a_plain_column_had_is_read_and_saved(thing, values):
    """The plain field's own converters read it, and the encrypted field stores what they give."""
    for value in values:
        set_phase(thing, "value", "clear")
        row = thing.objects.create(value=value)
        for phase in ("both", "verified", "encrypted", "only"):
            set_phase(thing, "value", phase)
            if phase == "both":
                thing.objects.get(pk=row.pk).save()
            assert exactly(thing.objects.get(pk=row.pk).value, as_read(value))
        thing.objects.all().delete()


@pytest.mark.parametrize("thing", ["JSON"], indirect=True)
def test_null_of_json(thing):
    for phase in ColumnPhase:
        set_phase(thing, "value", phase)
        null = (
            models.JSONNull()
            if hasattr(models, "JSONNull")
            else models.Value(None, models.JSONField())
        )
        created = thing.objects.create(value=null)
        updated = thing.objects.create(value={})
        thing.objects.filter(pk=updated.pk).update(value=null)
        for row in (created, updated):
            assert (stored(row, "clear") == "null") is phase.writes_old
            assert (stored(row, "value") is not None) is phase.writes_new
            assert not thing.objects.filter(pk=row.pk, value__isnull=True).exists()
            assert thing.objects.get(pk=row.pk).value is None


@pytest.mark.parametrize("thing", ["JSON"], indirect=True)
@pytest.mark.parametrize("phase", ["both", "only"])
def test_errors_about_a_value_show_nothing_of_it(thing, phase):
    set_phase(thing, "value", phase)
    row = thing.objects.create(value={})
    secret = {"a secret": object()}
    row.value = secret
    for write in (
        lambda: thing.objects.create(value=secret),
        lambda: thing.objects.bulk_create([thing(value=secret)]),
        row.save,
        lambda: row.save(update_fields=["value"]),
        lambda: thing.objects.bulk_update([row], ["value"]),
        lambda: thing.objects.update(value=secret),
    ):
        with pytest.raises(TypeError) as caught, transaction.atomic():
            write()
        ours = [
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(caught.value.__traceback__)
            if frame.f_globals["__name__"].startswith("envelope_fields.")
        ]
        assert "a secret" not in "".join([str(caught.value), *ours])


class UpperCaseField(models.TextField):
    def get_prep_value(self, value):
        return value and super().get_prep_value(value).upper()


@pytest.mark.parametrize("thing", ["UpperCase"], indirect=True)
def test_a_field_of_a_project_prepares_its_texts(thing):
    set_phase(thing, "value", "both")
    created, updated = thing.objects.create(value="Zoë"), thing.objects.create()
    thing.objects.filter(pk=updated.pk).update(value="Zoë")
    assert stored(created, "clear") == stored(updated, "clear") == "ZOË"
