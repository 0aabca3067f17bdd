"""`manage.py verify_audit_trail`."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from envelope_fields import audit
from tests.audit.events import record, tampering

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trail():
    for action in ("create_key", "rotate", "disable"):
        record(action)


def verify(*arguments):
    out = io.StringIO()
    try:
        call_command("verify_audit_trail", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode == 0, out.getvalue()
    return True, out.getvalue()


def test_an_intact_trail(trail):
    passed, out = verify()
    assert passed
    assert "All events are as they were recorded: 3." in out
    assert "only a known --head can tell" in out
    assert f"head: {audit.head()}\n" in out


@pytest.mark.parametrize("arguments", [(), ("--head", f"0:{'00' * 32}")])
def test_no_events(arguments):
    """Of which nothing is said that sounds like a proof."""
    passed, out = verify(*arguments)
    assert passed
    assert "All 0" not in out
    assert "There is no event, so nothing is proven." in out
    assert ("only a known --head can tell" in out) is not bool(arguments)


def test_an_emptied_trail(trail):
    with tampering() as cursor:
        cursor.execute("DELETE FROM envelope_fields_audithead")
        cursor.execute("DELETE FROM envelope_fields_auditevent")
    passed, out = verify()
    assert not passed
    assert "the trail was emptied" in out
    assert json.loads(verify("--json")[1])["intact"] is False


def test_a_known_head(trail):
    passed, out = verify("--head", str(audit.head()))
    assert passed
    assert "only a known" not in out
    passed, out = verify("--head", f"5:{'00' * 32}")
    assert not passed
    assert "events 4 to 5, each: there is no such event" in out


def test_a_changed_event_as_json(trail):
    head = str(audit.head())
    assert json.loads(verify("--json")[1]) == {
        "intact": True, "events": 3, "head": head, "problems": [],
    }  # fmt: skip
    with tampering() as cursor:
        cursor.execute("UPDATE envelope_fields_auditevent SET actor_name = 'x' WHERE number < 3")
    passed, out = verify("--json")
    assert not passed
    assert json.loads(out)["problems"] == [{"first": 1, "last": 2, "cause": "changed"}]


def test_many_problems_are_not_all_printed(trail):
    for _ in range(50):
        record("rotate")
    with tampering() as cursor:
        for number in range(2, 54, 2):
            cursor.execute(
                "UPDATE envelope_fields_auditevent SET actor_name = 'x' WHERE number = %s", [number]
            )
    passed, out = verify()
    assert not passed
    assert "and 6 more; --json prints all" in out


@pytest.mark.parametrize("head", ["", "3", "3:", "3:xyz", "x:" + "00" * 32, "3:" + "0g" * 32])
def test_what_is_not_a_head(trail, head):
    with pytest.raises(CommandError, match="head"):
        call_command("verify_audit_trail", f"--head={head}")
