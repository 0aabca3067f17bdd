"""A database that does not do it now is a 503 that says so, and that trying again makes sense."""

import pytest

from tests.api import key_url, problem
from tests.at_once import locked

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.mark.parametrize("operation", ["rotate", "disable", "schedule-deletion"])
def test_while_another_has_locked_the_key(api, key, operation):
    with locked(key):
        answer = api.post(key_url(key, operation))
    said = problem(answer, 503, "database_busy")
    assert "try again" in said["detail"]
    assert answer["Retry-After"]
    assert api.post(key_url(key, "rotate")).json()["current_version"] == 2


def test_while_another_has_locked_the_key_of_a_grant(api, key):
    given = {"user": "olga", "actions": ["decrypt"]}
    with locked(key):
        problem(api.post(key_url(key, "grants"), given), 503, "database_busy")
