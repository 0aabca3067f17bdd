"""GraphQL types that graphene-django makes of models: it chooses by the class of a field."""

import graphene
import pytest
from graphene_django import DjangoObjectType

from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import acting_as
from tests.fields.family import FAMILY
from tests.neighbours.graphql_types.models import NAMES, Everything, Plain

pytestmark = pytest.mark.django_db


def schema_of(kind):
    """Return a GraphQL schema whose query gives all rows of a model."""
    meta = type("Meta", (), {"model": kind, "name": "Row", "fields": [*NAMES, "maybe"]})
    row = type(f"{kind.__name__}Type", (DjangoObjectType,), {"Meta": meta})
    query = {
        "rows": graphene.List(graphene.NonNull(row)),
        "resolve_rows": lambda *_: kind.objects.order_by("pk"),
    }
    return graphene.Schema(query=type("Query", (graphene.ObjectType,), query))


ENCRYPTED, PLAIN = map(schema_of, (Everything, Plain))


def test_types_are_those_of_the_plain_fields():
    assert str(ENCRYPTED) == str(PLAIN)
    for line in ("date: Date!", "decimal: Decimal!", "uuid: UUID!", "boolean: Boolean!"):
        assert line in str(ENCRYPTED)
    assert '"""day of birth"""' not in str(ENCRYPTED)  # it shows help texts
    assert "maybe: Date\n" in str(ENCRYPTED)


def test_values_are_those_of_the_plain_fields():
    # As of Django's field, a duration is no number that the type of graphene could show.
    shown = [column for column in NAMES if column != "duration"]
    for position in (0, -1):
        given = {column: FAMILY[name][1][position] for column, name in NAMES.items()}
        for kind in (Everything, Plain):
            kind.objects.create(**given)
    query = f"{{ rows {{ {' '.join([*shown, 'maybe'])} }} }}"
    ours, plain = ENCRYPTED.execute(query), PLAIN.execute(query)
    assert (ours.errors, plain.errors) == (None, None)
    assert ours.data == plain.data
    assert len(ours.data["rows"]) == 2


def test_a_value_that_may_not_be_read(django_user_model):
    """A type of dates can show no dots: the query reports it at the field, and goes on."""
    create_master_key("lab")
    given = {column: FAMILY[name][1][0] for column, name in NAMES.items()}
    Everything.objects.create(**given, maybe="2024-02-29")
    with acting_as(django_user_model.objects.create_user("nora")):
        found = ENCRYPTED.execute("{ rows { char maybe } }")
    assert found.data == {"rows": [{"char": "", "maybe": None}]}
    assert [each.path for each in found.errors] == [["rows", 0, "maybe"]]
    assert "2024" not in str(found.errors)
