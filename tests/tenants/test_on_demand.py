"""A tenant's key is made when it is first needed, and never lost under a value."""

import pytest
from django.core.exceptions import FieldError
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import isolate_apps

from envelope_fields import keyring, kms
from envelope_fields.census import census
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import shred
from envelope_fields.models import AuditEvent, MasterKey
from envelope_fields.policy import acting_as
from envelope_fields.tenants import TenantKey
from tests.at_once import at_once
from tests.lifecycle import known_at_once
from tests.models import Clinic, Document
from tests.stored import stored, version_of

ALL = pytest.mark.django_db(databases="__all__")
TRANSACTIONS = pytest.mark.django_db(transaction=True, databases="__all__")


def aliases():
    return set(MasterKey.objects.exclude(alias="default").values_list("alias", flat=True))


@ALL
class TestEach:
    def test_has_a_key(self):
        north, south = Clinic.objects.create(name="n"), Clinic.objects.create(name="s")
        documents = [Document.objects.create(clinic=clinic, body="a") for clinic in (north, south)]
        assert aliases() == {f"clinic/{north.pk}", f"clinic/{south.pk}"}
        assert len({version_of(stored(document, "body")) for document in documents}) == 2
        assert {document.body for document in Document.objects.all()} == {"a"}

    def test_has_one(self):
        clinic = Clinic.objects.create()
        Document.objects.bulk_create([Document(clinic=clinic, body=str(n)) for n in range(5)])
        Document.objects.create(clinic=clinic, body="b")
        assert aliases() == {f"clinic/{clinic.pk}"}

    def test_can_be_made_before(self):
        key = Document._meta.get_field("body").key
        made = key.create(clinic_id=7)
        assert made.alias == "clinic/7"
        assert key.create(clinic_id=7) == made

    def test_the_application_makes_it_for_a_user(self, django_user_model):
        user = django_user_model.objects.create_user("nurse")
        clinic = Clinic.objects.create()
        with acting_as(user):
            document = Document.objects.create(clinic=clinic, body="a")
            document.refresh_from_db()
        assert document.body == "a"
        event = AuditEvent.objects.get(action="create_key", key_alias=f"clinic/{clinic.pk}")
        assert event.actor_type == "application"

    def test_reading_makes_none(self):
        clinic = Clinic.objects.create()
        document = Document.objects.create(clinic=clinic, body="a")
        shred_now(f"clinic/{clinic.pk}")
        with pytest.raises(EnvelopeError):
            document.refresh_from_db()
        assert aliases() == {None}

    def test_a_plain_update_has_no_row(self):
        document = Document.objects.create(clinic=Clinic.objects.create(), body="a")
        with pytest.raises(FieldError, match="its key from the instance"), transaction.atomic():
            Document.objects.update(body="b")
        document.body = "c"
        Document.objects.bulk_update([document], ["body"])
        document.refresh_from_db()
        assert document.body == "c"

    def test_a_row_that_went_to_another_tenant_takes_its_value_along_when_it_is_saved(self):
        north, south = Clinic.objects.create(), Clinic.objects.create()
        document = Document.objects.create(clinic=north, body="a")
        south.document_set.add(document)
        of_north = f"clinic/{north.pk}"
        assert [row.version.key_alias for row in census(of_north)] == [of_north]
        Document.objects.get().save()
        assert census(of_north) == []
        shred_now(of_north)
        assert Document.objects.get().body == "a"

    def test_a_row_that_names_no_tenant(self):
        with pytest.raises(FieldError, match="clinic_id"), transaction.atomic():
            Document(body="a").save()
        assert aliases() == set()


@TRANSACTIONS
class TestTransactions:
    def test_a_rollback_leaves_no_value_without_key(self):
        clinic = Clinic.objects.create()
        with transaction.atomic():
            Document.objects.create(clinic=clinic, body="a")
            transaction.set_rollback(True)
        document = Document.objects.create(clinic=clinic, body="b")
        keyring.evict()
        document.refresh_from_db()
        assert document.body == "b"
        assert aliases() == {f"clinic/{clinic.pk}"}

    def test_a_savepoint(self):
        clinic = Clinic.objects.create()
        with transaction.atomic():
            with transaction.atomic():
                Document.objects.create(clinic=clinic, body="a")
                transaction.set_rollback(True)
            document = Document.objects.create(clinic=clinic, body="b")
        keyring.evict()
        document.refresh_from_db()
        assert document.body == "b"

    def test_kms_may_use_it_where_it_is_committed_at_once(self):
        clinic = Clinic.objects.create()
        with transaction.atomic():
            Document.objects.create(clinic=clinic, body="a")
            if connection.vendor == "sqlite":  # has one connection that writes at a time
                with pytest.raises(EnvelopeError, match="not committed"):
                    kms.encrypt(f"clinic/{clinic.pk}", b"b", {})
                return
            ciphertext = kms.encrypt(f"clinic/{clinic.pk}", b"b", {})
            transaction.set_rollback(True)
        assert kms.decrypt(ciphertext, {}) == b"b"

    def test_a_value_for_another_database(self):
        clinic = Clinic.objects.using("other").create(pk=70)
        document = Document(clinic_id=clinic.pk, body="a")
        if connection.vendor == "sqlite":
            with pytest.raises(EnvelopeError, match="before the transaction"), transaction.atomic():
                document.save(using="other")
        with transaction.atomic("other"):
            document.save(using="other")
        keyring.evict()
        assert Document.objects.using("other").get().body == "a"

    def test_one_that_is_made_just_now(self, monkeypatch):
        """Another process makes it after it was not found, and before it is asked why."""
        clinic, newest = Clinic.objects.create(), keyring.rows._newest

        def another_is_faster(versions):
            found = newest(versions)
            if not aliases():
                at_once(lambda: Document._meta.get_field("body").key.create(clinic_id=clinic.pk))
            return found

        monkeypatch.setattr(keyring.rows, "_newest", another_is_faster)
        document = Document.objects.create(clinic=clinic, body="a")
        assert Document.objects.get(pk=document.pk).body == "a"
        assert aliases() == {f"clinic/{clinic.pk}"}

    def test_the_keys_database_fails_meanwhile(self, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
        keyring.evict()
        clinic = Clinic.objects.using("default").create()

        def fail(execute, sql, *args):
            if sql.startswith("INSERT"):
                raise OperationalError("gone")
            return execute(sql, *args)

        with (
            connections["other"].execute_wrapper(fail),
            pytest.raises(MasterKeyUnusable, match=r"tests\.Document\.body: .*database 'other'"),
        ):
            Document.objects.using("default").create(clinic=clinic, body="a")
        document = Document.objects.using("default").create(clinic=clinic, body="a")
        assert Document.objects.using("default").get().body == document.body

    def test_two_at_once(self):
        clinic = Clinic.objects.create()

        def write():
            with transaction.atomic():
                Clinic.objects.filter(pk=clinic.pk).update(name="x")  # SQLite: wait first
                return Document.objects.create(clinic_id=clinic.pk, body="a").pk

        outcomes = at_once(*[write] * 4)
        assert not [each for each in outcomes if isinstance(each, Exception)]
        assert aliases() == {f"clinic/{clinic.pk}"}
        keyring.evict()
        assert [document.body for document in Document.objects.all()] == ["a"] * 4


@isolate_apps("tests")
@pytest.mark.parametrize("name", ["nothing", "body", "when"])
def test_the_check_knows_the_columns(name):
    from django.db import models

    class Paper(models.Model):
        when = models.DateField()
        body = EncryptedTextField(key=TenantKey(f"clinic/{{{name}}}"))

        class Meta:
            app_label = "tests"

    errors = [error for error in Paper.check() if error.id == "envelope_fields.E016"]
    assert len(errors) == 1
    assert repr(name) in errors[0].msg


def test_the_check_is_content():
    assert Document._meta.get_field("body").check() == []


def shred_now(alias):
    with known_at_once():
        shred(alias)


@ALL
def test_erasing_a_tenant_leaves_the_others():
    north, south = Clinic.objects.create(name="n"), Clinic.objects.create(name="s")
    Document.objects.create(clinic=north, body="a")
    kept = Document.objects.create(clinic=south, body="b")
    shred_now(f"clinic/{north.pk}")
    with pytest.raises(EnvelopeError) as caught:
        _ = Document.objects.get(clinic=north).body
    assert not isinstance(caught.value, MasterKeyNotFound)
    kept.refresh_from_db()
    assert kept.body == "b"
