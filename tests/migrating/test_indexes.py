"""Migrations that would leave half an index, or take its name away."""

from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations import (
    AddField,
    RemoveField,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)

from envelope_fields.census.indexes import ColumnNotThere
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.migrating.indexes import IndexInUse, _look
from envelope_fields.models import BlindIndex
from tests.keyring.indexed import index

pytestmark = pytest.mark.django_db

apps = Apps()
LABEL = "shelf.book.title_index"


class Book(models.Model):
    title_index = models.BinaryField(null=True)

    class Meta:
        apps = apps
        app_label = "shelf"


@pytest.fixture(autouse=True)
def begun(transactional_db):
    with connection.schema_editor() as editor:
        editor.create_model(Book)
    begin_index(index(LABEL, model=Book, column="title_index"), "search", "default")
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Book)


def get_model(app_label, model_name):
    if (app_label, model_name.lower()) != ("shelf", "book"):
        raise LookupError
    return Book


def look(*operations, backwards=False):
    plan = [(SimpleNamespace(app_label="shelf", operations=operations), backwards)]
    _look(using="default", plan=plan, apps=SimpleNamespace(get_model=get_model))
    return BlindIndex.objects.get().state


TAKING = [
    RemoveField("book", "title_index"),
    RenameField("Book", "title_index", "name_index"),
    RenameModel("Book", "Volume"),
    SeparateDatabaseAndState([RemoveField("Book", "title_index")], []),
    SeparateDatabaseAndState([], [RenameModel("Book", "Volume")]),
]
ADDING = AddField("book", "title_index", models.BinaryField(null=True))
OTHERS = [
    RemoveField("book", "title"),
    RenameModel("Books", "Volume"),
    RenameField("book", "title", "title_index"),
]


@pytest.mark.parametrize("operation", TAKING)
def test_taking_one_away(operation):
    Book.objects.create()
    with pytest.raises(IndexInUse, match=r"shelf\.book\.title_index is reading.*--to retired"):
        look(operation)
    BlindIndex.objects.update(state="retired")
    assert look(operation) == "retired"


@pytest.mark.parametrize("operation", [*TAKING, ADDING])
def test_around_an_empty_table(operation):
    assert look(operation) == "reading"


@pytest.mark.parametrize("operation", OTHERS)
def test_other_operations(operation):
    Book.objects.create()
    assert look(operation) == "reading"


def test_adding_it_once_more():
    Book.objects.create()
    assert look(ADDING, backwards=True) == "reading"
    assert look(ADDING) == "filling"
    BlindIndex.objects.update(state="retired")
    with pytest.raises(IndexInUse, match="Give the new one another name"):
        look(ADDING)


def test_going_back_to_one_that_was_removed():
    Book.objects.create()
    assert look(RemoveField("book", "title_index"), backwards=True) == "filling"
    BlindIndex.objects.update(state="retired")
    assert look(RemoveField("book", "title_index"), backwards=True) == "retired"


@pytest.mark.parametrize(
    "operation", [RenameField("book", "old_index", "title_index"), RenameModel("Volume", "Book")]
)
def test_going_back_to_another_name(operation):
    Book.objects.create()
    with pytest.raises(IndexInUse, match=r"shelf\.book\.title_index is reading"):
        look(operation, backwards=True)
    assert look(operation) == "reading"


def test_a_column_that_is_not_there_yet():
    early = index("shelf.book.other_index", model=Book, column="other_index")
    with pytest.raises(ColumnNotThere, match=r"other_index.* is not there in the database"):
        begin_index(early, "search", "default")
    assert BlindIndex.objects.count() == 1
