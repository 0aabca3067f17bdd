"""What models declare about encrypted columns."""

import pytest
from django.apps import apps as installed_apps
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.db import connection, models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat, Length, Lower
from django.db.models.lookups import Exact, IsNull

from envelope_fields.fields import EncryptedArrayField, EncryptedJSONField, EncryptedTextField


def declare(*, bases=(models.Model,), columns=None, **meta):
    """Define a patient with plain and encrypted columns, and these options."""
    columns = columns or {}
    attributes = {
        "__module__": __name__,
        "title": models.TextField(),
        "notes": EncryptedTextField(null=True),
        "record": EncryptedJSONField(default=dict),
        "Meta": type("Meta", (), meta),
        **columns,
    }
    return type("Patient", bases, attributes)


SOUND = {
    "nothing": {},
    "index": {"indexes": [models.Index(fields=["title"])]},
    "index of an expression": {"indexes": [models.Index(Lower("title"), name="i")]},
    "literal of the same name": {
        "indexes": [models.Index(fields=["title"], name="i", condition=Q(title="notes"))]
    },
    "index where there is a value": {
        "indexes": [models.Index(fields=["title"], name="i", condition=Q(notes__isnull=False))]
    },
    "constraint on nulls": {
        "constraints": [
            models.CheckConstraint(
                name="c", condition=Q(notes__isnull=True) | ~Q(title="") | Q(notes=None)
            ),
            models.CheckConstraint(name="d", condition=IsNull(F("notes"), True)),
            models.UniqueConstraint(name="u", fields=["title"], condition=Q(record__isnull=False)),
        ]
    },
    "unique together": {"unique_together": [("title", "id")]},
    "ordering": {"ordering": ["-title", "pk", F("title").desc(), Lower("title"), "?"]},
    "latest": {"get_latest_by": ["-title", "id"]},
    "generated": {
        "columns": {
            "lower": models.GeneratedField(
                expression=Lower("title"), output_field=models.TextField(), db_persist=True
            )
        }
    },
    "array": {"columns": {"tags": ArrayField(ArrayField(models.TextField()))}},
    "slug": {
        "columns": {"day": models.DateField(), "slug": models.SlugField(unique_for_date="day")}
    },
    "not Django's": {"ordering": ["missing", "title__missing"], "get_latest_by": "missing"},
}


def index(*expressions, **options):
    return {"indexes": [models.Index(*expressions, name="i", **options)]}


def constraint(kind, **options):
    return {"constraints": [kind(name="c", **options)]}


UNSOUND = [
    (index(fields=["notes"]), "E020"),
    (index(fields=["title", "-notes"]), "E020"),
    (index(fields=["title"], include=["notes"]), "E020"),
    (index(fields=["title"], condition=Q(title="") | ~Q(notes="")), "E020"),
    (index(fields=["title"], condition=Q(Exact(F("notes"), Value("")))), "E020"),
    (index(fields=["title"], condition=Q(title=F("notes"))), "E020"),
    (index(Lower("notes").desc()), "E020"),
    (index("notes"), "E020"),
    (index(F("record__age")), "E020"),
    (index(F("notes")[:3]), "E020"),
    (constraint(models.UniqueConstraint, fields=["notes"]), "E021"),
    (constraint(models.UniqueConstraint, fields=["title"], include=["notes"]), "E021"),
    (constraint(models.UniqueConstraint, fields=["title"], condition=Q(notes="x")), "E021"),
    (
        {"constraints": [models.UniqueConstraint(Concat("title", Lower("notes")), name="c")]},
        "E021",
    ),
    (constraint(models.CheckConstraint, condition=Q(notes__startswith="x")), "E021"),
    (constraint(models.CheckConstraint, condition=Q(record__age__gte=18)), "E021"),
    (constraint(models.CheckConstraint, condition=Exact(Length("notes"), 5)), "E021"),
    (
        constraint(ExclusionConstraint, expressions=[("notes", RangeOperators.EQUAL)]),
        "E021",
    ),
    (
        constraint(
            ExclusionConstraint,
            expressions=[(F("title"), RangeOperators.EQUAL)],
            include=["notes"],
        ),
        "E021",
    ),
    (
        constraint(
            ExclusionConstraint,
            expressions=[("title", RangeOperators.EQUAL)],
            condition=Q(notes="x"),
        ),
        "E021",
    ),
    ({"unique_together": [("title", "notes")]}, "E022"),
    ({"unique_together": ("title", "notes")}, "E022"),
    ({"ordering": ["notes"]}, "E023"),
    ({"ordering": ["title", "-notes"]}, "E023"),
    ({"ordering": [F("notes")]}, "E023"),
    ({"ordering": [F("notes").desc(nulls_last=True)]}, "E023"),
    ({"ordering": [models.OrderBy(Lower("notes"))]}, "E023"),
    ({"ordering": ["record__age"]}, "E023"),
    ({"get_latest_by": "notes"}, "E023"),
    ({"get_latest_by": ["title", "-notes"]}, "E023"),
]


@pytest.mark.parametrize("options", SOUND.values(), ids=SOUND)
def test_a_sound_model_is_silent(options, registry, ids):
    declare(**options)
    assert ids() == []


@pytest.mark.parametrize(("options", "number"), UNSOUND)
def test_an_unsound_model_is_reported_once(options, number, registry, ids):
    declare(**options)
    assert ids() == [number]


def test_a_field_is_reported_once_for_each_index_that_refers_to_it(registry, report):
    model = declare(
        indexes=[
            models.Index(fields=["notes", "-notes"], name="first"),
            models.Index(fields=["notes", "record"], name="second"),
        ]
    )
    messages = report()
    assert [message.msg for message in messages] == [
        "The index 'first' refers to the encrypted field tests.Patient.notes.",
        "The index 'second' refers to the encrypted field tests.Patient.notes.",
        "The index 'second' refers to the encrypted field tests.Patient.record.",
    ]
    assert all(message.obj is model for message in messages)


def test_a_composite_primary_key_is_reported(registry, ids):
    declare(columns={"pk": models.CompositePrimaryKey("title", "notes")})
    assert ids() == ["E011"]


def test_a_composite_primary_key_of_plain_columns_is_silent(registry, ids):
    declare(
        columns={
            "pk": models.CompositePrimaryKey("ward", "bed"),
            "ward": models.IntegerField(),
            "bed": models.IntegerField(),
        },
        ordering=["pk"],
    )
    assert ids() == []


@pytest.mark.parametrize("period", ["date", "month", "year"])
def test_unique_for_a_period_of_an_encrypted_field_is_reported(period, registry, ids):
    declare(columns={"slug": models.SlugField(**{f"unique_for_{period}": "notes"})})
    assert ids() == ["E013"]


@pytest.mark.parametrize("expression", [F("notes"), Lower("notes"), F("record__age")], ids=str)
def test_a_generated_column_over_an_encrypted_field_is_reported(expression, registry, ids):
    column = models.GeneratedField(
        expression=expression, output_field=models.TextField(), db_persist=True
    )
    declare(columns={"copy": column})
    assert ids() == ["E024"]


def test_a_generated_column_cannot_be_encrypted(registry, report):
    column = models.GeneratedField(
        expression=Lower("title"), output_field=EncryptedTextField(), db_persist=True
    )
    model = declare(columns={"copy": column})
    (message,) = report()
    assert (message.id, message.obj) == (
        "envelope_fields.E019",
        model._meta.get_field("copy"),
    )


@pytest.mark.parametrize(
    "field",
    [
        ArrayField(EncryptedTextField()),
        ArrayField(ArrayField(EncryptedJSONField())),
        EncryptedArrayField(EncryptedTextField()),
    ],
    ids=["array", "array of arrays", "encrypted array"],
)
def test_an_array_of_encrypted_values_is_reported(field, registry, ids):
    declare(columns={"tags": field})
    assert ids() == ["E019"]


def test_what_is_silent_about_nulls_can_be_made(registry, transactional_db):
    model = declare(**SOUND["constraint on nulls"])
    with connection.schema_editor() as editor:
        editor.create_model(model)
    with connection.schema_editor() as editor:
        editor.delete_model(model)


class TestRelations:
    @pytest.mark.parametrize(
        "path",
        ["patient__notes", "-patient__notes", "patient__record__age", "nurse__patient__notes"],
    )
    def test_ordering_by_a_related_encrypted_field_is_reported(self, path, registry, ids):
        Patient = declare()

        class Nurse(models.Model):
            patient = models.ForeignKey(Patient, models.CASCADE)

        class Visit(models.Model):
            patient = models.ForeignKey(Patient, models.CASCADE)
            nurse = models.ForeignKey(Nurse, models.CASCADE)

            class Meta:
                ordering = [path]

        assert ids() == ["E023"]

    def test_ordering_by_a_reverse_relation_is_reported(self, registry, ids):
        class Ward(models.Model):
            class Meta:
                ordering = [F("patient__notes").asc()]

        declare(columns={"ward": models.ForeignKey(Ward, models.CASCADE)})
        assert ids() == ["E023"]

    def test_ordering_by_the_relation_itself_is_silent(self, registry, ids):
        Patient = declare()

        class Visit(models.Model):
            patient = models.ForeignKey(Patient, models.CASCADE)

            class Meta:
                ordering = ["patient", "patient_id", "patient__title", "patient__pk"]

        assert ids() == []

    def test_a_relation_to_a_model_that_is_missing_is_left_to_django(self, registry, ids):
        class Visit(models.Model):
            patient = models.ForeignKey("tests.Missing", models.CASCADE)

            class Meta:
                ordering = ["patient__notes"]

        assert ids() == []


class TestInheritance:
    def test_an_inherited_column_is_reported_in_the_child_that_orders_by_it(self, registry, report):
        class Child(declare()):
            class Meta:
                ordering = ["notes"]

        (message,) = report()
        assert message.obj is Child

    def test_a_proxy_repeats_no_index(self, registry, ids):
        class Proxy(declare(indexes=[models.Index(fields=["notes"], name="i")])):
            class Meta:
                proxy = True

        assert ids() == ["E020"]


@pytest.mark.parametrize(
    "options", [{"unique_together": 42}, {"ordering": 42}, {"get_latest_by": 42}], ids=str
)
def test_what_django_reports_does_not_stop_the_checks(options, registry, ids):
    declare(**options)
    assert ids() == []


@pytest.mark.django_db
def test_no_database_warns_of_our_own_models():
    """As Django does on MariaDB of a text that is unique, and longer than 255."""
    ours = installed_apps.get_app_config("envelope_fields").get_models()
    assert [each for model in ours for each in model.check(databases=["default"])] == []
