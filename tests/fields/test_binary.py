"""Values have the type of Django's field and the column that of bytes, for types of one's own."""

import copy
import pickle

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models, transaction
from django.db.models import Case, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Cast, ExtractYear

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from tests.models import Birth, Clinic, Note
from tests.models.own_types import VALUES, Typed
from tests.stored import stored

pytestmark = pytest.mark.django_db

NAMES = list(VALUES)
FIRST = {name: first for name, (first, _) in VALUES.items()}
SECOND = {name: second for name, (_, second) in VALUES.items()}
ROWS = Typed.objects.order_by("pk")


@pytest.fixture(scope="module", autouse=True)
def table(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            editor.create_model(Typed)
        yield
        with connection.schema_editor() as editor:
            editor.delete_model(Typed)


@pytest.fixture
def row(table):
    return Typed.objects.create(title="row", **FIRST)


def values_of(row):
    return {name: getattr(row, name) for name in NAMES}


def types_of(values):
    return {name: type(value) for name, value in values.items()}


def is_stored(values):
    """Whether objects, `values()`, and each column by itself have these, as envelopes."""
    row = ROWS.get()
    assert all(stored(row, name)[0] == 1 for name in NAMES)
    for found in (
        values_of(row),
        ROWS.values(*NAMES).get(),
        ROWS.annotate(**{f"{name}_": F(name) for name in NAMES})
        .values_list(*(f"{name}_" for name in NAMES))
        .get(),
    ):
        if isinstance(found, tuple):
            found = dict(zip(NAMES, found, strict=True))
        assert found == values
        assert types_of(found) == types_of(values)
    return True


INTERNAL_TYPES = {
    "boolean": "BooleanField",
    "char": "CharField",
    "date": "DateField",
    "datetime": "DateTimeField",
    "decimal": "DecimalField",
    "duration": "DurationField",
    "email": "CharField",
    "float": "FloatField",
    "integer": "IntegerField",
    "positive": "PositiveIntegerField",
    "time": "TimeField",
    "uuid": "UUIDField",
}


def test_two_fields_answer():
    bytes_ = models.BinaryField()
    for name in NAMES:
        field = Typed._meta.get_field(name)
        assert field.get_internal_type() == INTERNAL_TYPES[name]
        for ask in ("db_type", "rel_db_type", "cast_db_type", "db_check", "db_parameters"):
            assert getattr(field, ask)(connection) == getattr(bytes_, ask)(connection)
        assert field.binary.get_internal_type() == "BinaryField"
        assert (field.binary, hash(field.binary)) == (field, hash(field))
        assert str(field.binary) == str(field)
    assert Note._meta.get_field("text").get_internal_type() == "TextField"
    assert Note._meta.get_field("data").get_internal_type() == "JSONField"


def test_a_field_of_no_model_yet_is_bytes():
    """Schema editors ask such fields."""
    for field in (EncryptedTextField(), EncryptedJSONField()):
        assert field.get_internal_type() == "BinaryField"
        assert field.db_type(connection) == models.BinaryField().db_type(connection)


def test_copies_have_columns_of_their_own():
    field = Note._meta.get_field("text")
    assert field.binary is field.binary
    for copied in (copy.copy(field), copy.deepcopy(field)):
        assert copied.binary.values is copied
    assert pickle.loads(pickle.dumps(field.binary)) is field.binary
    assert copy.deepcopy(field.binary).values is field


def test_save(row):
    assert is_stored(FIRST)
    for name, value in SECOND.items():
        setattr(row, name, value)
    row.save()
    assert is_stored(SECOND)
    row = ROWS.get()
    row.save()  # nothing was looked at
    assert is_stored(SECOND)
    row.refresh_from_db()
    values_of(row)
    row.save()
    assert is_stored(SECOND)


def test_null(row):
    Typed.objects.create(title="null")
    for queryset in (
        ROWS.all(),
        ROWS.annotate(n=F("decimal")),
        ROWS.defer("decimal"),
        ROWS.only("pk"),
    ):
        row, null = queryset
        assert set(values_of(null).values()) == {None}
        assert values_of(row) == FIRST
    for name in NAMES:
        assert ROWS.get(**{f"{name}__isnull": True}).title == "null"


def test_bulk_create():
    Typed.objects.bulk_create([Typed(title="a", **FIRST), Typed(title="b", **SECOND)])
    first, second = ROWS.all()
    assert (values_of(first), values_of(second)) == (FIRST, SECOND)


def test_bulk_update(row):
    other = Typed.objects.create(title="other", **SECOND)
    for name in NAMES:
        setattr(row, name, SECOND[name])
        setattr(other, name, None)
    Typed.objects.bulk_update([row, other], NAMES)
    first, second = ROWS.all()
    assert values_of(first) == SECOND
    assert set(values_of(second).values()) == {None}
    second.delete()
    assert is_stored(SECOND)


def test_update(row):
    ROWS.update(**SECOND)
    assert is_stored(SECOND)
    fields = {name: Typed._meta.get_field(name) for name in NAMES}
    ROWS.update(**{name: Value(FIRST[name], field) for name, field in fields.items()})
    assert is_stored(FIRST)
    cases = {
        name: Case(
            When(title="row", then=Value(SECOND[name], field)),
            default=Value(FIRST[name], field),
            output_field=field,
        )
        for name, field in fields.items()
    }
    ROWS.update(**cases)
    assert is_stored(SECOND)


def test_update_with_a_cast(row):
    if connection.vendor == "mysql":
        pytest.skip("it casts nothing to a blob")
    fields = {name: Typed._meta.get_field(name) for name in NAMES}
    ROWS.update(**{name: Cast(Value(SECOND[name], field), field) for name, field in fields.items()})
    assert is_stored(SECOND)


def test_update_to_null(row):
    nothing = {name: Value(None, Typed._meta.get_field(name)) for name in NAMES}
    ROWS.update(**nothing)
    assert set(values_of(ROWS.get()).values()) == {None}


@pytest.mark.parametrize("name", NAMES)
def test_subqueries(row, name):
    field = Typed._meta.get_field(name)
    Clinic.objects.create(name="c")
    one = Typed.objects.filter(pk=OuterRef("pk")).values(name)
    any_ = Typed.objects.values(name)[:1]
    for queryset in (
        ROWS.annotate(n=Subquery(one)),
        ROWS.annotate(n=Subquery(one, output_field=field)),
        Clinic.objects.annotate(n=Subquery(any_)),
        Clinic.objects.annotate(n=Subquery(any_, output_field=field)),
        Clinic.objects.annotate(m=Subquery(any_, output_field=field)).annotate(n=F("m")),
    ):
        assert queryset.values_list("n", flat=True).get() == FIRST[name]
        assert queryset.get().n == FIRST[name]


def test_union(row):
    for name in NAMES:
        values = ROWS.order_by().values_list(name, flat=True)
        assert list(values.union(values, all=True)) == [FIRST[name]] * 2
        assert list(values.union(values.filter(title="none"), all=True)) == [FIRST[name]]
    rows = ROWS.order_by()
    assert values_of(rows.union(rows.filter(title="none"), all=True).get()) == FIRST


def test_raw(row):
    (found,) = Typed.objects.raw(f"SELECT * FROM {Typed._meta.db_table}")
    assert values_of(found) == FIRST


def test_a_pickled_query():
    Birth.objects.create(grams=5)
    query = Birth.objects.annotate(n=F("grams")).values("grams", "n").query
    queryset = Birth.objects.all()
    queryset.query = pickle.loads(pickle.dumps(query))
    assert queryset.get() == {"grams": 5, "n": 5}


def test_of_a_migration(row):
    """Fields of a migration are bytes to the schema editor, and read and write as others."""
    from django.db.migrations.state import ModelState, ProjectState

    state = ProjectState()
    state.add_model(ModelState.from_model(Typed))
    model = state.apps.get_model("own_types", "Typed")
    for name in NAMES:
        assert model._meta.get_field(name).get_internal_type() == "BinaryField"
    assert model.objects.values(*NAMES).get() == FIRST
    historical = model.objects.get()
    assert values_of(historical) == FIRST
    model.objects.update(**SECOND)
    assert is_stored(SECOND)


@pytest.mark.parametrize("grams", [2**63, -(2**63) - 1])
def test_ranges_of_numbers(grams):
    """They are those of the type of the values, though the column would hold any."""
    with pytest.raises(ValidationError) as caught:
        Birth(day="2024-02-29", grams=grams).full_clean()
    assert set(caught.value.message_dict) == {"grams"}
    with pytest.raises(ValidationError):
        Typed(title="t", positive=-1).clean_fields()
    with pytest.raises(ValidationError):
        Typed(title="t", decimal="0.00000000001").clean_fields()
    with pytest.raises(ValidationError):
        Typed(title="t", char="x" * 21, email="no address").clean_fields()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (lambda: ROWS.dates("date", "year"), FieldError),
        (lambda: ROWS.datetimes("datetime", "hour"), FieldError),
        (lambda: ROWS.annotate(n=ExtractYear("date")), FieldError),
        (lambda: ROWS.annotate(n=F("integer") + 1), FieldError),
        (lambda: ROWS.annotate(n=F("datetime") - F("datetime")), FieldError),
        (lambda: ROWS.filter(F("boolean")), (FieldError, TypeError)),
        (lambda: ROWS.filter(integer__gt=2**40), FieldError),
        (lambda: ROWS.aggregate(n=models.Sum("decimal")), FieldError),
    ],
)
def test_the_database_computes_nothing(row, query, error):
    with pytest.raises(error), transaction.atomic():
        list(query())
