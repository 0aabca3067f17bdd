"""The authorization of the keyring: who reads and writes values, also when rights change."""

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse
from django.utils import timezone

from envelope_fields import keyring, kms
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.lifecycle import disable, rotate_master_key
from envelope_fields.middleware import PrincipalMiddleware
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import (
    APPLICATION,
    UNBOUND,
    Action,
    Principal,
    acting_as,
    data,
    principal_of,
)
from envelope_fields.policy.principals import bound
from envelope_fields.policy.requests import handled
from tests.at_once import at_once
from tests.models import LabNote, Note
from tests.other_process import OtherProcess
from tests.policy import read_as

pytestmark = pytest.mark.django_db(transaction=True)

CONTEXT = {"purpose": "tests"}


@pytest.fixture
def note(lab):
    return LabNote.objects.create(text="blood group A")


def read(note):
    return LabNote.objects.get(pk=note.pk).text


def read_note():
    return Note.objects.get().text


def assert_denied(function, *arguments, match="may not"):
    with pytest.raises(KeyAccessDenied, match=match):
        function(*arguments)


def no_application(key):
    key.application_use = False
    key.save(update_fields=["application_use"])


@pytest.mark.any_database
class TestTheDefaultKey:
    """It serves all who have access to the application."""

    @pytest.mark.parametrize("actor", [APPLICATION, AnonymousUser(), Principal("auth.user", "0")])
    def test_everybody(self, actor):
        with handled(), acting_as(actor):
            note = Note.objects.create(text="value")
            assert Note.objects.get(pk=note.pk).text == "value"

    def test_but_not_nobody(self, heard):
        note = Note.objects.create(text="value")
        with handled():
            assert_denied(read_note, match="tests.Note.text: No principal is bound")
            with pytest.raises(KeyAccessDenied):
                note.save()
        assert [(denial.principal.type, denial.field_path) for denial in heard] == [
            ("unbound", "tests.note.text"),
            ("unbound", "tests.note.text"),
        ]

    def test_nobody_has_to_be_looked_up(self, django_assert_num_queries):
        class Later:
            def principal(self):
                raise AssertionError("asked")

        note = Note.objects.create(text="value")
        for forget in (keyring.forget, lambda: None):
            forget()
            with bound(Later()):
                assert Note.objects.get(pk=note.pk).text == "value"

    def test_a_setting_refuses_unbound_code(self, settings):
        note = Note.objects.create(text="value")
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "REQUIRE_PRINCIPAL": True}
        for _ in range(2):
            assert_denied(read_note, match="REQUIRE_PRINCIPAL")
            with acting_as(APPLICATION):
                assert Note.objects.get(pk=note.pk).text == "value"


@pytest.mark.any_database
class TestACustomersKey:
    def test_the_application_unless_the_key_says_no(self, lab, note):
        assert read(note) == "blood group A"
        with handled(), acting_as(APPLICATION):
            assert read(note) == "blood group A"
        no_application(lab)
        assert_denied(read, note, match="tests.LabNote.text: application may not decrypt")
        with acting_as(APPLICATION):
            assert_denied(read, note)
            assert_denied(note.save, match="may not encrypt")

    def test_a_user_needs_a_grant_of_the_action(self, lab, note, ann, bob, granted):
        with acting_as(ann):
            assert_denied(read, note)
        granted(lab, ann, Action.DECRYPT)
        with handled(), acting_as(ann):
            assert read(note) == "blood group A"
            assert_denied(note.save, match="encrypt")
        with handled(), acting_as(bob):
            assert_denied(read, note)

    def test_a_grant_does_not_ask_what_the_application_may(self, lab, note, ann, granted):
        granted(lab, ann, Action.DECRYPT)
        no_application(lab)
        with acting_as(ann):
            assert read(note) == "blood group A"
        assert_denied(read, note)

    def test_a_group(self, lab, note, ann, bob, granted):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT)
        ann.groups.add(staff)
        with acting_as(ann):
            assert read(note) == "blood group A"
        with acting_as(bob):
            assert_denied(read, note)

    def test_never_anonymous(self, lab, note):
        with acting_as(AnonymousUser()):
            assert_denied(read, note, match="Log in")

    def test_a_superuser_is_no_exception_unless_the_setting_says_so(self, note, settings):
        root = User.objects.create_superuser("root")
        with acting_as(root):
            assert_denied(read, note)
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SUPERUSERS_BYPASS_POLICY": True}
        with acting_as(root):
            assert read(note) == "blood group A"

    def test_another_key_is_another_grant(self, lab, note, ann, granted):
        granted(MasterKey.objects.get(alias="default"), ann, Action.DECRYPT)
        with acting_as(ann):
            assert_denied(read, note)

    @pytest.mark.parametrize(
        ("context", "allowed"),
        [
            ("", True),
            ("tests.labnote", True),
            ("tests.labnote.text", True),
            ("tests.LabNote.text", True),
            ("tests.note", False),
            ("tests.lab", False),
            ("tests.labnote.tex", False),
            ("tests.labnote.text.more", False),
        ],
    )
    def test_a_context(self, lab, note, ann, granted, context, allowed):
        granted(lab, ann, Action.DECRYPT, context=context)
        with acting_as(ann):
            if allowed:
                assert read(note) == "blood group A"
            else:
                assert_denied(read, note)

    def test_decisions_are_not_shared(self, lab, note, ann, bob, granted):
        """Derived keys are: what one may read with a key opens it for nobody else."""
        granted(lab, ann, Action.DECRYPT)
        for _ in range(2):
            with acting_as(ann):
                assert read(note) == "blood group A"
            with acting_as(bob):
                assert_denied(read, note)
            assert read(note) == "blood group A"

    def test_a_state_is_not_told_to_who_may_not(self, lab, note, ann, granted):
        disable(lab)
        with acting_as(ann):
            assert_denied(read, note)
        granted(lab, ann, Action.DECRYPT)
        with acting_as(ann), pytest.raises(MasterKeyUnusable, match="disabled"):
            read(note)


@pytest.mark.any_database
class TestKms:
    OPERATIONS = {
        Action.ENCRYPT: lambda made: kms.encrypt("lab", b"x", CONTEXT),
        Action.DECRYPT: lambda made: kms.decrypt(made, CONTEXT),
        Action.GENERATE_DATA_KEY: lambda made: kms.generate_data_key_without_plaintext(
            "lab", CONTEXT
        ),
        Action.RE_ENCRYPT: lambda made: kms.re_encrypt(made, CONTEXT, "lab"),
    }

    @pytest.mark.parametrize("action", OPERATIONS)
    def test_each_operation_is_an_action(self, lab, ann, granted, action):
        made = kms.encrypt("lab", b"x", CONTEXT)
        granted(lab, ann, action)
        with acting_as(ann):
            for other, operation in self.OPERATIONS.items():
                if other == action:
                    assert operation(made)
                else:
                    assert_denied(operation, made, match=f"may not {other}")

    def test_re_encrypt_takes_both_keys(self, lab, ann, granted):
        made = kms.encrypt("default", b"x", CONTEXT)
        with acting_as(ann):
            assert_denied(kms.re_encrypt, made, CONTEXT, "lab")
        granted(lab, ann, Action.RE_ENCRYPT)
        with acting_as(ann):
            assert kms.re_encrypt(made, CONTEXT, "lab")

    def test_a_grant_in_a_context_is_for_fields_alone(self, lab, ann, granted):
        granted(lab, ann, Action.ENCRYPT, context="tests.labnote")
        with acting_as(ann):
            assert_denied(kms.encrypt, "lab", b"x", CONTEXT)


@pytest.mark.any_database
class TestWhatIsTold:
    def test_a_denial(self, lab, note, ann, heard):
        with acting_as(ann):
            assert_denied(read, note)
        (denial,) = heard
        assert denial.principal.name == "ann"
        assert (denial.action, denial.key_id, denial.key_alias) == ("decrypt", lab.pk, "lab")
        assert denial.field_path == "tests.labnote.text"
        assert "may not decrypt with master key 'lab' for tests.labnote.text" in str(denial)

    def test_a_thousand_values_are_one_denial(self, note, ann, bob, heard):
        for user in (ann, bob):
            with acting_as(user):
                for _ in range(3):
                    assert_denied(read, note)
        assert len(heard) == 2
        keyring.forget()
        with acting_as(ann):
            assert_denied(read, note)
        assert len(heard) == 3

    def test_somebody_whom_no_grant_can_name(self, note, heard, rf):
        assert read(note) == "blood group A"  # so that the derived key is known already
        request = rf.get("/")
        request.user = object()
        denied = PrincipalMiddleware(
            lambda _: HttpResponse(assert_denied(read, note, match="no grants"))
        )
        denied(request).close()
        (denial,) = heard
        assert (denial.principal, denial.field_path) == (UNBOUND, "tests.labnote.text")

    def test_nothing_of_the_value(self, note, ann):
        with acting_as(ann):
            with pytest.raises(KeyAccessDenied) as reading:
                read(note)
            with pytest.raises(KeyAccessDenied) as writing:
                LabNote.objects.create(text="blood group A")
        for error in (reading.value, writing.value):
            assert "tests.LabNote.text" in str(error)
            for cause in (error, error.__cause__):
                for frame, _ in traceback.walk_tb(cause.__traceback__):
                    if "/envelope_fields/" in frame.f_code.co_filename:
                        assert "blood group A" not in repr(frame.f_locals)

    def test_the_stored_value_stays(self, note, ann):
        with acting_as(ann):
            assert_denied(LabNote(pk=note.pk, text="other").save)
        assert read(note) == "blood group A"


class TestChanges:
    """At once in this process, whatever was known a moment ago."""

    @pytest.fixture
    def reading(self, lab, note, ann, granted):
        """A grant by which Ann has just read the note."""
        grant = granted(lab, ann, Action.DECRYPT)
        with acting_as(ann):
            assert read(note) == "blood group A"
        return grant

    def test_a_grant_is_deleted(self, reading, note, ann):
        reading.delete()
        assert_denied(read_as, ann.pk, note.pk)

    @pytest.mark.parametrize("how", ["delete", "update", "save"])
    def test_by_a_queryset(self, reading, note, ann, how):
        rows = KeyGrant.objects.filter(pk=reading.pk)
        if how == "delete":
            rows.delete()
        elif how == "update":
            rows.update(actions=["encrypt"])
        else:
            reading.actions = ["encrypt"]
            reading.save()
        assert_denied(read_as, ann.pk, note.pk)

    def test_a_grant_is_made(self, lab, note, bob):
        assert_denied(read_as, bob.pk, note.pk)
        KeyGrant.objects.bulk_create(
            [
                KeyGrant(
                    master_key=lab,
                    principal_type="auth.user",
                    principal_id=bob.pk,
                    actions=["decrypt"],
                )
            ]
        )
        assert read_as(bob.pk, note.pk) == "blood group A"

    def test_a_user_becomes_inactive(self, reading, note, ann):
        ann.is_active = False
        ann.save()
        assert_denied(read_as, ann.pk, note.pk)
        ann.is_active = True
        ann.save(update_fields=["is_active"])
        assert read_as(ann.pk, note.pk) == "blood group A"

    def test_a_user_is_deleted(self, reading, note, ann):
        number = ann.pk
        ann.delete()
        assert_denied(read_as, number, note.pk)

    @pytest.mark.parametrize("how", ["through", "update", "raw"])
    def test_a_membership_goes_without_a_signal(self, lab, note, bob, granted, how):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT)
        memberships = User.groups.through.objects
        memberships.bulk_create([User.groups.through(user=bob, group=staff)])
        assert read_as(bob.pk, note.pk) == "blood group A"
        if how == "through":
            memberships.filter(user=bob).delete()
        elif how == "update":
            memberships.filter(user=bob).update(group=Group.objects.create(name="other"))
        else:
            with connection.cursor() as cursor:
                cursor.execute(f"\n delete FROM {User.groups.through._meta.db_table}")
        assert_denied(read_as, bob.pk, note.pk)

    def test_a_membership_comes_without_a_signal(self, lab, note, bob, granted):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT)
        assert_denied(read_as, bob.pk, note.pk)
        User.groups.through.objects.bulk_create([User.groups.through(user=bob, group=staff)])
        assert read_as(bob.pk, note.pk) == "blood group A"

    def test_an_update_makes_a_user_inactive(self, reading, note, ann):
        User.objects.filter(pk=ann.pk).update(is_active=False)
        assert_denied(read_as, ann.pk, note.pk)

    def test_an_upsert_makes_a_user_inactive(self, reading, note, ann):
        ann.is_active = False
        by = {} if connection.vendor == "mysql" else {"unique_fields": ["id"]}
        User.objects.bulk_create([ann], update_conflicts=True, update_fields=["is_active"], **by)
        assert_denied(read_as, ann.pk, note.pk)

    def test_what_a_transaction_has_removed_comes_back(self, lab, note, bob, granted):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT)
        bob.groups.add(staff)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            User.groups.through.objects.all().delete()
            assert_denied(read_as, bob.pk, note.pk)
            raise ZeroDivisionError
        assert read_as(bob.pk, note.pk) == "blood group A"

    def test_a_login_is_no_news(self, reading, note, ann, client, django_assert_num_queries):
        client.force_login(ann)
        with django_assert_num_queries(1):
            read_as(ann.pk, note.pk)

    def test_a_user_leaves_a_group(self, lab, note, bob, granted):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT)
        for change in (
            lambda: staff.user_set.remove(bob),
            lambda: bob.groups.clear(),
            lambda: bob.groups.set([]),
            lambda: staff.delete(),
        ):
            bob.groups.add(staff)
            assert read_as(bob.pk, note.pk) == "blood group A"
            change()
            assert_denied(read_as, bob.pk, note.pk)

    @pytest.mark.parametrize("how", ["read", "written"])
    def test_to_look_a_user_up_takes_them_out_of_a_group(self, lab, note, bob, granted, how):
        """As where a directory says who is in it."""

        class Login:
            def principal(self):
                bob.groups.clear()
                return principal_of(bob)

        def use():
            if how == "written":
                return LabNote.objects.create(text="blood group B").text
            return LabNote.objects.values_list("text", flat=True).get()

        staff = Group.objects.create(name="laboratory")
        granted(lab, staff, Action.DECRYPT, Action.ENCRYPT)
        bob.groups.add(staff)
        with acting_as(bob):
            assert use()
        with bound(Login()):
            assert_denied(use)

    def test_the_key_closes_to_the_application(self, lab, note):
        assert read(note) == "blood group A"
        no_application(lab)
        assert_denied(read, note)

    @pytest.mark.parametrize("known", ["old", "new"])
    def test_another_process_closes_a_key_of_two_versions(self, lab, note, known):
        """What was read before is gone by until its time is over; what is read now, at once."""
        rotate_master_key(lab)
        notes = {"old": note, "new": LabNote.objects.create(text="blood group B")}
        first = notes.pop(known)
        [second] = notes.values()
        keyring.forget()
        assert read(first)
        with connection.cursor() as cursor:  # of which this process is not notified
            closed = f"UPDATE {MasterKey._meta.db_table} SET application_use = %s"
            cursor.execute(closed, [False])
        for _ in range(2):
            assert_denied(read, second)
            assert read(first)
        keyring.forget()
        for each in (first, second):
            assert_denied(read, each)

    @pytest.mark.skipif("connection.vendor != 'postgresql'", reason="a statement of PostgreSQL's")
    def test_what_a_snapshot_reads_of_a_closed_key_is_its_own(self, lab, note):
        def closed():
            no_application(lab)
            assert_denied(read, note)

        def still_closed():
            assert_denied(read, note)

        rotate_master_key(lab)
        keyring.evict()
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            Note.objects.count()
            assert at_once(closed) == [None]
            assert read(note) == "blood group A"  # as it was
            assert at_once(still_closed) == [None]
        still_closed()

    def test_a_grant_ends_at_its_time_also_when_it_is_cached(
        self, lab, note, bob, granted, monkeypatch, django_assert_num_queries
    ):
        end = timezone.now() + timedelta(hours=1)
        granted(lab, bob, Action.DECRYPT, expires_at=end)
        assert read_as(bob.pk, note.pk) == "blood group A"
        with django_assert_num_queries(1):
            assert read_as(bob.pk, note.pk) == "blood group A"
        monkeypatch.setattr(timezone, "now", lambda: end)
        assert_denied(read_as, bob.pk, note.pk)

    def test_a_warm_decision_costs_no_query(self, reading, note, ann, django_assert_num_queries):
        with acting_as(ann), django_assert_num_queries(1):
            read(note)

    def test_another_process_learns_of_it_in_time(self, reading, note, ann):
        with OtherProcess() as process:
            ask = f"read_as({ann.pk}, {note.pk})"
            assert process(ask) == "blood group A"
            reading.delete()
            assert process(ask) == "blood group A"
            process("setattr(keyring.cache.known.table, 'deadline', 0)")
            with pytest.raises(AssertionError, match=r"KeyAccessDenied: tests.LabNote.text"):
                process(ask)


class TestTransactions:
    """What is rolled back leaves no decision behind (law 3)."""

    def test_a_grant_that_is_rolled_back(self, lab, note, ann, granted):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            granted(lab, ann, Action.DECRYPT)
            assert read_as(ann.pk, note.pk) == "blood group A"
            raise ZeroDivisionError
        assert_denied(read_as, ann.pk, note.pk)

    def test_to_a_savepoint(self, lab, note, ann, granted):
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                granted(lab, ann, Action.DECRYPT)
                assert read_as(ann.pk, note.pk) == "blood group A"
                raise ZeroDivisionError
            assert_denied(read_as, ann.pk, note.pk)

    def test_a_revocation_that_is_rolled_back(self, lab, note, ann, granted):
        grant = granted(lab, ann, Action.DECRYPT)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            grant.delete()
            assert_denied(read_as, ann.pk, note.pk)
            raise ZeroDivisionError
        assert read_as(ann.pk, note.pk) == "blood group A"

    @pytest.mark.parametrize("change", ["active", "group"])
    def test_a_user_who_is_rolled_back(self, lab, note, ann, granted, change):
        staff = Group.objects.create(name="laboratory")
        granted(lab, staff if change == "group" else ann, Action.DECRYPT)
        if change == "active":
            User.objects.filter(pk=ann.pk).update(is_active=False)
        assert_denied(read_as, ann.pk, note.pk)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            if change == "active":
                ann.save()
            else:
                ann.groups.add(staff)
            for _ in range(2):
                assert read_as(ann.pk, note.pk) == "blood group A"
            raise ZeroDivisionError
        assert_denied(read_as, ann.pk, note.pk)

    def test_other_threads_do_not_see_it(self, lab, note, ann, granted):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite lets nobody else read while this writes")
        granted(lab, ann, Action.DECRYPT)
        User.objects.filter(pk=ann.pk).update(is_active=False)
        keyring.forget()
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                ann.save()
                assert read_as(ann.pk, note.pk) == "blood group A"
                assert_denied(pool.submit(read_as, ann.pk, note.pk).result)
            pool.submit(lambda: connection.close()).result()


class TestWhatCannotBeRead:
    def test_users(self, lab, note, ann, granted, monkeypatch):
        granted(lab, ann, Action.DECRYPT)

        def fails(*_):
            raise DatabaseError("gone")

        monkeypatch.setattr(data, "person", fails)
        with acting_as(ann), pytest.raises(MasterKeyUnusable, match="no user may use the key"):
            read(note)

    @pytest.mark.parametrize("table", ["KeyGrant", "MasterKey"])
    def test_grants_and_keys(self, lab, note, ann, monkeypatch, table):
        monkeypatch.setattr(f"envelope_fields.models.{table}._meta.db_table", "not_there")
        keyring.forget()
        with acting_as(ann), pytest.raises(MasterKeyUnusable, match="could not be read"):
            read(note)


@pytest.mark.any_database
class TestContexts:
    def test_a_bare_thread_while_a_request_is_handled(self, lab, note, ann, granted):
        granted(lab, ann, Action.DECRYPT)
        with handled(), acting_as(ann), ThreadPoolExecutor(1) as pool:
            assert_denied(pool.submit(read, note).result, match="No principal is bound")
            assert pool.submit(copy_context().run, read, note).result() == "blood group A"
            pool.submit(lambda: connection.close()).result()

    def test_a_worker_that_says_who_it_is(self, note):
        answers = []

        @acting_as(APPLICATION)
        def task():
            try:
                answers.append(read(note))
            finally:
                connection.close()

        with handled():
            worker = threading.Thread(target=task)
            worker.start()
            worker.join()
        assert answers == ["blood group A"]

    def test_async_querysets(self, lab, note, ann, granted):
        granted(lab, ann, Action.DECRYPT)

        async def texts():
            with acting_as(ann):
                return [(await LabNote.objects.aget()).text] + [
                    note.text async for note in LabNote.objects.all()
                ]

        with handled():
            assert async_to_sync(texts)() == ["blood group A"] * 2
