"""Management acts: who may do what with a key, asked anew each time."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import (
    ANONYMOUS,
    APPLICATION,
    Action,
    Principal,
    acting_as,
    allowed_actions,
    allowed_on_each,
    data,
    decisions,
    keys_open_to,
    principal_of,
    require,
    require_on_each,
)
from envelope_fields.policy.requests import handled
from envelope_fields.policy.users import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(lab):
    return lab


def refused(*arguments):
    with pytest.raises(KeyAccessDenied) as error:
        require(*arguments, using="default")
    return str(error.value)


def test_the_application_may_do_all_whatever_the_key_says_of_data(key):
    MasterKey.objects.filter(pk=key.pk).update(application_use=False)
    key.refresh_from_db()
    assert require(Action.ROTATE, key, using="default") is APPLICATION
    assert require(Action.ROTATE, key, APPLICATION, using="default") is APPLICATION


def test_a_user_needs_a_grant_of_that_action_on_that_key(key, ann, heard, granted):
    other = create_master_key("other")
    granted(key, ann, Action.ROTATE, Action.DESCRIBE)
    assert require(Action.ROTATE, key, ann, using="default") == principal_of(ann)
    assert heard == []
    assert "may not disable with master key 'lab'" in refused(Action.DISABLE, key, ann)
    assert "grant_key" in refused(Action.ROTATE, other, ann)
    assert [(denial.action, denial.key_alias) for denial in heard] == [
        ("disable", "lab"),
        ("rotate", "other"),
    ]
    assert heard[0].principal == principal_of(ann)
    assert heard[0].key_id == key.pk


def test_also_on_the_default_key(ann, granted):
    default = MasterKey.objects.get(alias="default")
    refused(Action.ROTATE, default, ann)
    granted(default, ann, Action.ROTATE)
    require(Action.ROTATE, default, ann, using="default")


def test_whoever_is_bound_is_asked(key, ann, granted):
    with acting_as(ann):
        refused(Action.ROTATE, key)
        granted(key, ann, Action.ROTATE)
        assert require(Action.ROTATE, key, using="default") == principal_of(ann)


def test_nobody_while_a_request_is_handled(key, heard):
    with handled():
        refused(Action.ROTATE, key)
    assert heard[0].principal == decisions.UNBOUND


@pytest.mark.parametrize("actor", [AnonymousUser(), ANONYMOUS])
def test_anonymous_may_nothing(key, actor, heard):
    assert "Log in" in refused(Action.DESCRIBE, key, actor)
    assert heard[0].principal is ANONYMOUS


def test_a_group(key, ann, granted):
    officers = Group.objects.create(name="officers")
    granted(key, officers, Action.ROTATE)
    refused(Action.ROTATE, key, ann)
    ann.groups.add(officers, Group.objects.create(name="nurses"))
    require(Action.ROTATE, key, ann, using="default")
    ann.groups.remove(officers)
    refused(Action.ROTATE, key, ann)


def test_a_user_may_be_in_more_groups_than_a_database_takes_conditions(key, ann, granted):
    Group.objects.bulk_create(Group(name=f"ward {number}") for number in range(1_100))
    groups = list(Group.objects.all())
    ann.groups.add(*groups)
    granted(key, groups[-1], Action.ROTATE)
    assert require(Action.ROTATE, key, ann, using="default") == principal_of(ann)
    open_to_ann = keys_open_to(Action.ROTATE, ann, using="default")
    assert list(MasterKey.objects.filter(open_to_ann)) == [key]


def test_a_group_is_not_the_user_with_its_number(key, ann, granted):
    group = Group.objects.create(pk=ann.pk, name="officers")
    granted(key, group, Action.ROTATE)
    refused(Action.ROTATE, key, ann)


@pytest.mark.parametrize("other", ["ANN", "ann ", "änn", "an"])
def test_a_name_that_the_database_takes_for_the_same(key, other, monkeypatch):
    """Where primary keys are text: MariaDB compares without case, accents and spaces at the end."""
    monkeypatch.setattr(data, "known_person", lambda _: Person(True, False, ("staff",)))
    principal = Principal("auth.user", "ann")

    def may():
        keys = MasterKey.objects.filter(keys_open_to(Action.ROTATE, principal, using="default"))
        return {Action.ROTATE} == allowed_actions(
            [Action.ROTATE], key, principal, using="default"
        ), key in keys

    def grant_to(kind, name):
        return KeyGrant.objects.create(
            master_key=key, principal_type=kind, principal_id=name, actions=["rotate"]
        )

    for name in (other, "staff"):
        grant_to("auth.user", name)
    for name in (other, "ann", other.replace("an", "staff").upper()):
        grant_to("auth.group", name)
    assert may() == (False, False)
    for named in (("auth.user", "ann"), ("auth.group", "staff")):
        row = grant_to(*named)
        assert may() == (True, True)
        row.delete()


def test_an_inactive_user(key, ann, granted):
    granted(key, ann, Action.ROTATE)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    refused(Action.ROTATE, key, ann)


def test_a_user_who_is_gone(key, ann, heard, granted):
    granted(key, ann, Action.ROTATE)
    with pytest.raises(KeyAccessDenied):
        require(Action.ROTATE, key, Principal("auth.user", "123456789"), using="default")


@pytest.mark.parametrize("principal", [Principal("auth.user", "x"), Principal("other.user", "1")])
def test_who_was_never_there(key, principal):
    refused(Action.ROTATE, key, principal)


def test_an_expired_grant(key, ann, monkeypatch, granted):
    soon = timezone.now() + timedelta(hours=1)
    granted(key, ann, Action.ROTATE, expires_at=soon)
    require(Action.ROTATE, key, ann, using="default")
    monkeypatch.setattr(timezone, "now", lambda: soon)
    refused(Action.ROTATE, key, ann)


@pytest.mark.parametrize("context", ["tests.note", "tests.note.text"])
def test_a_grant_in_a_context_is_for_values_alone(key, ann, context, granted):
    granted(key, ann, Action.ROTATE, context=context)
    refused(Action.ROTATE, key, ann)


def test_a_superuser_is_no_exception_unless_the_setting_says_so(key, ann, settings):
    ann.is_superuser = True
    ann.save()
    refused(Action.ROTATE, key, ann)
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SUPERUSERS_BYPASS_POLICY": True}
    require(Action.ROTATE, key, ann, using="default")
    User.objects.filter(pk=ann.pk).update(is_active=False)
    refused(Action.ROTATE, key, ann)


@pytest.mark.parametrize("actions", [{"rotate": True}, "rotate", 7, None, [["rotate"]]])
def test_a_column_that_holds_no_list_of_actions_grants_nothing(key, ann, actions, granted):
    row = granted(key, ann)
    if actions is None:
        row.actions = []
    else:
        row.actions = actions
    row.save()
    refused(Action.ROTATE, key, ann)


class TestSeveralKeys:
    def test_one_that_is_refused(self, key, ann, heard, granted):
        other = create_master_key("other")
        granted(key, ann, Action.RE_ENCRYPT)
        with pytest.raises(KeyAccessDenied, match="master key 'other'"):
            require_on_each(Action.RE_ENCRYPT, [key, other], ann, using="default")
        assert [denial.key_alias for denial in heard] == ["other"]
        granted(other, ann, Action.RE_ENCRYPT)
        allowed = require_on_each(Action.RE_ENCRYPT, [key, other], ann, using="default")
        assert allowed == principal_of(ann)

    def test_each_has_its_own_grants(self, key, ann, granted):
        other = create_master_key("other")
        granted(key, ann, Action.ROTATE)
        granted(other, ann, Action.DISABLE, Action.DESCRIBE)
        assert allowed_on_each(Action, [key, other], ann, using="default") == {
            key.pk: {Action.ROTATE},
            other.pk: {Action.DISABLE, Action.DESCRIBE},
        }

    @pytest.mark.parametrize("most", [500, 2])
    def test_their_number_costs_no_queries(self, key, ann, granted, monkeypatch, most):
        monkeypatch.setattr("envelope_fields.databases.IN_A_QUERY", most)
        keys = [key, *(create_master_key(f"other-{n}") for n in range(4))]
        for each in keys:
            granted(each, ann, Action.ROTATE)

        def queries(asked):
            with CaptureQueriesContext(connection) as captured:
                require_on_each(Action.ROTATE, asked, ann, using="default")
                allowed = allowed_on_each(Action, asked, ann, using="default")
            assert allowed == {each.pk: {Action.ROTATE} for each in asked}
            return len(captured)

        assert queries(keys) == queries(keys[:1])


class TestNoKey:
    """What is about no key takes a principal who is known, and no grant."""

    def test_users_and_the_application(self, ann):
        for actor, principal in [(ann, principal_of(ann)), (None, APPLICATION)]:
            assert require_on_each(Action.RE_ENCRYPT, [], actor, using="default") == principal

    def test_others(self, ann, heard):
        ann.is_active = False
        ann.save()
        for actor in (ann, ANONYMOUS):
            with pytest.raises(KeyAccessDenied, match="active"):
                require_on_each(Action.RE_ENCRYPT, [], actor, using="default")
        assert [denial.action for denial in heard] == ["re_encrypt", "re_encrypt"]
