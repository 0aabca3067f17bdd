"""The drill: a dump by the database's own tools, restored on an empty database."""

import base64
import os
import shutil
import sqlite3
import subprocess
import uuid
from contextlib import contextmanager
from math import inf

import pytest
from django.db import DatabaseError, InterfaceError, connection

from envelope_fields import audit, lifecycle
from envelope_fields.databases import server_behind
from envelope_fields.keyring import cache
from envelope_fields.models import MasterKeyVersion
from tests.models import Note
from tests.other_process import OtherProcess
from tests.stored import stored, version_of

TOOLS = {"sqlite": [], "postgresql": ["pg_dump", "psql"], "mysql": ["mariadb-dump", "mariadb"]}
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not all(map(shutil.which, TOOLS[connection.vendor])), reason="no tools of the database"
    ),
]
READ = "sorted(Note.objects.values_list('text', flat=True))"


@pytest.fixture
def empty(tmp_path):
    """The name of a database with nothing in it."""
    if connection.vendor == "sqlite":
        yield str(tmp_path / "restored.sqlite3")
        return
    name = f"{connection.settings_dict['NAME']}_{uuid.uuid4().hex[:8]}"
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {quoted}")
    try:
        yield name
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quoted}")


def restore(name):
    """Dump the test's database, and load the dump into another one."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        with sqlite3.connect(settings["NAME"]) as here, sqlite3.connect(name) as there:
            here.backup(there)
        here.close()
        there.close()
        return
    if connection.vendor == "postgresql":
        where = ["-h", settings["HOST"], "-p", str(settings["PORT"]), "-U", settings["USER"]]
        dump, load = ["pg_dump", *where], ["psql", *where, "-q", "-v", "ON_ERROR_STOP=1", "-d"]
        secret = {"PGPASSWORD": settings["PASSWORD"]}
    else:
        where = ["-h", settings["HOST"], "-P", str(settings["PORT"]), "-u", settings["USER"]]
        dump, load = ["mariadb-dump", *where], ["mariadb", *where]
        secret = {"MYSQL_PWD": settings["PASSWORD"]}
    environment = {**os.environ, **secret}
    dumped = subprocess.run(
        [*dump, str(settings["NAME"])], check=True, capture_output=True, env=environment
    )
    subprocess.run(
        [*load, name], input=dumped.stdout, check=True, capture_output=True, env=environment
    )


@contextmanager
def process_on(name, **environment):
    with OtherProcess({"default": name}, **environment) as process:
        yield process


def test_with_and_without_the_root_key(empty):
    Note.objects.create(text="first version")
    lifecycle.rotate_master_key("default")
    Note.objects.create(text="second version")
    head = audit.head()
    restore(empty)
    Note.objects.all().delete()  # what becomes of the original is nothing to the copy

    with process_on(empty) as restored:
        assert restored(READ) == ["first version", "second version"]
        assert restored(f"events.audit.verify({tuple(head)!r}).problems") == []
        assert restored("lifecycle.rotate_master_key('default').number") == 3

    another = base64.b64encode(os.urandom(32)).decode()
    with process_on(empty, ENVELOPE_TEST_ROOT_KEY=another) as without:
        assert without("Note.objects.count()") == 2
        for attempt in (READ, "Note.objects.create(text='x').pk", "events.audit.verify().events"):
            with pytest.raises(AssertionError, match="WrappedKeyAltered"):
                without(attempt)

    with process_on(empty) as restored:  # nothing was lost by that
        assert restored(READ) == ["first version", "second version"]


class TestAnotherServer:
    """One that takes over, and lacks the transaction in which a key was rotated."""

    @pytest.fixture
    def take_over(self, monkeypatch):
        """Return a function that lets another server answer, as it was before the rotation."""
        monkeypatch.setattr(cache, "ASKED_SECONDS", 0)
        monkeypatch.setattr(cache, "_asked_at", -inf)  # by the clock that another test had set
        monkeypatch.setattr(cache, "_server", None)
        monkeypatch.setattr(cache, "server_behind", lambda connection: answering[-1])
        answering = [("first",)]
        connection.close()
        Note.objects.create(text="connects")

        def take_over(version):
            rows = MasterKeyVersion.objects.filter(pk=version.pk)
            rows._raw_delete(rows.db)
            answering.append(("second",))
            connection.close()

        return take_over

    def test_nothing_is_written_under_a_version_that_it_lacks(self, take_over):
        version = lifecycle.rotate_master_key("default")
        before = Note.objects.create(text="before")
        assert version_of(stored(before, "text")) == bytes(version.version_id)
        take_over(version)
        after = Note.objects.create(text="after")
        assert version_of(stored(after, "text")) != bytes(version.version_id)
        assert Note.objects.get(pk=after.pk).text == "after"

    def test_the_same_one_is_known(self, take_over, django_assert_num_queries):
        Note.objects.create(text="knows the key")
        connection.close()
        connection.connect()
        with django_assert_num_queries(1):
            Note.objects.create(text="by what is known")

    @pytest.mark.parametrize("error", [DatabaseError, InterfaceError])
    def test_a_server_that_does_not_say_is_connected_to(self, take_over, monkeypatch, error):
        def fails(connection):
            raise error("no")

        monkeypatch.setattr(cache, "server_behind", fails)
        connection.close()
        assert Note.objects.create(text="all the same").pk

    def test_each_connection_says_the_same(self):
        connection.ensure_connection()
        first = server_behind(connection)
        connection.close()
        connection.connect()
        assert server_behind(connection) == first
        assert (first is None) == (connection.vendor == "sqlite")
