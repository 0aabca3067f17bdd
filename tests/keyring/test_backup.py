"""The drill: a dump by the database's own tools, restored on an empty database."""

import base64
import os
import shutil
import sqlite3
import subprocess
import uuid
from contextlib import contextmanager

import pytest
from django.db import connection

from envelope_fields import audit, lifecycle
from tests.models import Note
from tests.other_process import OtherProcess

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
