"""An alias is no right: a key that a user made or named serves no field until it is adopted."""

from contextlib import contextmanager
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from envelope_fields import keyring, kms, rotation
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, MasterKeyUnusable
from envelope_fields.grants import grant
from envelope_fields.lifecycle import (
    AliasRefused,
    AliasTaken,
    adopt,
    create_master_key,
    find_master_key,
    move_alias,
)
from envelope_fields.models import AuditEvent, MasterKey
from envelope_fields.policy import ANONYMOUS, APPLICATION, acting_as
from envelope_fields.tenants import TenantKey
from tests.models import Clinic, Document, LabNote, TenantNote
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")
ADVICE = "adopt_master_key"


@contextmanager
def refused(why=ADVICE):
    with pytest.raises(MasterKeyUnusable, match=why), transaction.atomic():
        yield


@pytest.fixture(autouse=True)
def nothing_cached():
    keyring.evict()


@pytest.fixture
def mallory():
    return User.objects.create_user("mallory")


@pytest.fixture
def clinic():
    return Clinic.objects.create(name="acme")


def may_rotate(user, *keys):
    for key in keys:
        grant(key, user, ["rotate", "describe"], actor=APPLICATION)


class TestAKeyThatAUserMade:
    def test_serves_no_tenant(self, mallory, clinic):
        squatted = create_master_key(f"clinic/{clinic.pk}", actor=mallory)
        with refused():
            Document.objects.create(clinic=clinic, body="a")
        with refused():
            Document._meta.get_field("body").key.create(clinic_id=clinic.pk)
        assert (squatted.creator_type, squatted.creator_id) == ("auth.user", str(mallory.pk))

    def test_serves_no_field_that_names_it(self, mallory):
        create_master_key("lab", actor=mallory)
        with refused(r"tests\.LabNote\.text.*adopt_master_key lab"):
            LabNote.objects.create(text="a")

    def test_serves_no_field_whose_function_names_it(self, mallory):
        create_master_key("acme", actor=mallory)
        with refused():
            TenantNote.objects.create(tenant="acme", text="a")

    def test_serves_no_field_after_kms_has_used_it(self, mallory):
        create_master_key("lab", actor=mallory)
        kms.encrypt("lab", b"a", {})
        with refused():
            LabNote.objects.create(text="a")

    def test_serves_their_own_code(self, mallory):
        create_master_key("mine", actor=mallory)
        with acting_as(mallory):
            assert kms.decrypt(kms.encrypt("mine", b"a", {}), {}) == b"a"

    def test_takes_no_values_that_are_moved(self, mallory):
        note = TenantNote.objects.create(tenant="default", text="a", data=None)
        before = stored(note, "text")
        TenantNote.objects.update(tenant="acme")
        create_master_key("acme", actor=mallory)
        run = rotation.run("default", kind="re_encrypt")
        assert rotation.progress(run).failed == 1
        assert stored(note, "text") == before

    def test_stays_theirs(self, mallory):
        key = create_master_key("mine", actor=mallory)
        key.creator_type, key.creator_id, key.description = "application", "", "x"
        key.save()
        with pytest.raises(EnvelopeError, match="written once"):
            MasterKey.objects.filter(pk=key.pk).update(creator_type="application")
        with pytest.raises(EnvelopeError, match="written once"):
            MasterKey.objects.bulk_create(
                [key], update_conflicts=True, update_fields=["creator_id"], unique_fields=["id"]
            )
        key.refresh_from_db()
        assert (key.creator_type, key.description) == ("auth.user", "x")
        assert key.creator_id == str(mallory.pk)

    def test_may_be_read_as_before(self, mallory):
        create_master_key("lab")
        note = LabNote.objects.create(text="a")
        MasterKey.objects.filter(alias="lab").update(serves_fields=False)
        note.refresh_from_db()
        assert note.text == "a"


class TestAdoption:
    def test_puts_it_into_service(self, mallory, clinic):
        key = create_master_key("lab", actor=mallory)
        adopt(key)
        assert key.serves_fields
        note = LabNote.objects.create(text="a")
        assert version_of(stored(note, "text")) == bytes(key.current_version.version_id)
        event = AuditEvent.objects.get(action="adopt")
        assert (event.actor_type, event.key_id, event.after) == (
            "application", key.pk, {"serves_fields": True},
        )  # fmt: skip
        adopt("lab")
        assert AuditEvent.objects.filter(action="adopt").count() == 1

    def test_is_the_applications(self, mallory):
        key = create_master_key("lab", actor=mallory)
        with pytest.raises(KeyAccessDenied, match="Only the application"):
            adopt(key, actor=mallory)
        with acting_as(mallory), pytest.raises(KeyAccessDenied):
            adopt(key)
        with acting_as(ANONYMOUS), pytest.raises(KeyAccessDenied, match="adopt with this key"):
            adopt(key)
        assert not find_master_key("lab").serves_fields
        assert AuditEvent.objects.filter(action="adopt", outcome="denied").exists()

    def test_as_a_command(self, mallory):
        create_master_key("lab", actor=mallory)
        said = StringIO()
        call_command("adopt_master_key", "lab", stdout=said)
        assert said.getvalue().startswith("The master key lab serves the fields that name it.\n")
        assert "Granted to auth.user mallory: " in said.getvalue()
        assert find_master_key("lab").serves_fields
        with acting_as(mallory), pytest.raises(CommandError, match="Only the application"):
            call_command("adopt_master_key", "lab")


class TestAKeyOfATenant:
    def test_is_managed_as_declared(self, clinic):
        create_master_key(f"clinic/{clinic.pk}")  # a customer's, and the field declares another
        with refused("managed by the application"):
            Document.objects.create(clinic=clinic, body="a")
        with refused("managed by the application"):
            Document._meta.get_field("body").key.create(clinic_id=clinic.pk)

    def test_is_taken_where_an_operator_made_it_so(self, clinic):
        alias = f"clinic/{clinic.pk}"
        key = create_master_key(alias, managed_by="application")
        document = Document.objects.create(clinic=clinic, body="a")
        assert version_of(stored(document, "body")) == bytes(key.current_version.version_id)
        assert Document._meta.get_field("body").key.create(clinic_id=clinic.pk) == key

    def test_after_another_field_with_the_alias(self, clinic):
        """What one field may write under serves no other that declares something else."""
        alias = f"clinic/{clinic.pk}"
        create_master_key(alias)
        TenantNote.objects.create(tenant=alias, text="a")
        with refused("managed by"):
            Document.objects.create(clinic=clinic, body="a")

    @pytest.mark.parametrize(
        ("alias", "is_named"),
        [("clinic/7", True), ("CLINIC/7", True), ("clinic/", False), ("clinic/7/x", False)],
    )
    def test_is_known_by_its_alias(self, alias, is_named):
        assert TenantKey("clinic/{clinic_id}").names(alias) is is_named


class TestMovingAnAlias:
    @pytest.mark.parametrize("alias", ["lab", "LAB", "clinic/7"])
    def test_to_a_name_that_fields_declare(self, mallory, alias):
        key = create_master_key("free")
        may_rotate(mallory, key)
        with pytest.raises(KeyAccessDenied, match="move_alias"):
            move_alias(alias, key, actor=mallory)
        assert find_master_key("free") == key
        move_alias(alias, key)
        assert find_master_key(alias).serves_fields

    def test_away_from_a_name_that_fields_declare(self, mallory):
        key = create_master_key("lab")
        may_rotate(mallory, key)
        with pytest.raises(KeyAccessDenied, match="move_alias"):
            move_alias("else", key, actor=mallory)
        LabNote.objects.create(text="a")

    def test_to_another_name_puts_nothing_into_service(self, mallory):
        """It may be what a function returns, or what another project declares."""
        key = create_master_key("free")
        may_rotate(mallory, key)
        move_alias("acme", key, actor=mallory)
        with refused():
            TenantNote.objects.create(tenant="acme", text="a")
        event = AuditEvent.objects.get(action="move_alias")
        assert event.after == {"alias": "acme", "serves_fields": False}
        move_alias("again", key)
        TenantNote.objects.create(tenant="again", text="a")

    def test_with_a_grant_on_both(self, mallory):
        old, new = create_master_key("lab"), create_master_key("free")
        may_rotate(mallory, old, new)
        move_alias("lab", new, actor=mallory)
        note = LabNote.objects.create(text="a")
        assert version_of(stored(note, "text")) == bytes(new.current_version.version_id)

    def test_onto_a_key_of_ones_own(self, mallory):
        old, own = create_master_key("lab"), create_master_key("own", actor=mallory)
        may_rotate(mallory, old)
        move_alias("lab", own, actor=mallory)
        with refused():
            LabNote.objects.create(text="a")
        move_alias("lab", old)
        LabNote.objects.create(text="a")

    def test_by_the_application_adopts_nothing(self, mallory):
        own = create_master_key("own", actor=mallory)
        move_alias("lab", own)
        with refused():
            LabNote.objects.create(text="a")


class TestHiddenKeys:
    @pytest.fixture(autouse=True)
    def hidden(self):
        return create_master_key("secret")

    def test_making_one_of_that_name(self, mallory):
        with pytest.raises(AliasRefused) as caught:
            create_master_key("secret", actor=mallory)
        assert str(caught.value).startswith("You may not give a key the alias 'secret'.")
        denied = AuditEvent.objects.get(outcome="denied")
        assert (denied.action, denied.actor_id) == ("create_key", str(mallory.pk))

    def test_moving_it(self, mallory):
        own = create_master_key("own", actor=mallory)
        with pytest.raises(AliasRefused) as caught:
            move_alias("secret", own, actor=mallory)
        assert str(caught.value).startswith("You may not give a key the alias 'secret'.")

    def test_one_that_fields_name_looks_as_if_it_were_not_there(self, mallory):
        create_master_key("clinic/7", managed_by="customer")
        own = create_master_key("own", actor=mallory)
        said = []
        for alias in ("clinic/7", "clinic/8"):
            with pytest.raises(KeyAccessDenied) as caught:
                move_alias(alias, own, actor=mallory)
            said.append(str(caught.value))
        assert said[0] == said[1]

    def test_one_that_is_seen(self, mallory, hidden):
        grant(hidden, mallory, ["describe"], actor=APPLICATION)
        with pytest.raises(AliasTaken):
            create_master_key("secret", actor=mallory)
        own = create_master_key("own", actor=mallory)
        with pytest.raises(KeyAccessDenied, match="may not rotate with master key 'secret'"):
            move_alias("secret", own, actor=mallory)

    def test_one_that_is_made_meanwhile(self, mallory, hidden, monkeypatch):
        from envelope_fields.lifecycle import master_keys

        found = iter([None])
        known = master_keys.alias_problem
        monkeypatch.setattr(master_keys, "alias_problem", lambda *given: next(found, known(*given)))
        with pytest.raises(AliasRefused) as caught:
            create_master_key("secret", actor=mallory)
        assert isinstance(caught.value.__cause__.__cause__, IntegrityError)
