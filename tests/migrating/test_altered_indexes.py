"""Migrations that would have an index be of something else, under the same name."""

from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations import AlterField, RenameField, SeparateDatabaseAndState

from envelope_fields.fields import BlindIndexField, EncryptedJSONField, EncryptedTextField
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.migrating.altered_indexes import _look
from envelope_fields.migrating.indexes import IndexInUse
from envelope_fields.models import BlindIndex

pytestmark = pytest.mark.django_db

apps = Apps()


class Book(models.Model):
    title = EncryptedTextField()
    note = EncryptedTextField()
    record = EncryptedJSONField()
    title_index = BlindIndexField("title", normalizer="casefold")

    class Meta:
        apps = apps
        app_label = "shelf"


@pytest.fixture(autouse=True)
def begun(transactional_db):
    with connection.schema_editor() as editor:
        editor.create_model(Book)
    begin_index(Book._meta.get_field("title_index"), "search", "default")
    Book.objects.create(title="Notes", note="", record={})
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Book)


def look(*operations):
    plan = [(SimpleNamespace(app_label="shelf", operations=operations), False)]
    _look(using="default", plan=plan, apps=SimpleNamespace(get_model=lambda *_: Book))
    return BlindIndex.objects.get().state


def altered(*fields, **options):
    """Return the operation by which an index is declared otherwise, under the same name."""
    return AlterField("book", "title_index", BlindIndexField(*fields, **options))


@pytest.mark.parametrize(
    "changed",
    [
        altered("note", normalizer="casefold"),
        altered("title", normalizer="email"),
        altered("title"),
        altered("title", "note", normalizer="casefold"),
        altered("title__x", normalizer="casefold"),
        altered("title", normalizer="casefold", key="other"),
        altered("title", normalizer="casefold", scope=("note",)),
        altered("title", normalizer="casefold", shared="titles"),
        SeparateDatabaseAndState([], [altered("note", normalizer="casefold")]),
    ],
    ids=["field", "normalizer", "default", "fields", "path", "key", "scope", "shared", "state"],
)
def test_an_index_of_something_else(changed):
    with pytest.raises(IndexInUse, match="has values of how it was declared before"):
        look(changed)
    BlindIndex.objects.update(state="retired")
    assert look(changed) == "retired"
    Book.objects.all().delete()
    BlindIndex.objects.update(state="reading")
    assert look(changed) == "reading"


def test_an_index_of_a_field_that_is_renamed():
    renamed = RenameField("Book", "title", "name")
    assert look(renamed, altered("name", normalizer="casefold")) == "reading"
    assert look(altered("title", normalizer="casefold", unique=True)) == "reading"
    with pytest.raises(IndexInUse):
        look(RenameField("Book", "note", "name"), altered("name", normalizer="casefold"))
