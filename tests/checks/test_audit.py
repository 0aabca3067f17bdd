import pytest
from django.db import connection

from envelope_fields.audit import triggers
from envelope_fields.checks.audit import check_triggers

pytestmark = pytest.mark.django_db(transaction=True)


def test_missing_triggers():
    """envelope_fields.W060"""
    assert check_triggers(databases=["default"]) == []
    triggers.drop(connection)
    try:
        (message,) = check_triggers(databases=["default"])
    finally:
        triggers.create(connection)
    assert message.id == "envelope_fields.W060"
    assert "run `python manage.py migrate`" in message.hint
    assert check_triggers(databases=["default"]) == []


def test_another_database_is_not_asked():
    assert check_triggers(databases=None) == []
    assert check_triggers(databases=["other"]) == []
