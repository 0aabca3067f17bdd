"""Values that are bound to columns of their row open in that row alone."""

import copy
import pickle
import uuid
from datetime import date

import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, connection, models, transaction
from django.db.models import Count, F, OuterRef, Subquery, Value
from django.test.utils import isolate_apps

from envelope_fields.crypto.context import field_context
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedTextField, open_values
from envelope_fields.fields.prepared import Unencrypted
from tests.models.bound import (
    Admission,
    Clinic,
    Colour,
    First,
    Placed,
    Record,
    RecordProxy,
    Sample,
    Second,
    Tagged,
    apps,
)
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db
tables = tables_of(apps)


def refused(*names):
    """Expect an error that names these fields, of a statement that changes nothing."""
    return pytest.raises(FieldError, match="".join(rf"(?=.*\b(?:{name})\b)" for name in names))


@pytest.fixture
def clinics():
    return [Clinic.objects.create(name=name) for name in ("here", "there")]


@pytest.fixture
def record(clinics):
    return Record.objects.create(clinic=clinics[0], secret="of one", early="early", maybe=[1])


def again(row):
    return type(row)._base_manager.get(pk=row.pk)


def values(row):
    found = again(row)
    return found.secret, found.early, found.maybe


HAS = ("of one", "early", [1])


class TestContexts:
    """As `docs/spec/canonical-values-v1.md` says, under "What a value is bound to"."""

    def context(self, field, row, *columns):
        contexts = row._meta.get_field(field).contexts_of(row._meta.get_field(field).row_of(row))
        return contexts == (field_context(f"{row._meta.label_lower}.{field}", columns),)

    def test_a_key_and_a_foreign_key(self):
        key = uuid.UUID(int=5)
        row = Record(pk=key, clinic_id=7)
        assert self.context("secret", row, ("id", b"\1" + key.bytes), ("clinic_id", b"\0017"))
        row = Record(pk=str(key), clinic_id=None)
        assert self.context("secret", row, ("id", b"\1" + key.bytes), ("clinic_id", b"\0"))

    @pytest.mark.parametrize("loose", [False, True])
    def test_every_type(self, loose):
        values = {"number": 2, "day": date(2026, 1, 2), "colour": "red", "by_id": "Öre"}
        if loose:  # as forms and code give them
            values = {"number": "2", "day": "2026-01-02", "colour": Colour.RED, "by_id": "Öre"}
        assert self.context(
            "text",
            Sample(code="", **values),
            ("code", b"\1"),
            ("number", b"\0012"),
            ("day", b"\0012026-01-02"),
            ("colour", b"\1red"),
            ("by_id", "\1Öre".encode()),
        )


class TestAnotherRow:
    @pytest.mark.parametrize("name", ["secret", "early", "maybe"])
    def test_it_does_not_open_there(self, record, clinics, name):
        other = Record.objects.create(clinic=clinics[1], secret="of other", early="x", maybe=[2])
        store(other, name, stored(record, name))
        error = rf"bound\.Record\.{name}: .*written for another one.*primary key {other.pk}"
        with pytest.raises(DecryptionFailed, match=error):
            getattr(again(other), name)

    def test_it_is_separated_by_the_foreign_key_alone(self, record, clinics):
        moved = Record.objects.create(clinic=clinics[1], secret="x", early="x")
        store(moved, "early", stored(record, "early"))
        with pytest.raises(DecryptionFailed):
            again(moved).early  # noqa: B018 - it opens
        store(moved, "clinic", clinics[0].pk)
        assert again(moved).early == "early"

    def test_a_value_that_is_bound_to_nothing_does_not_open(self, record):
        with isolate_apps("tests"):

            class Loose(models.Model):
                secret = EncryptedTextField(context="bound.record.secret")

                class Meta:
                    app_label = "bound"

        field = Loose._meta.get_field("secret")
        store(record, "secret", field.writer(Unencrypted("loose", Loose()), "default"))
        with pytest.raises(DecryptionFailed):
            again(record).secret  # noqa: B018


class TestChangingABoundColumn:
    @pytest.mark.parametrize("looks", [False, True])
    def test_saving_encrypts_anew_in_one_statement(
        self, record, clinics, looks, django_assert_num_queries
    ):
        found = again(record)
        if looks:
            assert (found.secret, found.early, found.maybe) == HAS
        found.clinic = clinics[1]
        before = stored(record, "secret"), stored(record, "early"), stored(record, "maybe")
        with django_assert_num_queries(1):
            found.save()
        after = stored(record, "secret"), stored(record, "early"), stored(record, "maybe")
        assert values(record) == HAS
        assert before[0] != after[0]
        assert before[1] != after[1]
        assert (before[2] == after[2]) is not looks  # it is bound to the key alone

    def test_what_was_loaded_counts(self, record, clinics):
        found = again(record)
        found.clinic_id = clinics[1].pk
        assert (found.secret, found.early) == ("of one", "early")

    def test_back_and_forth(self, record, clinics):
        found = again(record)
        for clinic in (clinics[1], None, clinics[0]):
            found.clinic = clinic
            found.save()
            assert values(record) == HAS
            found = again(record)

    def test_without_the_value_it_is_refused(self, record, clinics):
        found = again(record)
        found.clinic = clinics[1]
        with refused("secret", "clinic"), transaction.atomic():
            found.save(update_fields=["clinic"])
        assert values(record) == HAS

    def test_with_the_values_it_is_written(self, record, clinics):
        found = again(record)
        found.clinic = clinics[1]
        found.save(update_fields=["clinic", "secret", "early"])
        assert values(record) == HAS
        assert again(record).clinic == clinics[1]

    def test_a_column_that_did_not_change_may_be_written_alone(self, record):
        again(record).save(update_fields=["clinic"])
        deferred = Record.objects.defer("secret", "early").get()
        deferred.name = "new"
        deferred.save()
        assert values(record) == HAS
        assert again(record).name == "new"

    def test_a_value_is_not_written_for_a_column_that_stays(self, record, clinics):
        found = again(record)
        found.secret, found.clinic_id = "new", clinics[1].pk
        with refused("secret", "clinic"), transaction.atomic():
            found.save(update_fields=["secret"])
        assert values(record) == HAS
        found.clinic_id = clinics[0].pk
        found.save(update_fields=["secret"])
        assert values(record) == ("new", *HAS[1:])

    def test_a_change_by_another_process_is_not_undone_in_part(self, record, clinics):
        ours, theirs = again(record), again(record)
        theirs.clinic = clinics[1]
        theirs.save()
        ours.name = "new"
        with refused("secret", "clinic"), transaction.atomic():
            ours.save()
        assert values(record) == HAS
        ours.refresh_from_db()
        ours.name = "new"
        ours.save()
        assert values(record) == HAS

    def test_null_is_bound_to_nothing(self, record, clinics):
        found = again(record)
        found.maybe = None
        found.save(update_fields=["maybe"])
        assert values(record) == (*HAS[:2], None)

    def test_an_expression_is_refused(self, record, clinics):
        found = again(record)
        found.clinic_id = Value(clinics[1].pk)
        for names in (None, ["clinic"], ["clinic", "secret"]):
            with refused("clinic"), transaction.atomic():
                found.save(update_fields=names)
        assert values(record) == HAS


class TestStatementsThatDoNotKnowTheObject:
    @pytest.mark.parametrize("to", ["there", None])
    def test_update(self, record, clinics, to):
        clinic = clinics[1] if to else None
        for given in ({"clinic": clinic}, {"clinic_id": clinic and clinic.pk}):
            with refused("Record.(secret|early)", "clinic"), transaction.atomic():
                Record.plain_objects.filter(name="").update(**given)
        assert values(record) == HAS

    def test_update_by_an_expression(self, record):
        for given in (F("clinic"), Subquery(Clinic.objects.values("pk")[:1])):
            with refused("clinic"), transaction.atomic():
                Record.objects.update(clinic=given)

    def test_update_of_a_value(self, record):
        with refused("secret", "id", "clinic"), transaction.atomic():
            Record.objects.update(secret="x")
        Record.objects.update(name="new", maybe=None)
        assert values(record) == (*HAS[:2], None)

    def test_update_of_everything_that_is_bound_to_null(self, clinics):
        row = Sample.objects.create(code="a", number=1, colour="red", text="x")
        with refused("text"), transaction.atomic():
            Sample.objects.update(colour="blue")
        assert again(row).text == "x"

    @pytest.mark.parametrize("how", ["add", "set", "remove", "clear"])
    def test_related_managers(self, record, clinics, how):
        for bulk in (True, False):
            manager = clinics[1].records if how in ("add", "set") else clinics[0].records
            given = {"add": [record], "set": [[record]], "remove": [record], "clear": []}[how]
            found = transaction.atomic()
            if how in ("add", "set") and not bulk:
                getattr(manager, how)(*given, bulk=False)  # it saves each object
                assert values(record) == HAS
                assert again(record).clinic == clinics[1]
                continue
            with refused("secret|early", "clinic"), found:
                getattr(manager, how)(*given, bulk=bulk)
            assert values(record) == HAS

    def test_related_managers_make_rows(self, clinics):
        made = clinics[0].records.create(secret="s")
        assert again(made).secret == "s"

    def test_set_null(self, record, clinics):
        with refused("secret|early", "clinic"), transaction.atomic():
            clinics[0].delete()
        with refused("secret|early", "clinic"), transaction.atomic():
            Clinic.objects.all().delete()
        assert values(record) == HAS

    def test_generic_relations(self, record):
        tagged = Tagged.objects.create(text="t", object_id=5)
        with refused("Tagged.text", "content_type|object_id"), transaction.atomic():
            Tagged.objects.update(content_type=None, object_id=6)
        assert again(tagged).text == "t"

    def test_bulk_update(self, record, clinics):
        found = again(record)
        found.clinic, found.secret = clinics[1], "new"
        for manager in (Record.objects, Record.plain_objects):
            with refused("secret|early", "clinic"), transaction.atomic():
                manager.bulk_update([found], ["clinic"])
            with refused("secret", "clinic"), transaction.atomic():
                manager.bulk_update([found], ["secret"])
        with refused("secret", "clinic"), transaction.atomic():
            Record.plain_objects.bulk_update([found], ["secret", "early", "clinic"])
        assert values(record) == HAS
        Record.objects.bulk_update([found], ["secret", "early", "clinic"])
        assert values(record) == ("new", *HAS[1:])
        found.maybe = {"new": 1}
        Record.objects.bulk_update([found], ["maybe"])
        assert again(record).maybe == {"new": 1}


class TestUpserts:
    def upsert(self, rows, written, matched):
        names_target = connection.features.supports_update_conflicts_with_target
        return Record.objects.bulk_create(
            rows,
            update_conflicts=True,
            update_fields=written,
            unique_fields=matched if names_target else None,
        )

    def test_a_row_that_is_there_is_not_written_in_part(self, record, clinics):
        row = Record(pk=record.pk, clinic=clinics[1], secret="new", early="new")
        for written in (["secret"], ["clinic"], ["clinic", "secret"], ["early"]):
            with refused("clinic|id"), transaction.atomic():
                self.upsert([row], written, ["pk"])
        assert values(record) == HAS

    @pytest.mark.skipif("not connection.features.supports_update_conflicts_with_target")
    def test_a_row_that_is_found_by_its_key_is_written(self, record, clinics):
        row = Record(pk=record.pk, clinic=clinics[1], secret="new", early="new", maybe=2)
        self.upsert([row, Record(secret="other")], ["clinic", "secret", "early"], ["pk"])
        assert values(record) == ("new", "new", [1])
        self.upsert([row], ["maybe"], ["pk"])
        assert values(record) == ("new", "new", 2)

    def test_what_writes_neither_is_no_concern(self, record, clinics):
        row = Record(pk=record.pk, clinic=clinics[1], secret="new", name="new")
        self.upsert([row], ["name"], ["pk"])
        Record.objects.bulk_create([row], ignore_conflicts=True)
        assert values(record) == HAS

    def test_a_row_that_wins_with_another_key(self, clinics):
        Sample.objects.create(code="a", number=1, colour="red", text="x")
        row = Sample(code="a", number=2, colour="red", text="new")
        names_target = connection.features.supports_update_conflicts_with_target
        with refused("Sample.text", "number"), transaction.atomic():
            Sample.objects.bulk_create(
                [row],
                update_conflicts=True,
                update_fields=["text", "code"] if not names_target else ["text"],
                unique_fields=["code"] if names_target else None,
            )
        assert Sample.objects.get().text == "x"


class TestMakingRows:
    def test_copies(self, record):
        for looks in (False, True):
            found = again(record)
            if looks:
                assert found.secret
            found.pk = None
            found._state.adding = True
            found.save()
            assert (found.pk != record.pk, values(found)) == (True, HAS)
        assert values(record) == HAS

    def test_another_key(self, record):
        found = again(record)
        found.pk = uuid.uuid4()
        found.save()
        assert values(found) == values(record) == HAS

    def test_over_another_row(self, record, clinics):
        other = Record.objects.create(clinic=clinics[1], secret="other")
        found = again(record)
        found.pk = other.pk
        found.save()
        assert values(other) == values(record) == HAS

    def test_force_insert(self, record):
        found = again(record)
        record.delete()
        found.save(force_insert=True)
        assert values(found) == HAS

    def test_many(self, record, clinics):
        found = again(record)
        found.pk = uuid.uuid4()
        rows = [found, Record(clinic=clinics[1], secret="two"), Record(secret="three")]
        Record.objects.bulk_create(rows)
        assert [again(row).secret for row in rows] == ["of one", "two", "three"]

    def test_get_or_create(self, clinics):
        row, _ = Record.objects.get_or_create(name="a", defaults={"secret": "s"})
        row, _ = Record.objects.get_or_create(name="a", defaults={"secret": "t"})
        assert again(row).secret == "s"
        Record.objects.update_or_create(name="a", defaults={"clinic": clinics[1]})
        assert (again(row).secret, again(row).clinic) == ("s", clinics[1])
        Record.objects.update_or_create(name="a", defaults={"secret": "u"})
        assert again(row).secret == "u"

    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))]
    )
    def test_copied_objects(self, record, clinics, copied, monkeypatch):
        monkeypatch.setattr("envelope_fields.fields.sealed.apps", apps)
        monkeypatch.setattr("django.db.models.base.apps", apps)
        row = copied(again(record))
        row.clinic = clinics[1]
        assert row.secret == "of one"
        row.save()
        assert values(record) == HAS


class TestModels:
    def test_proxies(self, record, clinics):
        found = RecordProxy.objects.get()
        found.clinic = clinics[1]
        with refused("clinic"), transaction.atomic():
            RecordProxy.objects.update(clinic=None)
        found.save()
        assert values(record) == HAS

    def test_inheritance(self, clinics):
        made = Admission.objects.create(
            clinic=clinics[0], secret="of one", early="early", maybe=[1], ward="a", reason="r"
        )
        found = Admission.objects.get()
        assert (found.secret, found.early, found.maybe, found.reason) == (*HAS, "r")
        found = Admission.objects.get()
        found.clinic, found.ward = clinics[1], "b"
        found.save()
        assert (values(made), again(made).reason) == (HAS, "r")
        assert values(Record.objects.get()) == HAS
        for given in ({"clinic": None}, {"ward": "c"}):
            with refused("secret|early|reason", "clinic|ward"), transaction.atomic():
                Admission.objects.update(**given)
        with refused("secret|early", "clinic"), transaction.atomic():
            Record.objects.update(clinic=None)
        Record.objects.update(name="x")
        Admission.objects.update(name="y")
        assert (values(made), again(made).reason) == (HAS, "r")
        parent = Record.objects.get()
        parent.clinic = clinics[0]
        parent.save()
        assert (values(made), again(made).reason) == (HAS, "r")
        partly = Admission.objects.only("secret", "reason").get()
        assert (partly.secret, partly.reason) == ("of one", "r")

    def test_composite_keys(self, clinics):
        rows = [Placed.objects.create(clinic=clinics[0], number=n, text=str(n)) for n in (1, 2)]
        assert [again(row).text for row in rows] == ["1", "2"]
        store(rows[1], "text", stored(rows[0], "text"))
        with pytest.raises(DecryptionFailed, match=rf"\({clinics[0].pk}, 2\)"):
            again(rows[1]).text  # noqa: B018
        found = again(rows[0])
        found.number = 3
        found.save(force_insert=True)
        assert again(found).text == "1"

    def test_types(self, clinics):
        first = Sample.objects.create(
            code="a ", number=1, day=date(2026, 1, 2), colour=Colour.RED, text="1"
        )
        again(first)
        row = Sample.objects.create(
            code="Öre", number="2", day="2026-01-03", colour=Colour.BLUE, by=first, text="2"
        )
        assert (again(first).text, again(row).text) == ("1", "2")
        found = again(row)
        found.colour, found.by_id, found.day = "blue", "a ", date(2026, 1, 3)
        envelope = stored(row, "text")
        found.save()
        assert stored(row, "text") == envelope
        found = again(row)
        found.code = "öre"
        found.save()
        assert again(row).text == "2"

    def test_texts_are_compared_letter_by_letter(self):
        row = Sample.objects.create(code="ab", number=1, colour="red", text="x")
        ours, theirs = again(row), again(row)
        theirs.code = "AB"
        theirs.save()
        ours.number = 1
        with refused("Sample.text", "code"), transaction.atomic():
            ours.save()
        assert again(row).text == "x"


class TestMoreModels:
    def test_a_copy_of_a_row_in_two_tables(self, clinics):
        made = Admission.objects.create(
            clinic=clinics[0], secret="s", early="e", maybe=[1], ward="a", reason="r"
        )
        found = Admission.objects.get()
        found.pk = found.id = None
        found._state.adding = True
        found.save()
        assert Admission.objects.count() == 2
        for row in (made, found):
            assert (values(row), again(row).reason) == (("s", "e", [1]), "r")

    def test_a_field_of_an_abstract_model(self):
        rows = [model.objects.create(owner=1, text="x") for model in (First, Second)]
        assert [again(row).text for row in rows] == ["x", "x"]
        for row in rows:
            with refused("text", "owner"), transaction.atomic():
                type(row).objects.update(owner=2)
            found = again(row)
            found.owner = 2
            found.save()
            assert again(row).text == "x"

    def test_a_primary_key_is_not_updated(self, record):
        with refused("secret|maybe", "id"), transaction.atomic():
            Record.objects.update(id=uuid.uuid4())
        assert values(record) == HAS


class TestQueries:
    def test_values_are_refused(self, record):
        queries = [
            lambda: list(Record.objects.values("secret")),
            lambda: list(Record.objects.values()),
            lambda: list(Record.objects.values_list("secret", flat=True)),
            lambda: list(Record.objects.annotate(x=F("secret"))),
            lambda: list(Clinic.objects.values("records__secret")),
            lambda: list(Clinic.objects.annotate(x=F("records__secret"))),
            lambda: list(
                Clinic.objects.annotate(
                    x=Subquery(Record.objects.filter(clinic=OuterRef("pk")).values("secret")[:1])
                )
            ),
            lambda: list(Record.objects.values("secret").annotate(Count("pk"))),
            lambda: list(Record.objects.values("secret").union(Record.objects.values("secret"))),
        ]
        for query in queries:
            with refused("bound.Record.(secret|early)", "only"), transaction.atomic():
                query()

    def test_null_is_asked_for(self, record):
        assert Record.objects.filter(maybe__isnull=False).count() == 1
        assert Record.objects.aggregate(n=Count("maybe"))["n"] == 1

    def test_objects_by_other_queries(self, record, clinics):
        found = [
            *Record.objects.union(Record.objects.all()),
            *Record.objects.raw(f"SELECT * FROM {Record._meta.db_table}"),
            Record.objects.select_related("clinic").get(),
            clinics[0].records.get(),
            *Clinic.objects.prefetch_related("records").get(pk=clinics[0].pk).records.all(),
        ]
        assert {(each.secret, each.early) for each in found} == {HAS[:2]}

    def test_only(self, record, django_assert_num_queries):
        assert values(record) == HAS  # by then, this process knows the key
        with django_assert_num_queries(1):
            found = Record.objects.only("secret").get()
            assert (found.secret, found.clinic_id) == ("of one", record.clinic_id)
        assert found.get_deferred_fields() == {"early", "name", "maybe"}
        with django_assert_num_queries(1):
            found = Record.objects.only("early").get()
            assert found.early == "early"
        with django_assert_num_queries(1):
            assert found.secret == "of one"

    def test_deferred_bound_columns_defer_the_value(
        self, record, clinics, django_assert_num_queries
    ):
        found = Record.objects.defer("clinic").get()
        assert found.get_deferred_fields() == {"clinic_id", "secret", "early"}
        found.clinic_id = clinics[1].pk
        with django_assert_num_queries(1):
            assert found.secret == "of one"
        assert found.clinic_id == clinics[1].pk  # what was assigned stays
        with refused("early", "clinic"), transaction.atomic():
            found.save()
        assert found.early == "early"
        found.save()
        assert values(record) == HAS

    def test_raw_without_the_column(self, record, django_assert_num_queries):
        table = Record._meta.db_table
        found = Record.objects.raw(f"SELECT id, secret, early FROM {table}")[0]
        with django_assert_num_queries(2):
            assert (found.secret, found.early) == HAS[:2]

    def test_related_only(self, clinics):
        first = Sample.objects.create(code="a", number=1, colour="red", text="1")
        row = Sample.objects.create(code="b", number=1, colour="red", text="2", by=first)
        found = Sample.objects.select_related("by").only("text", "by__text").get(pk=row.pk)
        assert (found.text, found.by.text) == ("2", "1")
        found = Sample.objects.select_related("by").defer("by__day").get(pk=row.pk)
        assert (found.text, found.by.text) == ("2", "1")

    def test_refresh_from_db(self, record, clinics):
        found = again(record)
        theirs = again(record)
        theirs.clinic, theirs.secret = clinics[1], "new"
        theirs.save()
        found.refresh_from_db(fields=["secret"])
        assert found.secret == "new"
        found.save(update_fields=["secret"])
        assert values(record)[0] == "new"
        found = again(record)
        found.refresh_from_db()
        assert found.secret == "new"

    def test_opened(self, record):
        found = Record.objects.opened().get()
        assert vars(found)["secret"] == "of one"
        found = Record.objects.opened("maybe").get()
        assert vars(found)["maybe"] == [1]
        assert not isinstance(vars(found)["secret"], str)
        open_values([found], "secret")
        assert vars(found)["secret"] == "of one"

    def test_a_deleted_object_still_opens(self, record):
        found = again(record)
        found.delete()
        assert found.secret == "of one"


def test_a_row_that_is_gone_is_said_so(record):
    found = Record.objects.only("name").get()
    record.delete()
    with pytest.raises(Record.DoesNotExist):
        found.secret  # noqa: B018
    with pytest.raises(DatabaseError):
        found.save(update_fields=["name"])
