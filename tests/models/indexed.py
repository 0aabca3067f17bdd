"""Models with blind indexes, in a registry of their own; tests make the tables.

An application that it has installed is needed for relations to be followed backfloors.
"""

import uuid
from datetime import date

from django.apps.registry import Apps
from django.db import connection, models

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedCharField,
    EncryptedDateField,
    EncryptedEmailField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedQuerySet,
    EncryptedTextField,
    IndexedUnique,
)
from envelope_fields.tenants import TenantKey

apps = Apps(["tests"])


class Floor(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        apps = apps
        app_label = "tests"


class Person(models.Model):
    name = models.CharField(max_length=20, blank=True)
    email = EncryptedEmailField(null=True, blank=True)
    email_index = BlindIndexField("email", normalizer="email", unique=True, shared="address")
    notes = EncryptedTextField(blank=True)
    floor = models.ForeignKey(Floor, models.CASCADE, null=True, blank=True, related_name="people")

    objects = EncryptedQuerySet.as_manager()
    plain = models.Manager()

    class Meta:
        apps = apps
        app_label = "tests"


class Visit(models.Model):
    person = models.ForeignKey(Person, models.CASCADE, related_name="visits")
    contact = EncryptedTextField(null=True)
    contact_index = BlindIndexField("contact", normalizer="email", shared="address")
    reason = EncryptedTextField(blank=True)
    reason_index = BlindIndexField("reason", normalizer="casefold")
    day = models.DateField(null=True, blank=True)

    class Meta:
        apps = apps
        app_label = "tests"
        constraints = [
            IndexedUnique(fields=["day", "reason"], name="one_reason_a_day"),
        ]


class PersonProxy(Person):
    class Meta:
        apps = apps
        app_label = "tests"
        proxy = True


class Doctor(Person):
    title = models.CharField(max_length=20)
    pager = EncryptedTextField(blank=True)
    pager_index = BlindIndexField("pager")

    class Meta:
        apps = apps
        app_label = "tests"


class Insured(models.Model):
    name = models.CharField(max_length=20, blank=True)
    ssn = EncryptedCharField(max_length=20, blank=True)
    ssn_index = BlindIndexField("ssn", normalizer="digits")
    ssn_end = BlindIndexField("ssn", normalizer="last_four")

    class Meta:
        apps = apps
        app_label = "tests"


class Citizen(models.Model):
    name = models.CharField(max_length=20, blank=True)
    last_name = EncryptedTextField(blank=True)
    born = EncryptedDateField(null=True)
    born_year = BlindIndexField("born", normalizer="year")
    name_index = BlindIndexField("last_name", "born")

    class Meta:
        apps = apps
        app_label = "tests"


class Sample(models.Model):
    name = models.CharField(max_length=20, blank=True)
    data = EncryptedJSONField(default=dict)
    data_index = BlindIndexField("data__mrn")
    size = EncryptedIntegerField(null=True)
    size_index = BlindIndexField("size")

    class Meta:
        apps = apps
        app_label = "tests"


class Account(models.Model):
    name = EncryptedCharField(max_length=20)
    name_index = BlindIndexField("name", normalizer="casefold")
    active = models.BooleanField(default=True)

    class Meta:
        apps = apps
        app_label = "tests"
        constraints = [
            IndexedUnique(fields=["name"], condition=models.Q(active=True), name="one_is_active")
        ]


class Tenant(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        apps = apps
        app_label = "tests"


class Member(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    tenant = models.ForeignKey(Tenant, models.CASCADE)
    name = models.CharField(max_length=20, blank=True)
    email = EncryptedEmailField(bind_to=("tenant",))
    email_index = BlindIndexField("email", normalizer="email", scope=("tenant",), unique=True)
    phone = EncryptedCharField(max_length=20, blank=True, bind_to=("tenant",))
    phone_index = BlindIndexField(
        "phone", normalizer="digits", scope=("tenant",), key=TenantKey("search/{tenant_id}")
    )

    objects = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"


class Corridor(models.Model):
    code = models.CharField(max_length=8, unique=True)

    class Meta:
        apps = apps
        app_label = "tests"


class Stay(models.Model):
    """Of a scope that refers to something else than a primary key."""

    corridor = models.ForeignKey(Corridor, models.CASCADE, to_field="code")
    contact = EncryptedEmailField(bind_to=("corridor",))
    contact_index = BlindIndexField("contact", normalizer="email", scope=("corridor",))

    class Meta:
        apps = apps
        app_label = "tests"


class Guarded(models.Model):
    name = models.CharField(max_length=20, blank=True)
    masked = EncryptedTextField(key="guarded", on_denied="mask")
    masked_index = BlindIndexField("masked", normalizer="email", unique=True)
    raising = EncryptedTextField(key="guarded")
    raising_index = BlindIndexField("raising", unique=True)

    objects = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"


class Sealed(models.Model):
    value = EncryptedTextField()
    value_index = BlindIndexField("value", key="lookup")

    class Meta:
        apps = apps
        app_label = "tests"


class UpperCaseField(EncryptedTextField):
    """A field of a project, which stores another text than it is given."""

    def to_plaintext(self, value):
        return super().to_plaintext(value.upper())


class Tailored(models.Model):
    code = UpperCaseField()
    code_index = BlindIndexField("code")

    class Meta:
        apps = apps
        app_label = "tests"


MODELS = [
    Guarded,
    Sealed,
    Tailored,
    Tenant,
    Member,
    Corridor,
    Stay,
    Account,
    Floor,
    Person,
    Visit,
    Doctor,
    Insured,
    Citizen,
    Sample,
]


def same_day_and_reason(person):
    """Return two visits that a constraint would not take beside each other."""
    day = date(2030, 3, 1)
    visits = [Visit.objects.create(person=person, day=day, reason=text) for text in "ab"]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tests_visit SET reason_index = NULL")
        cursor.execute(
            "UPDATE tests_visit SET reason = (SELECT reason FROM (SELECT reason, id FROM "
            "tests_visit) AS others WHERE id = %s) WHERE id = %s",
            [each.pk for each in visits],
        )
    return visits
