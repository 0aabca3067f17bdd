"""Who may not read a value may change its row, and the history has the value all the same."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import Sum
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from envelope_fields import rotation
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.reading import reader
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.fields.family import FAMILY, exactly
from tests.neighbours.histories.models import NAMES, Bound, Chart, Everything
from tests.stored import stored

pytestmark = pytest.mark.django_db

History = Chart.history.model


@pytest.fixture(autouse=True)
def chart():
    create_master_key("lab")
    return Chart.objects.create(title="t", text="a", secret="hidden")


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("nora")


def history():
    with acting_as(APPLICATION):
        rows = History.objects.order_by("history_id")
        return list(rows.values_list("title", "text", "secret"))


def test_values_are_kept(chart):
    chart.text = "b"
    chart.save()
    assert history() == [("t", "a", "hidden"), ("t", "b", "hidden")]


def test_a_masked_row_is_saved(chart, user):
    with acting_as(user):
        seen = Chart.objects.get()
        seen.title = "new"
        seen.save()
        assert isinstance(seen.secret, Mask)
        assert isinstance(History.objects.latest("history_id").secret, Mask)
    assert history() == [("t", "a", "hidden"), ("new", "a", "hidden")]
    row = History.objects.latest("history_id")
    assert stored(row, "secret") == stored(chart, "secret")


def test_a_masked_row_is_deleted(user):
    with acting_as(user):
        Chart.objects.get().delete()
    assert history() == [("t", "a", "hidden")] * 2


def test_in_bulk(user):
    bulk_create_with_history([Chart(title="u", secret="too")], Chart)
    with acting_as(user):
        charts = list(Chart.objects.order_by("pk"))
        for chart in charts:
            chart.title = "new"
        bulk_update_with_history(charts, Chart, ["title"])
    assert history()[-2:] == [("new", "a", "hidden"), ("new", "", "too")]


def test_going_back(chart, user):
    chart.secret = "changed"
    chart.save()
    first = History.objects.earliest("history_id")
    with acting_as(user):
        seen = History.objects.get(pk=first.pk).instance
        with pytest.raises(FieldError, match="another object"), transaction.atomic():
            seen.save()
    first.instance.save()
    assert Chart.objects.get().secret == "hidden"


def test_an_envelope_of_another_model_does_not_open_in_the_row(chart):
    """The history opens what it copied; the row does not open what the history wrote."""
    row = History.objects.get()
    envelope = stored(row, "secret")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE histories_chart SET secret = %s", [envelope])
    with pytest.raises(Exception, match=r"Chart\.secret"):
        _ = Chart.objects.get().secret


@pytest.mark.django_db(databases=["default", "other"])
def test_rotation_binds_what_was_copied_to_the_history(chart, user, monkeypatch):
    with acting_as(user):
        seen = Chart.objects.get()
        seen.save()
    rotate_master_key("lab")
    run = rotation.run("lab", database="default")
    moves = run.columns.aggregate(moved=Sum("ranges__moved"), failed=Sum("ranges__failed"))
    assert moves == {"moved": 3, "failed": 0}
    field = History._meta.get_field("secret")
    monkeypatch.setitem(vars(field), "contexts", field.contexts[:1])
    monkeypatch.setitem(vars(field), "reader", reader(field))
    assert history() == [("t", "a", "hidden")] * 2


def test_every_type():
    first, last = (
        {column: FAMILY[name][1][position] for column, name in NAMES.items()}
        for position in (0, -1)
    )
    row = Everything.objects.create(**first)
    began = row.saved
    for column, value in last.items():
        setattr(row, column, value)
    row.save()
    row.delete()
    deleted, changed, created = Everything.history.order_by("-history_id")
    for column in NAMES:
        assert exactly(getattr(created, column), first[column])
        assert exactly(getattr(changed, column), last[column])
        assert exactly(getattr(changed.instance, column), last[column])
        assert getattr(deleted, column) == last[column]
        assert stored(created, column)[:1] == b"\x01"
    assert (created.saved, changed.saved) == (began, row.saved)
    differences = {each.field: each.new for each in changed.diff_against(created).changes}
    editable = [each for each in NAMES if Everything._meta.get_field(each).editable]
    assert differences == {each: last[each] for each in editable if last[each] != first[each]}
    Everything.objects.create()
    assert Everything.history.latest("history_id").date is None


class TestBoundRows:
    @pytest.fixture
    def bound(self, chart):
        return Bound.objects.create(chart=chart, title="t", text="a", secret="hidden")

    def kept(self):
        with acting_as(APPLICATION):
            rows = Bound.history.order_by("history_id")
            return [(row.chart_id, row.title, row.text, row.secret) for row in rows]

    def test_each_row_of_the_history_is_bound_to_what_it_was(self, bound, chart):
        other = Chart.objects.create(title="o", text="", secret="x")
        found = Bound.objects.get()
        found.chart = other
        found.save()
        Bound.objects.get().delete()
        expected = [chart.pk, other.pk, other.pk]
        assert self.kept() == [(pk, "t", "a", "hidden") for pk in expected]

    def test_a_masked_row_is_saved(self, bound, chart, user):
        other = Chart.objects.create(title="o", text="", secret="x")
        with acting_as(user):
            found = Bound.objects.get()
            assert isinstance(found.secret, Mask)
            found.title = "new"
            found.save()
            found.chart = other
            with pytest.raises(FieldError, match="masked"), transaction.atomic():
                found.save()
        assert self.kept() == [
            (chart.pk, "t", "a", "hidden"), (chart.pk, "new", "a", "hidden")
        ]  # fmt: skip


def test_a_history_is_found_by_what_may_not_be_read(chart, user):
    with acting_as(user):
        seen = Chart.objects.get()
        seen.title = "new"
        seen.save()
    with acting_as(APPLICATION):
        chart = Chart.objects.get()
        chart.secret = "other"
        chart.save()
        found = History.objects.filter(secret="HIDDEN").values_list("title", flat=True)
        assert sorted(found) == ["new", "t"]
        assert History.objects.get(secret="Other").title == "new"
        assert Chart.objects.filter(secret="hidden").count() == 0
