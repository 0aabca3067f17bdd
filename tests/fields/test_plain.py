"""What the field class of a package makes of values stays when they are encrypted.

Each class is tried as it is, as `encrypted()` makes one of it, and in a class of a project.
"""

from itertools import count

import pytest
from django.apps.registry import Apps
from django.db import connection, models

from envelope_fields.fields import (
    EncryptedCharField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
    encrypted,
)
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)


class Listed(models.TextField):
    """Lists as a text, which only the database's text is made of."""

    def to_python(self, value):
        return value.split(",") if isinstance(value, str) else value

    def from_db_value(self, value, expression, connection):
        return None if value is None else value.split(",")

    def get_prep_value(self, value):
        return None if value is None else ",".join(value)


class ListedLate(Listed):
    get_prep_value = models.TextField.get_prep_value

    def get_db_prep_value(self, value, connection, prepared=False):
        return None if value is None else ",".join(value)


class Shouted(models.CharField):
    def get_db_prep_save(self, value, connection):
        value = super().get_db_prep_save(value, connection)
        return value and value.upper()


class Quoted(models.Field):
    """Of no field of Django's."""

    def get_internal_type(self):
        return "TextField"

    def get_db_prep_value(self, value, connection, prepared=False):
        return None if value is None else f"<{value}>"

    def from_db_value(self, value, expression, connection):
        return None if value is None else value[1:-1]


class EmptyIsNull(models.CharField):
    """As those that are unique, and may be left out."""

    def from_db_value(self, value, expression, connection):
        return value or ""

    def get_prep_value(self, value):
        return super().get_prep_value(value) or None


class Flag(models.IntegerField):
    def from_db_value(self, value, expression, connection):
        return None if value is None else value > 0


class Record(models.JSONField):
    def from_db_value(self, value, expression, connection):
        value = super().from_db_value(value, expression, connection)
        return None if value is None else {**value, "read": True}


class Stripped:
    def __init__(self, field):
        self.name = field.name

    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance, value):
        instance.__dict__[self.name] = value.strip() if isinstance(value, str) else value


class StrippedField(models.CharField):
    def contribute_to_class(self, cls, name, **options):
        super().contribute_to_class(cls, name, **options)
        setattr(cls, name, Stripped(self))


CASES = {
    "from_db_value": (Listed, EncryptedTextField, ["a", "b"]),
    "get_db_prep_value": (ListedLate, EncryptedTextField, ["a", "b"]),
    "get_db_prep_save": (Shouted, EncryptedCharField, "aB"),
    "neither type": (Quoted, None, "x"),
    "null of nothing": (EmptyIsNull, EncryptedCharField, ""),
    "a text": (EmptyIsNull, EncryptedCharField, "a"),
    "a number": (Flag, EncryptedIntegerField, 7),
    "JSON": (Record, EncryptedJSONField, {"a": [1, "5"]}),
    "Django's JSON": (models.JSONField, EncryptedJSONField, {"a": [1, "5"]}),
    "a text in JSON": (models.JSONField, EncryptedJSONField, "5"),
    "attribute": (StrippedField, EncryptedCharField, " x "),
}
_numbers = count()


def model_of(field):
    options = {"app_label": "plain", "apps": Apps(), "db_table": f"plain_{next(_numbers)}"}
    body = {"__module__": __name__, "Meta": type("Meta", (), options), "value": field}
    return type("Row", (models.Model,), body)


def kinds_of(plain_class, ours):
    options = {
        "null": True,
        **({"max_length": 20} if issubclass(plain_class, models.CharField) else {}),
    }
    yield encrypted(plain_class(**options))
    if ours is not None:
        yield type("Own", (ours, plain_class), {"__module__": __name__})(**options)
    yield plain_class(**options)


def known_of(model, value):
    """Return what is known of a value, by each way to write and to read it."""
    rows, known = model.objects.order_by("pk"), []
    model.objects.bulk_create([model(value=value), model(value=None)])
    known += [row.value for row in rows]
    row = rows[0]
    row.save()
    known += [rows[0].value, row.value]
    row.value = value
    row.save()
    known += [each.value for each in rows.iterator()]
    model.objects.update(value=value)
    known += rows.values_list("value", flat=True)
    known.append(rows.filter(value__isnull=True).count())
    return known


@pytest.mark.parametrize(("plain_class", "ours", "value"), CASES.values(), ids=CASES.keys())
def test_values_are_those_of_the_plain_field(plain_class, ours, value):
    found = []
    for field in kinds_of(plain_class, ours):
        model = model_of(field)
        assert not [each for each in model._meta.get_field("value").check() if each.is_serious()]
        with connection.schema_editor() as editor:
            editor.create_model(model)
        try:
            found.append(known_of(model, value))
            if hasattr(field, "to_plaintext"):
                assert {
                    stored(row, "value")[:1] for row in model.objects.filter(value__isnull=False)
                } <= {b"\x01"}
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(model)
    assert all(each == found[-1] for each in found), found
