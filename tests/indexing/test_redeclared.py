"""One index, declared as one of something else by a later build, on one table."""

import pytest
from django.apps.registry import Apps
from django.db import models, transaction

from envelope_fields.census import columns
from envelope_fields.checks import begun
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import (
    BlindIndexField,
    EncryptedCharField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
    Scoped,
)
from envelope_fields.indexing import bring_to, find_indexes
from envelope_fields.lifecycle import create_master_key
from envelope_fields.lifecycle.indexes import repair
from envelope_fields.models import AuditEvent, BlindIndex
from envelope_fields.tenants import TenantKey
from tests.models.keyed import only
from tests.models.tables import made

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

LABEL = "tests.card.number_index"


def build(index=("number",), **changed):
    """Return the model of a build: its index is of these fields, or what is given for it."""
    fields = {
        "ward": models.IntegerField(default=1),
        "number": EncryptedTextField(bind_to=("ward",)),
        "phone": EncryptedTextField(bind_to=("ward",), default="030"),
        "record": EncryptedJSONField(default=dict),
        "number_index": BlindIndexField(*index) if isinstance(index, tuple) else index,
    }
    meta = type("Meta", (), {"apps": Apps(["tests"]), "app_label": "tests"})
    body = {"__module__": __name__, "Meta": meta, **fields, **changed}
    return type("Card", (models.Model,), {name: each for name, each in body.items() if each})


FIRST = build()

OTHERS = {
    "another field": build(("phone",)),
    "one more field": build(("number", "phone")),
    "a path": build(("record__mrn",)),
    "another path": build(("record__id",)),
    "a normalizer": build(BlindIndexField("number", normalizer="casefold")),
    "a scope": build(BlindIndexField("number", scope=("ward",))),
    "a key": build(BlindIndexField("number", key="other")),
    "keys of tenants": build(BlindIndexField("number", scope=("ward",), key=TenantKey("s/{ward}"))),
    "a name": build(BlindIndexField("number", shared="numbers")),
    "another type": build(number=EncryptedIntegerField(bind_to=("ward",))),
}


@pytest.fixture(scope="module", autouse=True)
def table(django_db_setup, django_db_blocker):
    with made([FIRST], django_db_blocker):
        yield


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    build_is(FIRST, monkeypatch)


def build_is(model, monkeypatch):
    monkeypatch.setattr(columns, "apps", only(model))
    monkeypatch.setattr(begun, "checked_models", lambda configs: [model])


@pytest.fixture
def row():
    create_master_key("other", usage="generate_verify_mac")
    return FIRST.objects.create(number="17", phone="18")


def problems():
    return [each for each in begun.check_begun_indexes(databases=["default"]) if each.level >= 40]


@pytest.mark.parametrize("what", OTHERS)
def test_it_is_neither_written_nor_asked(what, row, monkeypatch):
    other = OTHERS[what]
    build_is(other, monkeypatch)
    repair(using="default")
    [problem] = problems()
    assert problem.id == "envelope_fields.E089"
    assert "number_index_2 = BlindIndexField(" in problem.hint
    index = other._meta.get_field("number_index")
    assert ('replaces="number_index")' in problem.hint) == (what not in NOT_REPLACED)
    with pytest.raises(IndexNotReady, match="Put that back"), transaction.atomic():
        other.objects.create(
            number="17" if what != "another type" else 17, record={"mrn": "A", "id": "B"}
        )
    with pytest.raises(IndexNotReady, match="Put that back"):
        other.objects.filter(**looked_for(index)).exists()
    assert FIRST.objects.get(number="17") == row


def looked_for(index):
    if index.is_compound:
        return {"number_index": ("17", "18")}
    return {index.fields[0]: Scoped("17", ward=1) if index.scope else "17"}


NOT_REPLACED = {
    *("another field", "one more field", "a path", "another path", "another type"),
    *("a scope", "keys of tenants"),
}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "another field",
            r"of tests\.card\.phone \(text\), and was of tests\.card\.number \(text\)",
        ),
        ("another type", r"number \(integer\), and was of tests\.card\.number \(text\)"),
    ],
)
def test_the_error_says_what_it_was_and_is(what, said, row):
    with pytest.raises(IndexNotReady, match=said):
        OTHERS[what].objects.create(number=17)


def test_a_text_of_another_class_is_the_same(row):
    other = build(number=EncryptedCharField(max_length=20, bind_to=("ward",)))
    assert other.objects.get(number="17").pk == row.pk


class TestRename:
    """The field has another name, and the old label among its previous ones, for a while."""

    def renamed(self, *previous):
        field = EncryptedTextField(
            bind_to=("ward",), previous_contexts=previous, db_column="number"
        )
        return build(("code",), number=None, code=field)

    def test_it_is_the_same_field(self, row, monkeypatch):
        during = self.renamed("tests.card.number")
        build_is(during, monkeypatch)
        repair(using="default")
        assert problems() == []
        assert during.objects.get(code="17").code == "17"
        during.objects.create(code="19")
        assert FIRST.objects.filter(number="17").exists(), "which may still be running"
        after = self.renamed()
        build_is(after, monkeypatch)
        assert problems() == []
        assert after.objects.filter(code="19").exists()

    def test_one_that_is_not(self, row, monkeypatch):
        build_is(self.renamed(), monkeypatch)
        repair(using="default")
        assert [each.id for each in problems()] == ["envelope_fields.E089"]


@pytest.mark.parametrize("what", sorted(OTHERS.keys() - {"a key"}))
def test_in_a_table_without_rows_it_is_begun_anew(what, row, monkeypatch):
    FIRST.objects.all().delete()
    other = OTHERS[what]
    build_is(other, monkeypatch)
    repair(using="default")
    assert problems() == []
    assert BlindIndex.objects.get(label=LABEL).state == "filling"
    assert AuditEvent.objects.order_by("number").last().action == "begin_index"
    written = other.objects.create(
        number="17" if what != "another type" else 17, record={"mrn": "A", "id": "B"}
    )
    assert written.number_index is not None
    if what != "keys of tenants":
        assert bring_to(find_indexes([LABEL]), "reading").state == "reading"


def test_what_is_not_known_yet_is_noted(row):
    BlindIndex.objects.update(sources=[])
    assert problems() == []
    repair(using="default")
    [source] = BlindIndex.objects.get(label=LABEL).sources
    assert source == {"labels": ["tests.card.number"], "path": "", "type": "text"}
