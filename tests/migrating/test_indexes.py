"""Migrations that would leave half an index, or take its name away."""

from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations import (
    AddField,
    RemoveConstraint,
    RemoveField,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.utils import timezone

from envelope_fields.census.indexes import ColumnNotThere
from envelope_fields.fields import IndexedUnique
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.migrating import indexes
from envelope_fields.migrating.indexes import IndexInUse
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
    indexes.look(using="default", plan=plan, apps=SimpleNamespace(get_model=get_model))
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


class TestOneThatReplacesAnother:
    """`title_index` is replaced by `second_index`."""

    SECOND = "shelf.book.second_index"

    @pytest.fixture(autouse=True)
    def second(self, begun):
        BlindIndex.objects.create(
            label=self.SECOND, name=f"field:{self.SECOND}", normalizer="casefold",
            normalizer_version=1, fingerprint="0" * 32, replaces=LABEL,
        )  # fmt: skip

    def states(self):
        return dict(BlindIndex.objects.values_list("label", "state"))

    def test_back_to_where_it_was_not_there(self):
        Book.objects.create()
        adding = AddField("Book", "second_index", models.BinaryField(null=True))
        run(adding, backwards=True)
        BlindIndex.objects.filter(label=self.SECOND).update(
            state="verified", required_at=timezone.now()
        )
        with pytest.raises(IndexInUse, match=rf"in the place of {LABEL}.*--to filling"):
            run(adding, backwards=True)

    def test_a_table_without_rows_needs_no_step(self):
        run(RemoveField("Book", "title_index"))
        assert self.states() == {LABEL: "retired", self.SECOND: "filling"}

    def test_the_state_alone_gets_the_field_back_before_it_goes(self):
        Book.objects.create()
        BlindIndex.objects.filter(label=LABEL).update(state="retired")
        adding = SeparateDatabaseAndState([], [ADDING])
        run(adding, RemoveField("Book", "title_index"))
        with pytest.raises(IndexInUse, match="another name"):
            run(SeparateDatabaseAndState([ADDING], []))


def run(*operations, backwards=False):
    plan = [(SimpleNamespace(app_label="shelf", operations=operations), backwards)]
    indexes.look(using="default", plan=plan, apps=SimpleNamespace(get_model=get_model))


class TestConstraints:
    """Over the column of an index that goes: none is left to go with it."""

    @pytest.fixture(autouse=True)
    def constrained(self, monkeypatch):
        Book.objects.create()
        BlindIndex.objects.update(state="retired")
        constraint = IndexedUnique(fields=["id", "title_index"], name="one_title")
        monkeypatch.setattr(Book._meta, "constraints", [constraint])

    def test_one_that_stays(self):
        with pytest.raises(IndexInUse, match="'one_title' is over its column"):
            run(RemoveField("Book", "title_index"))

    def test_one_that_is_removed_with_it(self):
        run(RemoveConstraint("Book", "one_title"), RemoveField("Book", "title_index"))
