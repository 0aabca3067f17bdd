"""Columns in clear of values that a field makes while its row is saved."""

import pytest
from django.apps.registry import Apps
from django.db import connection, models

from envelope_fields.fields import EncryptedTextField
from envelope_fields.models import ColumnPhase
from tests.models.converting import set_phase
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

apps = Apps(["tests"])


class Lowered(EncryptedTextField):
    def pre_save(self, model_instance, add):
        return getattr(model_instance, self.attname).lower()


class Visited(models.Model):
    before_clear = models.TextField(null=True)
    before = Lowered(null=True, converts="before_clear")
    after = Lowered(null=True, converts="after_clear")
    after_clear = models.TextField(null=True)

    class Meta:
        apps = apps
        app_label = "tests"


tables = tables_of([Visited])


def create():
    return Visited.objects.create(before="ADA", after="ADA")


def create_several():
    return Visited.objects.bulk_create([Visited(before="ADA", after="ADA")])[0]


def save_again():
    visit = Visited.objects.create(before="BEN", after="BEN")
    visit.before = visit.after = "ADA"
    visit.save()
    return visit


@pytest.mark.parametrize("write", [create, create_several, save_again])
@pytest.mark.parametrize("phase", [ColumnPhase.BOTH, ColumnPhase.ENCRYPTED])
def test_they_have_what_is_stored_encrypted(write, phase):
    for name in ("before", "after"):
        set_phase(Visited, name, phase)
    write()
    with connection.cursor() as cursor:
        cursor.execute("SELECT before_clear, after_clear FROM tests_visited")
        assert list(cursor.fetchall()) == [("ada", "ada")]
    visit = Visited.objects.get()
    assert (visit.before, visit.after) == ("ada", "ada")
