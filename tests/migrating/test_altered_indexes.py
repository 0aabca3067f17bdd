"""Migrations that would have an index be of something else, under the same name."""

from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations import AlterField, CreateModel, RenameField, SeparateDatabaseAndState

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedCharField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
)
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.migrating import altered_indexes
from envelope_fields.migrating.indexes import IndexInUse
from envelope_fields.models import BlindIndex

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

apps = Apps()


class Book(models.Model):
    title = EncryptedTextField()
    note = EncryptedTextField()
    record = EncryptedJSONField()
    title_index = BlindIndexField("title", normalizer="casefold")
    note_index = BlindIndexField("note")

    class Meta:
        apps = apps
        app_label = "shelf"


@pytest.fixture(autouse=True)
def begun(transactional_db):
    with connection.schema_editor() as editor:
        editor.create_model(Book)
    for index in ("title_index", "note_index"):
        begin_index(Book._meta.get_field(index), "search", "default")
    Book.objects.create(title="Notes", note="", record={})
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Book)


def look(*operations):
    plan = [(SimpleNamespace(app_label="shelf", operations=operations), False)]
    altered_indexes.look(
        using="default", plan=plan, apps=SimpleNamespace(get_model=lambda *_: Book)
    )
    return BlindIndex.objects.get(label="shelf.book.title_index").state


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


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            altered("title", normalizer="email", unique=True),
            'title_index_2 = BlindIndexField("title", normalizer="email", unique=True, '
            'replaces="title_index")',
        ),
        (
            altered("note", normalizer="casefold"),
            'title_index_2 = BlindIndexField("note", normalizer="casefold")',
        ),
        (
            altered("title", "note", scope=("record",)),
            'title_index_2 = BlindIndexField("title", "note", scope=("record",))',
        ),
    ],
    ids=["normalizer", "field", "scope"],
)
def test_the_line_to_write(changed, line):
    with pytest.raises(IndexInUse) as refused:
        look(changed)
    assert str(refused.value).endswith(line)


class TestTheFieldItIsOf:
    def test_another_type(self):
        other = AlterField("book", "note", EncryptedIntegerField())
        with pytest.raises(IndexInUse, match="its type was text, and would be integer"):
            look(other)
        BlindIndex.objects.filter(label="shelf.book.note_index").update(state="retired")
        assert look(other) == "reading"

    def test_under_a_new_name(self):
        renamed = RenameField("Book", "note", "remark")
        with pytest.raises(IndexInUse, match="note_index"):
            look(renamed, AlterField("book", "remark", EncryptedIntegerField()))

    @pytest.mark.parametrize(
        "changed",
        [
            AlterField("book", "note", EncryptedCharField(max_length=9)),
            AlterField("book", "title", EncryptedIntegerField()),  # its normal forms are text
            AlterField("book", "record", EncryptedIntegerField()),
        ],
        ids=["text", "normal forms", "not indexed"],
    )
    def test_what_is_the_same(self, changed):
        assert look(changed) == "reading"


@pytest.mark.with_our_tables
class TestBackwards:
    LABEL = "zzz_shelf"

    @pytest.fixture(autouse=True)
    def begun(self):
        """No table of the other tests."""

    def book(self, **fields):
        found = {"id": models.BigAutoField(primary_key=True), **fields}
        return CreateModel("Book", list(found.items()))

    def add(self, project, *altered, title="title"):
        project.add(
            self.LABEL,
            self.book(
                title=EncryptedTextField(),
                note=EncryptedTextField(),
                title_index=BlindIndexField("title"),
            ),
        )
        project.add(self.LABEL, *altered)
        project.migrate()
        rows = project.rows(self.LABEL, "Book")
        rows.create(**{title: "1", "note": "2"})
        return rows

    @pytest.mark.parametrize(
        "altered",
        [
            AlterField("Book", "title_index", BlindIndexField("note")),
            AlterField("Book", "title_index", BlindIndexField("title", normalizer="digits")),
            AlterField("Book", "title", EncryptedIntegerField()),
        ],
        ids=["field", "normalizer", "type"],
    )
    def test_a_full_table(self, project, altered):
        rows = self.add(project, altered)
        with pytest.raises(IndexInUse, match="has values of how"):
            project.migrate(self.LABEL, "0001")
        rows.all().delete()
        project.migrate(self.LABEL, "0001")

    def test_a_field_that_gets_its_old_name(self, project):
        self.add(
            project,
            RenameField("Book", "title", "name"),
            AlterField("Book", "title_index", BlindIndexField("name")),
            title="name",
        )
        project.migrate(self.LABEL, "0001")
