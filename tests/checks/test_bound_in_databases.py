"""Foreign keys by which a database writes what values are bound to."""

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from envelope_fields.checks.models import check_columns
from envelope_fields.fields import EncryptedTextField

pytestmark = pytest.mark.django_db


@pytest.fixture
def table(monkeypatch):
    """Return what makes a table with an action of its foreign key, for one model alone."""
    with isolate_apps("tests"):

        class Bound(models.Model):
            owner = models.IntegerField(db_column="owner_nr")
            code = models.CharField(max_length=5)
            text = EncryptedTextField(bind_to=("owner", "code"))

            class Meta:
                app_label = "tests"
                db_table = "bound child"

    quote = connection.ops.quote_name
    monkeypatch.setattr("envelope_fields.checks.models.checked_models", lambda _: [Bound])

    def make(action="", code="varchar(5)"):
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {quote('bound parent')} (nr integer PRIMARY KEY)")
            cursor.execute(
                f"CREATE TABLE {quote('bound child')} (id integer, owner_nr integer, code {code}, "
                f"FOREIGN KEY (owner_nr) REFERENCES {quote('bound parent')} (nr) {action})"
            )

    yield make
    with connection.cursor() as cursor:
        for name in ("bound child", "bound parent"):
            cursor.execute(f"DROP TABLE IF EXISTS {quote(name)}")


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ("", []),
        ("ON DELETE CASCADE ON UPDATE RESTRICT", []),
        ("ON DELETE SET NULL", ["ON DELETE SET NULL"]),
        ("ON UPDATE CASCADE", ["ON UPDATE CASCADE"]),
        ("ON UPDATE SET NULL ON DELETE SET NULL", ["ON UPDATE SET NULL", "ON DELETE SET NULL"]),
    ],
)
def test_actions(table, action, found):
    table(action)
    messages = check_columns(databases=["default"])
    assert [message.id for message in messages] == ["envelope_fields.E029"] * len(found)
    for message, each in zip(messages, found, strict=True):
        assert f"({each})" in message.msg
        assert "tests.Bound.owner" in message.msg


def test_no_table_and_no_database(table):
    assert check_columns(databases=["default"]) == []
    assert check_columns(databases=None) == []


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it keeps texts as they are")
@pytest.mark.parametrize(("code", "found"), [("varchar(5)", []), ("char(5)", ["E027"])])
def test_texts_of_a_fixed_width(table, code, found):
    table(code=code)
    messages = check_columns(databases=["default"])
    assert [message.id for message in messages] == [f"envelope_fields.{each}" for each in found]
    assert all("tests.Bound.code" in message.msg for message in messages)
