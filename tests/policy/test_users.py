"""Which statements may change what the policy knows of users."""

import pytest
from django.apps import apps
from django.db import connection

from envelope_fields.policy import users
from envelope_fields.policy.users import _Tables, _Watcher

TABLES = _Tables(("auth_user_groups", "auth_group"), ("auth_user",), ("is_active", "is_superuser"))
OTHERS = _Tables((), ("person", "staff"), ())  # whoever is active, a property says


@pytest.mark.parametrize(
    ("tables", "statement", "is_news"),
    [
        (TABLES, 'delete from "auth_user_groups" where id = 1', True),
        (TABLES, "insert into `auth_user_groups` values (1, 2)", True),
        (TABLES, "truncate auth_group cascade", True),
        (TABLES, "with gone as (delete from auth_user_groups returning id) select 1", True),
        (TABLES, 'update "auth_user" set "last_login" = 1 where id = 1', False),
        (TABLES, 'update "auth_user" set "is_active" = false', True),
        (TABLES, 'insert into "auth_user" (is_active) values (true)', False),
        (TABLES, 'insert into "auth_user" (id) values (1) on conflict (id) do update set', True),
        (TABLES, "insert into `auth_user` (id) values (1) on duplicate key update", True),
        (TABLES, 'delete from "auth_user"', True),
        (TABLES, "update clinic_patient set is_active = false", False),
        (OTHERS, "update person set left_on = now()", True),
        (OTHERS, "update staff set left_on = now()", True),
        (OTHERS, "delete from auth_user_groups", False),
    ],
)
def test_what_is_news(tables, statement, is_news):
    assert tables.are_written_by(statement) is is_news


def test_a_connection_is_looked_at_once(db):
    wrappers = list(connection.execute_wrappers)
    owners = [getattr(wrapper, "__self__", None) for wrapper in wrappers]
    ours = [owner for owner in owners if isinstance(owner, _Watcher)]
    assert len(ours) == 1
    ours[0].watch(connection=connection)
    assert connection.execute_wrappers == wrappers
    apps.get_app_config("envelope_fields").ready()  # as by override_settings(INSTALLED_APPS=…)
    again = [getattr(wrapper, "__self__", None) for wrapper in connection.execute_wrappers]
    assert len([owner for owner in again if isinstance(owner, _Watcher)]) == 1


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT auth_user_groups", 0),
        ("DELETE FROM auth_group", 1),
        ("BEGIN; DELETE FROM auth_group; COMMIT", 1),
    ],
)
def test_it_is_said_when_it_is_done(monkeypatch, sql, told):
    heard = []
    monkeypatch.setattr(users.key_changes, "announce_users", heard.append)
    watcher = _Watcher(TABLES)
    context = {"connection": connection}
    assert watcher.look(lambda *given: len(heard), sql, (), False, context) == 0
    assert heard == ["default"] * told

    def fails(*given):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watcher.look(fails, sql, (), False, context)
    assert heard == ["default"] * told


def test_a_project_without_groups(monkeypatch):
    monkeypatch.setattr(users, "group_model", lambda: None)
    assert users._tables().members == ()
