"""What chooses values and types by the class of a field: for each type as for the plain field."""

import factory
import pytest
import strawberry
import strawberry_django
from django.core.exceptions import FieldError
from django_filters import FilterSet
from model_bakery import baker, generators
from ninja import ModelSchema

from envelope_fields.fields import add_encrypted_classes
from tests.fields.family import FAMILY
from tests.neighbours.generators.models import NAMES, Everything, Plain
from tests.stored import stored

pytestmark = pytest.mark.django_db

add_encrypted_classes(strawberry_django.fields.types.field_type_map)
add_encrypted_classes(generators.default_mapping)


def values(row):
    return {column: getattr(row, column) for column in NAMES}


def test_model_bakery():
    made = baker.make(Everything)
    made.refresh_from_db()
    plain = baker.make(Plain)
    plain.refresh_from_db()
    for column, value in values(made).items():
        other = getattr(plain, column)
        assert type(value) is (bytes if isinstance(other, memoryview) else type(other))
        assert stored(made, column)[:1] == b"\x01"


def test_factory_boy():
    given = {column: FAMILY[name][1][-1] for column, name in NAMES.items()}
    meta = type("Meta", (), {"model": Everything})
    made = type("EverythingFactory", (factory.django.DjangoModelFactory,), {"Meta": meta, **given})
    made.create_batch(2)
    assert [values(row) for row in Everything.objects.all()] == [given, given]


def test_django_ninja():
    schemas = []
    for kind in (Everything, Plain):
        # It knows no type for bytes of a column that may not be edited, ours or Django's.
        names = [column for column in NAMES if column != "binary"]

        class Schema(ModelSchema):
            class Meta:
                model = kind
                fields = names

        schemas.append(Schema.json_schema()["properties"])
    assert schemas[0] == schemas[1]


def test_strawberry():
    # It has no type for these, ours or Django's.
    names = [column for column in NAMES if column not in ("binary", "duration")]
    printed = []
    for kind in (Everything, Plain):
        annotations = {"__annotations__": dict.fromkeys(names, strawberry.auto)}
        made = strawberry_django.type(kind, name="Row")(type("Row", (), annotations))
        query = type("Query", (), {"__annotations__": {"row": made}})
        printed.append(str(strawberry.Schema(strawberry.type(query))))
    assert printed[0] == printed[1]
    assert "decimal: Decimal!" in printed[0]


def test_django_filter():
    kind = type("Meta", (), {"model": Everything, "fields": "__all__", "exclude": ["binary"]})
    made = type("Filters", (FilterSet,), {"Meta": kind})
    plain = type("Meta", (), {"model": Plain, "fields": "__all__", "exclude": ["binary"]})
    twin = type("Filters", (FilterSet,), {"Meta": plain})
    assert {name: type(each) for name, each in made.base_filters.items()} == {
        name: type(each) for name, each in twin.base_filters.items()
    }
    for column, name in NAMES.items():
        if column == "binary":
            continue
        value = str(FAMILY[name][1][-1])
        found = made({column: value}, queryset=Everything.objects.all())
        assert found.is_valid(), found.errors
        with pytest.raises(FieldError, match=rf"generators\.Everything\.{column} is encrypted"):
            len(found.qs)
