"""What the database does with an index: it finds rows, and lets one of two writers through."""

from functools import partial

import pytest
from django.db import IntegrityError, connection

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.models import BlindIndex, IndexState
from tests.at_once import at_once
from tests.models.indexed import Person, Visit

ADA, OTHER_ADA = "Ada@example.org", "ada@EXAMPLE.org"


@pytest.fixture
def by_index():
    """Have PostgreSQL take an index where it can, also for a few rows."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")


@pytest.mark.usefixtures("by_index")
@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (lambda: Person.objects.filter(email=ADA), "email_index"),
        (lambda: Person.objects.filter(email__in=[ADA, "ben@example.org"]), "email_index"),
        (lambda: Visit.objects.filter(reason__iexact="fever"), "reason_index"),
        (lambda: Visit.objects.filter(person__email=ADA), "email_index"),
    ],
)
def test_rows_are_found_by_the_index(rows, column):
    Person.objects.bulk_create([Person(email=f"{number}@example.org") for number in range(20)])
    Person.objects.create(email=ADA)
    plan = rows().explain()
    if connection.vendor == "postgresql":
        assert f"{column}" in plan
        assert "Index" in plan
        assert "Seq Scan on tests_person" not in plan
    elif connection.vendor == "mysql":
        assert column in plan
    else:
        assert f"({column}=?" in plan
    assert "xample" not in plan


@pytest.mark.django_db(transaction=True)
def test_of_two_who_write_the_same_at_once_one_is_let_through():
    def write(email):
        try:
            Person.objects.create(email=email)
        except IntegrityError:
            return "refused"
        return "written"

    try:
        results = at_once(partial(write, ADA), partial(write, OTHER_ADA))
        assert sorted(results) == ["refused", "written"]
        assert Person.objects.filter(email=ADA).count() == 1
    finally:
        Person.objects.all().delete()


class TestWhileItIsFilled:
    @pytest.fixture(autouse=True)
    def filling(self):
        Person.objects.create(email=ADA)
        BlindIndex.objects.filter(label="tests.person.email_index").update(state=IndexState.FILLING)

    @pytest.mark.parametrize(
        "rows",
        [
            lambda: Person.objects.filter(email=ADA),
            lambda: Person.objects.exclude(email=ADA),
            lambda: Person.objects.filter(email__in=[ADA]),
            lambda: Visit.objects.filter(person__email=ADA),
            lambda: Person.objects.in_bulk([ADA], field_name="email"),
        ],
    )
    def test_nothing_is_looked_up(self, rows):
        with pytest.raises(IndexNotReady, match="is filling") as caught:
            list(rows())
        assert "ample" not in str(caught.value)

    def test_values_are_written_and_read(self):
        ada = Person.objects.get(email__isnull=False)
        assert ada.email == ADA
        ada.email = "new@example.org"
        ada.save()
        BlindIndex.objects.update(state=IndexState.READING)
        assert Person.objects.get(email="new@example.org") == ada
