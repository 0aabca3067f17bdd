"""Models whose columns move: each beside the model that an old build has of the same table.

They are in registries of their own; their tables are made by the tests that need them.
"""

from django.db import models

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedBinaryField,
    EncryptedBooleanField,
    EncryptedCharField,
    EncryptedDateField,
    EncryptedDateTimeField,
    EncryptedDecimalField,
    EncryptedDurationField,
    EncryptedFloatField,
    EncryptedGenericIPAddressField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
    EncryptedTimeField,
    EncryptedUUIDField,
)
from tests.models.tables import Registry

apps = Registry("moving")
old_apps = Registry("moving_old")


def _clear(kind, column, **options):
    return kind(null=True, blank=True, editable=False, db_column=column, **options)


def _moved(kind, name, **options):
    return kind(null=True, converts=f"{name}_clear", db_column=f"{name}_encrypted", **options)


class Visit(models.Model):
    report_clear = _clear(models.TextField, "report")
    report = _moved(EncryptedTextField, "report")
    ward = models.CharField(max_length=20, default="")

    class Meta:
        apps = apps
        app_label = "moving"
        db_table = "Moving Visits"


class OldVisit(models.Model):
    report = models.TextField(null=True)
    ward = models.CharField(max_length=20, default="")

    class Meta:
        apps = old_apps
        app_label = "moving_old"
        db_table = "Moving Visits"


class BoundVisit(models.Model):
    report_clear = _clear(models.TextField, "report")
    report = _moved(EncryptedTextField, "report", bind_to=("ward",))
    ward = models.CharField(max_length=20)

    class Meta:
        apps = apps
        app_label = "moving"


class OldBoundVisit(models.Model):
    report = models.TextField(null=True)
    ward = models.CharField(max_length=20)

    class Meta:
        apps = old_apps
        app_label = "moving_old"
        db_table = "moving_boundvisit"


def key_of_ward(instance):
    return f"ward-{instance.ward}"


class KeyedVisit(models.Model):
    report_clear = _clear(models.TextField, "report")
    report = _moved(EncryptedTextField, "report", key=key_of_ward)
    ward = models.CharField(max_length=20)

    class Meta:
        apps = apps
        app_label = "moving"


class OldKeyedVisit(models.Model):
    report = models.TextField(null=True)
    ward = models.CharField(max_length=20)

    class Meta:
        apps = old_apps
        app_label = "moving_old"
        db_table = "moving_keyedvisit"


# A name, the plain class, the encrypted one, and the options of both.
TYPES = [
    ("number", models.IntegerField, EncryptedIntegerField, {}),
    ("code", models.CharField, EncryptedCharField, {"max_length": 50}),
    ("blob", models.BinaryField, EncryptedBinaryField, {}),
    ("flag", models.BooleanField, EncryptedBooleanField, {}),
    ("day", models.DateField, EncryptedDateField, {}),
    ("moment", models.DateTimeField, EncryptedDateTimeField, {}),
    ("clock", models.TimeField, EncryptedTimeField, {}),
    ("length", models.DurationField, EncryptedDurationField, {}),
    ("price", models.DecimalField, EncryptedDecimalField, {"max_digits": 9, "decimal_places": 3}),
    ("share", models.FloatField, EncryptedFloatField, {}),
    ("address", models.GenericIPAddressField, EncryptedGenericIPAddressField, {}),
    ("data", models.JSONField, EncryptedJSONField, {}),
    ("mark", models.UUIDField, EncryptedUUIDField, {}),
]


class Meta:
    app_label = "moving"
    apps = apps
    db_table = "moving_everything"


class OldMeta:
    app_label = "moving_old"
    apps = old_apps
    db_table = "moving_everything"


_NEW, _OLD = {}, {}
for _name, _plain, _encrypted, _options in TYPES:
    _NEW[f"{_name}_clear"] = _clear(_plain, _name, **_options)
    _NEW[_name] = _moved(_encrypted, _name, **_options)
    _OLD[_name] = _plain(null=True, **_options)

Everything = type("Everything", (models.Model,), {"__module__": __name__, "Meta": Meta, **_NEW})
OldEverything = type(
    "OldEverything", (models.Model,), {"__module__": __name__, "Meta": OldMeta, **_OLD}
)


class IndexedVisit(models.Model):
    code_clear = _clear(models.CharField, "code", max_length=50)
    code = _moved(EncryptedCharField, "code", max_length=50)
    code_index = BlindIndexField("code")

    class Meta:
        apps = apps
        app_label = "moving"


class OldIndexedVisit(models.Model):
    code = models.CharField(max_length=50, null=True)

    class Meta:
        apps = old_apps
        app_label = "moving_old"
        db_table = "moving_indexedvisit"
