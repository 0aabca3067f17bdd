"""Handing out rights and taking them away."""

import json
from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from envelope_fields import audit
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.grants import LastGrant, grant, list_grants, revoke
from envelope_fields.lifecycle import create_master_key, move_alias
from envelope_fields.models import AuditEvent, KeyGrant, KeyState
from envelope_fields.policy import Action, Principal, acting_as, require
from envelope_fields.policy.requests import handled
from tests.at_once import at_once
from tests.management import printed
from tests.models import LabNote
from tests.policy import read_as

pytestmark = pytest.mark.django_db

MANAGE = [Action.MANAGE_GRANTS]
TO_ANN = ["lab", "--user", "ann", "--action", "decrypt"]


@pytest.fixture
def staff():
    return Group.objects.create(name="laboratory")


def events(action):
    return list(AuditEvent.objects.filter(action=action).order_by("number"))


class TestGranting:
    def test_a_user(self, lab, ann):
        note = LabNote.objects.create(text="value")
        made = grant("lab", ann, ["decrypt", Action.ENCRYPT, "decrypt"])
        assert made.actions == ["encrypt", "decrypt"]
        assert (made.principal_type, made.principal_id) == ("auth.user", str(ann.pk))
        assert read_as(ann.pk, note.pk) == "value"

    def test_a_group(self, lab, staff):
        assert grant(lab, staff, "decrypt").principal_type == "auth.group"

    def test_the_event(self, lab, ann):
        end = timezone.now() + timedelta(days=1)
        made = grant(lab.pk, ann, ["decrypt"], context="tests.LabNote.text", expires_at=end)
        (event,) = events("create_grant")
        assert (event.actor_type, event.key_alias) == ("application", "lab")
        assert event.after == {
            "grant": made.pk,
            "principal": f"auth.user {ann.pk} (ann)",
            "actions": ["decrypt"],
            "context": "tests.labnote.text",
            "expires_at": end.isoformat(timespec="seconds"),
        }

    def test_the_same_again_is_the_one_that_is_there(self, lab, ann):
        assert grant(lab, ann, ["decrypt"]) == grant(lab, ann, ["decrypt"])
        assert grant(lab, ann, ["decrypt"]) != grant(lab, ann, ["encrypt"])
        assert len(events("create_grant")) == 2

    @pytest.mark.parametrize("actions", [[], ["read"], ["decrypt", None], "", [7]])
    def test_what_is_no_action(self, lab, ann, actions):
        with pytest.raises(ValidationError, match=r"actions.*Valid: encrypt, decrypt"):
            grant(lab, ann, actions)
        assert not KeyGrant.objects.exists()

    @pytest.mark.parametrize(
        ("context", "message"),
        [
            ("tests.nothing", "There is no model"),
            ("labnote", "There is no model"),
            ("nowhere.labnote.text", "There is no model"),
            ("tests.labnote.txt", "is not an encrypted field"),
            ("tests.note.title", "is not an encrypted field"),
            ("tests.note.text.more", "is not an encrypted field"),
            ("auth.user", "no encrypted field of its own"),
            (".", "There is no model"),
        ],
    )
    def test_what_is_no_context(self, lab, ann, context, message):
        with pytest.raises(ValidationError, match=message):
            grant(lab, ann, ["decrypt"], context=context)

    def test_what_has_no_place_has_no_context(self, lab, ann):
        with pytest.raises(ValidationError, match="not rotate"):
            grant(lab, ann, ["decrypt", "rotate"], context="tests.labnote")

    def test_times_that_are_over(self, lab, ann):
        with pytest.raises(ValidationError, match="is over"):
            grant(lab, ann, ["decrypt"], expires_at=timezone.now())
        with pytest.raises(ValidationError, match="without a time zone"):
            grant(lab, ann, ["decrypt"], expires_at=datetime(2999, 1, 1))

    def test_times_of_which_utc_has_no_more(self, lab, ann):
        last = datetime.max.replace(tzinfo=timezone.get_fixed_timezone(-840))
        with pytest.raises(ValidationError, match="too far away"):
            grant(lab, ann, ["decrypt"], expires_at=last)

    @pytest.mark.parametrize(
        "limits",
        [{"context": 5}, {"expires_at": "2999-01-01"}, {"expires_at": datetime(2999, 1, 1).date()}],
    )
    def test_limits_of_another_type(self, lab, ann, limits):
        with pytest.raises(TypeError, match=f"{next(iter(limits))} is (int|str|date), not "):
            grant(lab, ann, ["decrypt"], **limits)

    @pytest.mark.parametrize("given", [None, 5, "decrypt"])
    def test_what_is_no_grant(self, given):
        with pytest.raises(TypeError, match="is not a KeyGrant, as grant"):
            revoke(given)

    def test_in_a_project_without_time_zones(self, lab, ann, settings):
        settings.USE_TZ = False
        settings.TIME_ZONE = "America/Regina"  # where no hour is missing or comes twice
        in_an_hour = datetime.now().replace(microsecond=0) + timedelta(hours=1)
        for end in (in_an_hour, timezone.make_aware(in_an_hour)):
            grant(lab, ann, ["decrypt"], expires_at=end)
        assert KeyGrant.objects.get().expires_at == in_an_hour
        with pytest.raises(ValidationError, match="is over"):
            grant(lab, ann, ["decrypt"], expires_at=datetime.now())
        out = StringIO()
        call_command("grant_key", *TO_ANN, "--expires", "2999-12-31T18:00", stdout=out)
        call_command("list_grants", stdout=out)
        assert out.getvalue().count("until 2999-12-31 18:00") == 2
        assert KeyGrant.objects.latest("pk").expires_at == datetime(2999, 12, 31, 18)

    @pytest.mark.parametrize("to", [None, "ann", AnonymousUser(), Principal("auth.user", "1")])
    def test_who_holds_no_grants(self, lab, to):
        with pytest.raises(TypeError, match="neither a saved user nor a group"):
            grant(lab, to, ["decrypt"])

    def test_unsaved_and_deleted_users(self, lab, ann):
        with pytest.raises(TypeError):
            grant(lab, User(username="new"), ["decrypt"])
        User.objects.filter(pk=ann.pk).delete()
        with pytest.raises(ValidationError, match="There is no user ann any more"):
            grant(lab, ann, ["decrypt"])

    def test_keys_that_cannot_be_used(self, lab, ann):
        with pytest.raises(MasterKeyNotFound):
            grant("nothing", ann, ["decrypt"])
        lab.state = KeyState.DESTROYED
        lab.save()
        with pytest.raises(MasterKeyUnusable, match="destroyed"):
            grant(lab, ann, ["decrypt"])

    def test_to_one_whose_name_differs_in_case_is_another(self, lab, ann, granted):
        """MariaDB compares names without case; primary keys may be text."""
        there = granted(lab, ann, "decrypt")
        KeyGrant.objects.filter(pk=there.pk).update(principal_type="AUTH.User")
        made = grant("lab", ann, ["decrypt"])
        assert made.pk != there.pk
        assert [listed.grant.pk for listed in list_grants(to=ann)] == [made.pk]


@pytest.mark.any_database
class TestWhoMayGrant:
    def test_a_user_who_manages_grants(self, lab, ann, bob):
        with pytest.raises(KeyAccessDenied, match="manage_grants"):
            grant(lab, bob, ["decrypt"], actor=ann)
        grant(lab, ann, MANAGE)
        made = grant(lab, bob, ["decrypt"], actor=ann)
        revoke(made, actor=ann)
        assert [event.actor_name for event in events("revoke_grant")] == ["ann"]

    def test_whoever_is_bound(self, lab, ann, bob):
        made = grant(lab, bob, ["decrypt"])
        with handled():
            with pytest.raises(KeyAccessDenied):
                grant(lab, bob, ["encrypt"])
            with acting_as(ann), pytest.raises(KeyAccessDenied):
                revoke(made)
            with acting_as(bob), pytest.raises(KeyAccessDenied):
                grant(lab, bob, MANAGE)
        assert KeyGrant.objects.get() == made

    def test_on_this_key_alone(self, lab, ann, bob):
        other = create_master_key("other")
        grant(other, ann, MANAGE)
        with pytest.raises(KeyAccessDenied):
            grant(lab, bob, ["decrypt"], actor=ann)


class TestRevoking:
    def test_it_ends_at_once(self, lab, ann):
        note = LabNote.objects.create(text="value")
        made = grant(lab, ann, ["decrypt"])
        assert read_as(ann.pk, note.pk) == "value"
        revoke(made)
        with pytest.raises(KeyAccessDenied):
            read_as(ann.pk, note.pk)
        revoke(made)
        (event,) = events("revoke_grant")
        assert event.before["principal"] == f"auth.user {ann.pk} (ann)"

    def test_not_the_last_one_that_manages(self, lab, ann):
        last = grant(lab, ann, [*MANAGE, "decrypt"])
        with pytest.raises(LastGrant, match="override='lab'"):
            revoke(last)
        with pytest.raises(LastGrant):
            revoke(last, override="default")
        assert KeyGrant.objects.get() == last
        revoke(last, override="lab")
        assert not KeyGrant.objects.exists()

    @pytest.mark.parametrize("other", ["user", "group"])
    def test_when_there_is_another(self, lab, ann, bob, staff, other):
        last = grant(lab, ann, MANAGE)
        staff.user_set.add(bob)
        grant(lab, bob if other == "user" else staff, MANAGE)
        revoke(last)

    @pytest.mark.parametrize(
        "other", ["inactive", "gone", "empty group", "inactive group", "expired", "in a context"]
    )
    def test_when_the_other_is_void(self, lab, ann, bob, staff, granted, other):
        last = grant(lab, ann, MANAGE)
        if other == "inactive":
            grant(lab, bob, MANAGE)
            User.objects.filter(pk=bob.pk).update(is_active=False)
        elif other == "gone":
            granted(lab, User(pk=987654321), *MANAGE)
        elif other.endswith("group"):
            grant(lab, staff, MANAGE)
            if other == "inactive group":
                staff.user_set.add(bob)
                User.objects.filter(pk=bob.pk).update(is_active=False)
        elif other == "expired":
            granted(lab, bob, *MANAGE, expires_at=timezone.now())
        else:
            granted(lab, bob, *MANAGE, context="tests.labnote")
        with pytest.raises(LastGrant):
            revoke(last)
        void = KeyGrant.objects.exclude(pk=last.pk).get()
        revoke(void)

    @pytest.mark.parametrize(
        ("hours", "other_hours", "is_last"),
        [(None, 1, True), (2, 1, True), (1, 2, False), (1, 1, False), (1, None, False)],
    )
    def test_when_the_other_ends(self, lab, ann, bob, hours, other_hours, is_last):
        now = timezone.now()
        ends = [each and now + timedelta(hours=each) for each in (hours, other_hours)]
        last = grant(lab, ann, MANAGE, expires_at=ends[0])
        grant(lab, bob, MANAGE, expires_at=ends[1])
        if is_last:
            with pytest.raises(LastGrant, match="for as long"):
                revoke(last)
        else:
            revoke(last)
        assert KeyGrant.objects.filter(pk=last.pk).exists() == is_last

    def test_one_that_does_not_manage(self, lab, ann):
        revoke(grant(lab, ann, ["decrypt"]))

    def test_of_a_destroyed_key(self, lab, ann):
        last = grant(lab, ann, MANAGE)
        lab.state = KeyState.DESTROYED
        lab.save()
        revoke(last)

    @pytest.mark.django_db(transaction=True)
    def test_two_managers_at_once_leave_one(self, lab, ann, bob):
        grants = [grant(lab, ann, MANAGE), grant(lab, bob, MANAGE)]
        refused = []

        def take(row):
            try:
                revoke(row)
            except LastGrant as error:
                refused.append(error)

        at_once(*[lambda row=row: take(row) for row in grants])
        assert len(refused) == 1
        assert KeyGrant.objects.count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_failed_transaction_leaves_neither_grant_nor_event(self, lab, ann):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            grant(lab, ann, MANAGE)
            raise ZeroDivisionError
        assert not KeyGrant.objects.exists()
        assert events("create_grant") == []


class TestDepartures:
    def test_a_user_takes_the_grants_along(self, lab, ann, bob):
        grant(lab, ann, MANAGE)
        kept = grant(lab, bob, ["decrypt"])
        number = ann.pk
        with handled():
            ann.delete()
        assert KeyGrant.objects.get() == kept
        (event,) = events("revoke_grant")
        assert event.before["principal"] == f"auth.user {number} (ann)"
        assert event.actor_type == "unbound"
        eve = User.objects.create(pk=number, username="eve")
        with pytest.raises(KeyAccessDenied):
            require(Action.MANAGE_GRANTS, lab, eve, using="default")

    def test_by_a_queryset_and_by_somebody(self, lab, ann, bob):
        grant(lab, ann, ["decrypt"])
        with acting_as(bob):
            User.objects.filter(pk=ann.pk).delete()
        (event,) = events("revoke_grant")
        assert event.actor_name == "bob"

    def test_a_group(self, lab, staff, granted):
        grant(lab, staff, ["decrypt"])
        kept = granted(lab, User(pk=staff.pk), Action.DECRYPT)
        staff.delete()
        assert KeyGrant.objects.get() == kept

    @pytest.mark.django_db(transaction=True, databases="__all__")
    def test_a_copy_of_a_user_in_another_database_does_not(self, lab, ann):
        made = grant(lab, ann, ["decrypt"])
        User(pk=ann.pk, username="ann").save(using="other")
        User.objects.using("other").get(pk=ann.pk).delete()
        assert KeyGrant.objects.get() == made

    @pytest.mark.django_db(transaction=True, databases="__all__")
    def test_a_user_who_is_gone_everywhere(self, lab, ann):
        grant(lab, ann, ["decrypt"])
        User(pk=ann.pk, username="ann").save(using="other")
        users = User.objects.filter(pk=ann.pk)
        users._raw_delete("default")  # as by another alias of the same database
        User.objects.using("other").get(pk=ann.pk).delete()
        assert not KeyGrant.objects.exists()

    @pytest.mark.django_db(transaction=True)
    def test_a_user_who_stays_after_all_keeps_them(self, lab, ann):
        made = grant(lab, ann, ["decrypt"])
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            ann.delete()
            raise ZeroDivisionError
        assert KeyGrant.objects.get() == made

    @pytest.mark.django_db(transaction=True)
    def test_while_somebody_revokes_one_of_them(self, lab, ann):
        """Neither waits for the other's lock while the other waits for its own."""
        keys = [lab, *(create_master_key(f"lab/{number}") for number in range(3))]
        for round in range(5):
            user = User.objects.create_user(f"user {round}")
            made = [grant(key, user, ["decrypt"]) for key in keys]
            outcomes = at_once(user.delete, lambda row=made[-1]: revoke(row))
            assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
            assert not KeyGrant.objects.exists()
        assert len(events("revoke_grant")) == 5 * len(keys)
        assert audit.verify().intact


@pytest.mark.any_database
class TestCommands:
    def test_grant_list_revoke(self, lab, ann, staff):
        out = printed("grant_key", "lab", "--user", "ann", "--action", "decrypt")
        made = KeyGrant.objects.get()
        assert out == f"Grant {made.pk}: The user 'ann' may decrypt with 'lab'.\n"
        printed(
            "grant_key", "lab", "--group", "laboratory", "--action", "encrypt",
            "--action", "decrypt", "--context", "tests.LabNote", "--expires", "2999-12-31T18:00",
        )  # fmt: skip
        first, second = printed("list_grants").splitlines()
        assert first == f"{made.pk}  lab  auth.user ann: decrypt"
        assert (
            "auth.group laboratory: encrypt, decrypt in tests.labnote until 2999-12-31 18:00"
            in second
        )
        assert second.endswith("(void: inactive)")
        assert "Revoked grant" in printed("revoke_grant", str(made.pk))
        assert not KeyGrant.objects.filter(pk=made.pk).exists()

    def test_json(self, lab, ann, granted):
        made = grant(lab, ann, ["decrypt"])
        gone = granted(lab, User(pk=987654321), Action.DECRYPT, expires_at=timezone.now())
        assert json.loads(printed("list_grants", "--json", "--user", "ann")) == [
            {
                "grant": made.pk,
                "key": "lab",
                "key_id": str(lab.pk),
                "principal_type": "auth.user",
                "principal_id": str(ann.pk),
                "name": "ann",
                "actions": ["decrypt"],
                "context": "",
                "expires_at": None,
                "void": "",
            }
        ]
        listed = json.loads(printed("list_grants", "--json", "--key", "lab"))
        assert [item["void"] for item in listed if item["grant"] == gone.pk] == ["gone"]
        assert printed("list_grants", "--key", "default") == "There are no grants.\n"

    def test_granting_and_revoking_as_json(self, lab, ann):
        made = json.loads(printed("grant_key", *TO_ANN, "--json"))
        assert (made["grant"], made["name"]) == (KeyGrant.objects.get().pk, "ann")
        assert made["actions"] == ["decrypt"]
        assert json.loads(printed("revoke_grant", str(made["grant"]), "--json")) == made
        assert not KeyGrant.objects.exists()

    @pytest.mark.parametrize(("kind", "name"), [("user", "ANN"), ("group", "Laboratory")])
    def test_names_match_exactly(self, lab, ann, kind, name):
        Group.objects.create(name="laboratory")
        with pytest.raises(CommandError, match=f"There is no {kind} '{name}'"):
            printed("grant_key", "lab", f"--{kind}", name, "--action", "decrypt")
        printed("grant_key", "lab", f"--{kind}", name.lower(), "--action", "decrypt")

    def test_a_key_without_an_alias(self, lab, ann):
        move_alias("lab", create_master_key("other"))
        printed("grant_key", str(lab.pk), "--user", "ann", "--action", "manage_grants")
        made = KeyGrant.objects.get(master_key=lab)
        assert f"{lab.pk}  auth.user ann" in printed("list_grants", "--key", str(lab.pk))
        with pytest.raises(CommandError, match=str(lab.pk)):
            printed("revoke_grant", str(made.pk))
        printed("revoke_grant", str(made.pk), "--override", str(lab.pk))

    def test_many_grants_are_a_few_queries(self, lab, granted, django_assert_max_num_queries):
        for user in User.objects.bulk_create(User(username=str(n)) for n in range(20)):
            granted(lab, user, Action.DECRYPT)
        with django_assert_max_num_queries(4):
            assert len(list_grants()) == 20

    def test_the_last_one(self, lab, ann):
        last = grant(lab, ann, MANAGE)
        with pytest.raises(CommandError, match="No other grantee can manage"):
            printed("revoke_grant", str(last.pk))
        printed("revoke_grant", str(last.pk), "--override", "lab")
        assert not KeyGrant.objects.exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["lab", "--user", "eve", "--action", "decrypt"], "no user 'eve'"),
            (["lab", "--group", "eve", "--action", "decrypt"], "no group 'eve'"),
            (["lab", "--user", "ann", "--action", "read"], "invalid choice"),
            (["lab", "--user", "ann"], "--action"),
            (["lab", "--action", "decrypt"], "--user --group"),
            (["none", "--user", "ann", "--action", "decrypt"], "no master key none"),
            ([*TO_ANN, "--context", "x.y"], "There is no model"),
            ([*TO_ANN, "--expires", "soon"], "not a time"),
            ([*TO_ANN, "--expires", "2001-02-31T00:00"], "not a time"),
            ([*TO_ANN, "--expires", "2001-02-03T04:05"], "is over"),
        ],
    )
    def test_mistakes(self, lab, ann, arguments, message):
        with pytest.raises(CommandError, match=message):
            printed("grant_key", *arguments)
        assert not KeyGrant.objects.exists()

    def test_they_act_as_the_application(self, lab, ann, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "REQUIRE_PRINCIPAL": True}
        printed("grant_key", *TO_ANN)
        assert [event.actor_type for event in events("create_grant")] == ["application"]

    def test_but_not_in_a_request(self, lab, ann):
        with handled():
            with pytest.raises(CommandError, match="No principal is bound"):
                printed("grant_key", *TO_ANN)
            with acting_as(ann), pytest.raises(CommandError, match="may not manage_grants"):
                printed("grant_key", *TO_ANN)

    def test_no_such_grant(self, lab):
        with pytest.raises(CommandError, match="no grant 7"):
            printed("revoke_grant", "7")
