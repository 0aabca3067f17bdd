"""Ways on which values that are bound to their rows come into these, and out again."""

import pytest
from asgiref.sync import async_to_sync
from django.core import serializers
from django.core.exceptions import FieldError
from django.core.serializers.base import DeserializationError
from django.db import connection, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import JSONField, Value
from django.forms import modelform_factory

from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import acting_as
from tests.models.bound import Chart, Clinic, Event, Folder, Owned, Placed, Record, apps
from tests.models.tables import tables_of
from tests.stored import store, stored, version_of

pytestmark = pytest.mark.django_db(databases=["default", "other"])
tables = tables_of(apps, "other")
FORMATS = ["python", "json", "jsonl", "xml", "yaml"]
HAS = ("of one", "early", [1])


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Have serializers find the models."""
    monkeypatch.setattr("django.core.serializers.python.apps", apps)
    monkeypatch.setattr("django.core.serializers.xml_serializer.apps", apps)


@pytest.fixture
def clinics():
    return [Clinic.objects.create(name=name) for name in ("here", "there")]


@pytest.fixture
def record(clinics):
    return Record.objects.create(clinic=clinics[0], secret="of one", early="early", maybe=[1])


def again(row, using="default"):
    return type(row)._base_manager.using(using).get(pk=row.pk)


def values(row, using="default"):
    found = again(row, using)
    return found.secret, found.early, found.maybe


class TestFixtures:
    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("there", [True, False])
    def test_a_dump_loads_into_its_row(self, record, clinics, form, there):
        dump = serializers.serialize(form, Record.objects.all())
        assert "of one" not in str(dump)
        if there:
            found = again(record)
            found.clinic, found.secret = clinics[1], "changed"
            found.save()
        else:
            record.__class__.objects.all().delete()
        for loaded in serializers.deserialize(form, dump):
            loaded.save()
        assert Record.objects.count() == 1
        assert values(Record.objects.get()) == HAS

    @pytest.mark.parametrize("change", ["pk", "clinic", "no pk"])
    def test_another_row_is_refused(self, record, clinics, change):
        (dump,) = serializers.serialize("python", Record.objects.all())
        if change == "clinic":
            dump["fields"]["clinic"] = clinics[1].pk
        else:
            dump["pk"] = None if change == "no pk" else "00000000-0000-0000-0000-000000000001"
        (loaded,) = serializers.deserialize("python", [dump])
        with (
            pytest.raises(FieldError, match=r"bound\.Record.*made for another"),
            transaction.atomic(),
        ):
            loaded.save()
        assert values(Record.objects.get()) == HAS

    @pytest.mark.parametrize("form", FORMATS)
    def test_natural_keys_are_refused(self, record, form):
        Event.objects.create(name="e", record_id=record.pk, early="x")
        with pytest.raises(FieldError, match=r"bound\.Record.*natural key"):
            serializers.serialize(form, Record.objects.all(), use_natural_foreign_keys=True)
        with pytest.raises(FieldError, match=r"bound\.Event.*natural key"):
            serializers.serialize(form, Event.objects.all(), use_natural_foreign_keys=True)
        serializers.serialize(form, Event.objects.all(), use_natural_primary_keys=True)

    def test_plain_values_are_bound_to_the_row_that_they_come_into(self, clinics):
        fields = {"clinic": clinics[1].pk, "secret": "plain", "early": ""}
        dump = [{"model": "bound.record", "pk": None, "fields": fields}]
        for loaded in serializers.deserialize("python", dump):
            loaded.save()
        assert Record.objects.get().secret == "plain"

    def test_an_object_that_is_looked_at_before_it_is_saved(self, record):
        dump = serializers.serialize("python", Record.objects.all())
        (loaded,) = serializers.deserialize("python", dump)
        assert loaded.object.secret == "of one"
        loaded.object.maybe.append(2)
        loaded.save()
        assert values(record) == (*HAS[:2], [1, 2])

    def test_no_such_row(self):
        with pytest.raises(DeserializationError):
            list(serializers.deserialize("python", [{"model": "bound.none", "fields": {}}]))


class TestDatabases:
    def test_saving_to_another_one(self, record, clinics):
        for looks in (False, True):
            found = again(record)
            assert not looks or found.secret
            Clinic.objects.using("other").get_or_create(pk=clinics[0].pk, name="here")
            found.save(using="other")
            assert values(record, "other") == HAS
            assert values(record) == HAS

    def test_over_a_row_with_another_column(self, record, clinics):
        Clinic.objects.using("other").create(pk=clinics[0].pk, name="here")
        Record.objects.using("other").create(pk=record.pk, secret="theirs", early="")
        again(record).save(using="other")
        assert values(record, "other") == values(record) == HAS

    def test_a_part_of_a_row_with_another_column(self, record):
        Record.objects.using("other").create(pk=record.pk, secret="theirs", early="")
        found = again(record)
        with pytest.raises(FieldError, match="clinic"), transaction.atomic(using="other"):
            found.save(using="other", update_fields=["secret"])
        assert again(record, "other").secret == "theirs"


class TestKeysAndMasks:
    @pytest.fixture
    def keys(self):
        return {alias: create_master_key(alias) for alias in ("red", "blue")}

    @pytest.fixture
    def row(self, keys):
        return Owned.objects.create(tenant="red", text="secret")

    @pytest.fixture
    def reader(self, keys, django_user_model):
        """A user who may read what is under one of the keys, and not under the other."""
        users = [django_user_model.objects.create(username=name) for name in ("one", "two")]
        for user, alias in zip(users, ("red", "blue"), strict=True):
            grant(keys[alias], user, ["encrypt", "decrypt"])
        return users[1]

    def test_another_tenant(self, row, keys):
        found = again(row)
        found.tenant = "blue"
        found.save()
        assert version_of(stored(row, "text")) == bytes(keys["blue"].current_version.version_id)
        assert again(row).text == "secret"

    def test_a_masked_value_stays(self, row, reader):
        envelope = stored(row, "text")
        with acting_as(reader):
            found = again(row)
            assert isinstance(found.text, Mask)
            found.name = "new"
            found.save()
            assert stored(row, "text") == envelope
            found.tenant = "blue"
            with pytest.raises(FieldError, match="masked"), transaction.atomic():
                found.save()
            with pytest.raises(FieldError, match="masked"), transaction.atomic():
                Owned.objects.bulk_update([found], ["text", "tenant"])
            found.tenant = "red"
            with pytest.raises(FieldError, match="masked"), transaction.atomic():
                Owned.objects.bulk_update([found], ["text", "tenant"])
        assert stored(row, "text") == envelope
        assert (again(row).text, again(row).name) == ("secret", "new")

    def test_a_form_of_one_who_may_not_read_it(self, row, reader):
        kind = modelform_factory(Owned, fields=["name", "tenant", "text"])
        with acting_as(reader):
            form = kind({"name": "new", "tenant": "blue"}, instance=again(row))
            assert not form.is_valid()
            assert list(form.errors) == ["text"]
            form = kind({"name": "new", "tenant": "red"}, instance=again(row))
            assert form.is_valid(), form.errors
            form.save()
        assert (again(row).text, again(row).name) == ("secret", "new")

    def test_a_tenants_value_in_anothers_row(self, row):
        other = Owned.objects.create(tenant="blue", text="other")
        store(other, "text", stored(row, "text"))
        with pytest.raises(DecryptionFailed):
            again(other).text  # noqa: B018
        store(other, "tenant", "red")
        with pytest.raises(DecryptionFailed):
            again(other).text  # noqa: B018


class TestCopies:
    def test_a_trigger_copies_the_envelope(self, record, clinics):
        event = Event.objects.create(record_id=record.pk, clinic=clinics[0], early="of its own")
        assert again(event).early == "of its own"
        store(event, "early", stored(record, "early"))
        assert again(event).early == "early"
        store(event, "clinic", clinics[1].pk)
        with pytest.raises(DecryptionFailed):
            again(event).early  # noqa: B018

    @pytest.mark.parametrize("moves", [False, True])
    def test_code_copies_a_sealed_value(self, record, clinics, moves):
        sealed = vars(again(record))["early"]
        assert isinstance(sealed, SealedValue)
        clinic = clinics[1] if moves else clinics[0]
        event = Event(record_id=record.pk, clinic=clinic, early=sealed)
        event.save()
        assert (stored(event, "early") == stored(record, "early")) is not moves
        assert again(event).early == "early"


class TestModelsOfMigrations:
    @pytest.fixture
    def historical(self):
        state = ProjectState()
        for model in (Clinic, Record):
            state.add_model(ModelState.from_model(model))
        return state.apps

    def test_they_are_bound_as_well(self, historical, record, clinics):
        model = historical.get_model("bound", "Record")
        found = model.objects.get()
        assert found.secret == "of one"
        found.clinic_id = clinics[1].pk
        found.save()
        assert values(record) == HAS
        for given in ({"clinic": None}, {"secret": "x"}):
            with pytest.raises(FieldError, match="bound to"), transaction.atomic():
                model.objects.update(**given)
        made = model.objects.create(secret="made", early="")
        assert Record.objects.get(pk=made.pk).secret == "made"

    def test_a_default_is_for_no_row(self, historical, record):
        model = historical.get_model("bound", "Record")
        with pytest.raises(FieldError, match=r"without bind_to=.*previous_bindings=\[\(\)\]"):
            connection.schema_editor().effective_default(model._meta.get_field("early"))
        Record.objects.all().delete()
        assert connection.schema_editor().effective_default(model._meta.get_field("early")) is None

    def test_binding_a_column_is_no_change_of_the_schema(self):
        bound = Record._meta.get_field("secret")
        loose = EncryptedTextField(previous_bindings=[("id",)])
        loose.set_attributes_from_name("secret")
        loose.model = Record
        for fields in ((bound, loose), (loose, bound)):
            assert not connection.schema_editor()._field_should_be_altered(*fields)


class TestOtherWays:
    @pytest.mark.parametrize("on_delete", [models.SET(None), models.SET_DEFAULT])
    def test_what_is_set_when_a_row_is_deleted(self, record, clinics, on_delete, monkeypatch):
        monkeypatch.setattr(Record._meta.get_field("clinic").remote_field, "on_delete", on_delete)
        with pytest.raises(FieldError, match="clinic"), transaction.atomic():
            clinics[0].delete()
        assert values(record) == HAS

    def test_json_null(self, record):
        record.maybe = Value(None, JSONField())
        record.save()
        assert stored(record, "maybe") is not None
        assert again(record).maybe is None
        with pytest.raises(FieldError), transaction.atomic():
            Record.objects.update(maybe=Value(None, JSONField()))

    def test_select_on_save(self, record, clinics, monkeypatch):
        monkeypatch.setattr(Record._meta, "select_on_save", True)
        ours, theirs = again(record), again(record)
        theirs.clinic = clinics[1]
        theirs.save()
        with pytest.raises(FieldError, match="clinic"), transaction.atomic():
            ours.save()
        assert values(record) == HAS

    def test_raw_saves(self, record, clinics):
        found = again(record)
        found.clinic = clinics[1]
        found.save_base(raw=True)
        assert values(record) == HAS

    def test_a_transaction_that_is_rolled_back(self, record, clinics):
        found = again(record)
        with pytest.raises(RuntimeError), transaction.atomic():
            found.clinic = clinics[1]
            found.save()
            raise RuntimeError
        assert values(record) == HAS
        found.save()
        assert values(record) == HAS
        assert again(record).clinic == clinics[1]

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_async(self, record, clinics):
        async def move():
            found = await Record.objects.aget()
            found.clinic_id = clinics[1].pk
            await found.asave()
            with pytest.raises(FieldError):
                await Record.objects.aupdate(clinic=None)

        async_to_sync(move)()
        assert values(record) == HAS

    def test_composite_keys_in_upserts(self, clinics):
        rows = [Placed(clinic=clinics[0], number=n, text=str(n)) for n in range(2)]
        Placed.objects.bulk_create(rows)
        Placed.objects.bulk_create(
            [Placed(clinic=clinics[0], number=1, text="new")], ignore_conflicts=True
        )
        assert [again(row).text for row in rows] == ["0", "1"]

    @pytest.mark.parametrize("name", ["title", "label"])
    def test_a_deferred_value_of_a_second_parent_is_of_its_own_row(self, name):
        for _ in range(3):
            Folder.objects.create(shelf="s", title="another", label="another")
        values = {"title": "of one", "label": "of one"}
        Chart.objects.create(cabinet_id=1, shelf="s", **values)
        Chart.objects.create(cabinet_id=2, shelf="s", **values)
        found = Chart.objects.defer(name)
        if hasattr(models, "FETCH_PEERS"):
            found = found.fetch_mode(models.FETCH_PEERS)
        assert [getattr(each, name) for each in found] == ["of one", "of one"]

    @pytest.mark.skipif("not hasattr(models, 'FETCH_PEERS')")
    def test_peers_are_fetched_together(self, record, clinics, django_assert_num_queries):
        Record.objects.create(clinic=clinics[1], secret="of two")
        assert values(record) == HAS  # by then, this process knows the key
        for queryset in (Record.objects.only("name"), Record.objects.defer("clinic")):
            found = list(queryset.fetch_mode(models.FETCH_PEERS))
            with django_assert_num_queries(1):
                assert {each.secret for each in found} == {"of one", "of two"}
            found[0].clinic_id = None
            assert found[0].secret in ("of one", "of two")
            found[0].refresh_from_db()
            found[0].save()
        assert values(record) == HAS
