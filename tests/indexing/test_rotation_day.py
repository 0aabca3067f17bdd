"""A day on which a search key is rotated: builds of all deployments at once, and nobody stops.

Each build is a project of its own in a directory, on one database: the first index, both, or the
second. Some of their processes write, some try to write what is there already, and some look for
what they know to be there, while the commands run.
"""

import base64
import json
import os
import shutil
import time
from collections import Counter

import pytest
from django.db import connection

from tests import fork_server, sizes
from tests.docs.pages import ROOT
from tests.docs.project import empty_environment
from tests.indexing import at_work
from tests.waiting import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="one process writes at a time"),
]

SECONDS = sizes.size(0.2, 20)  # between two steps
PAUSE = sizes.size(0.05, 0)  # of a process, between two of the things that it does
WRITERS = ["writer"] * sizes.size(1, 2)
ADDRESSES = sizes.size(40, 400)

SETTINGS = """
import json, os
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "envelope_fields", "clinic"]
MIDDLEWARE = []
DATABASES = {"default": json.loads(os.environ["CLINIC_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "only-for-tests"
USE_TZ = True
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"env": "ENVELOPE_ROOT_KEY"},
        },
    },
    "KEY_CACHE_SECONDS": 0.3,
}
"""
MODELS = """
from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedEmailField, EncryptedQuerySet


class Patient(models.Model):
    email = EncryptedEmailField(null=True, blank=True)
{indexes}

    objects = EncryptedQuerySet.as_manager()


class Address(models.Model):
    email = models.TextField()
    patient = models.ForeignKey(Patient, models.DO_NOTHING, null=True, db_constraint=False)
    version = models.IntegerField(default=0)
"""
INDEX = '    {name} = BlindIndexField("email", normalizer="email", unique=True{more})'
FIRST = INDEX.format(name="email_index", more="")
SECOND = INDEX.format(name="email_index_2", more="")
BOTH = "\n".join([FIRST, INDEX.format(name="email_index_2", more=', replaces="email_index"')])


class Day:
    """The builds, their database, and the processes that work on it."""

    def __init__(self, directory, database):
        self.directory, self.database = directory, database
        self.root_key, self.processes = base64.b64encode(os.urandom(32)).decode(), {}
        self.reports = directory / "reports"
        self.reports.mkdir()

    def build(self, name, indexes, before=None):
        """Make a build, with the migrations of the one before."""
        clinic = self.directory / name / "clinic"
        if before is None:
            (clinic / "migrations").mkdir(parents=True)
            (clinic / "__init__.py").touch()
            (clinic / "migrations" / "__init__.py").touch()
        else:
            shutil.copytree(self.directory / before, clinic.parent)
        (clinic.parent / "settings.py").write_text(SETTINGS)
        (clinic / "models.py").write_text(MODELS.format(indexes=indexes))

    def _environment(self, build):
        path = os.pathsep.join([str(self.directory / build), str(ROOT)])
        return empty_environment() | {
            "PYTHONPATH": path,
            "DJANGO_SETTINGS_MODULE": "settings",
            "CLINIC_DATABASE": json.dumps(self.database),
            "ENVELOPE_ROOT_KEY": self.root_key,
        }

    def manage(self, build, *arguments):
        """Run a command of a build to its end; return what it said."""
        done = fork_server.completed(
            ["-m", "django", *arguments],
            environment=self._environment(build),
            directory=self.directory / build,
        )
        assert done.returncode == 0, f"{build}: {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, build, *roles):
        """Start a process of a build for each role."""
        for role in roles:
            name = f"{build}-{role}-{len(self.processes)}"
            with open(os.devnull) as nothing, (self.reports / f"{name}.log").open("w") as log:
                self.processes[name] = fork_server.Program(
                    fork_server.shared().path,
                    [at_work.__file__, role, name, str(self.reports), str(PAUSE)],
                    environment=self._environment(build),
                    directory=self.directory / build,
                    files=[each.fileno() for each in (nothing, log, log)],
                )

    def reported(self, build):
        """Return what the processes of a build have done and met so far, together."""
        counts, problems = Counter(), []
        for told in self.reports.glob(f"{build}-*.json"):
            content = json.loads(told.read_text())
            counts.update({(told.stem.split("-")[1], *key): n for key, n in counts_of(content)})
            problems += [f"{told.stem}: {each}" for each in content["problems"]]
        return counts, problems

    def wait_until(self, build, role, what, *, more=5):
        """Wait until the processes of a build have done something a few more times."""
        before = self.reported(build)[0][role, what]
        until(lambda: self.reported(build)[0][role, what] >= before + more)

    def stop(self, *builds):
        """End the processes of builds."""
        ending = [name for name in self.processes if name.split("-")[0] in builds]
        for name in ending:
            (self.reports / f"{name}.stop").touch()
        for name in ending:
            status = self.processes.pop(name).wait(timeout=60)
            assert status == 0, (self.reports / f"{name}.log").read_text()


def counts_of(content):
    return [((what,), number) for what, number in content["counts"].items()]


@pytest.fixture
def database():
    """An empty database on the server."""
    settings = connection.settings_dict
    name = connection.ops.quote_name(f"{settings['NAME']}_day")
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    kept = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    yield {key: settings[key] for key in kept} | {"NAME": f"{settings['NAME']}_day"}
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def day(tmp_path, database):
    found = Day(tmp_path, database)
    found.build("first", FIRST)
    found.manage("first", "makemigrations", "clinic")
    found.build("both", BOTH, "first")
    found.manage("both", "makemigrations", "clinic")
    found.build("second", SECOND, "both")
    found.build("last", SECOND, "second")
    found.manage("last", "makemigrations", "clinic")
    yield found
    for process in found.processes.values():
        process.kill()
        process.wait()


ADD = f"""
from clinic.models import Address
Address.objects.bulk_create([Address(email=f"{{n}}@example.org") for n in range({ADDRESSES})])
"""
LOOK = """
from clinic.models import Address, Patient
from envelope_fields.fields.index.normalizers import find_normalizer
emails = [each.email for each in Patient.objects.all() if each.email]
forms = [find_normalizer("email").normalize(each) for each in emails]
assert len(forms) == len(set(forms)), "some are there twice"
taken = Address.objects.filter(patient__isnull=False)
assert sorted(forms) == sorted(taken.values_list("email", flat=True))
assert all(Patient.objects.get(email=each.email).pk == each.patient_id for each in taken)
"""
INDEX_1, INDEX_2 = "clinic.patient.email_index", "clinic.patient.email_index_2"


def back_and_again(day):
    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "filling")
    day.wait_until("first", "writer", "done")
    day.wait_until("second", "reader", "refused")
    time.sleep(SECONDS)
    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "reading")
    day.wait_until("first", "writer", "refused")
    day.wait_until("both", "reader", "done")


def test_the_day(day):
    day.manage("first", "migrate", "-v0")
    day.manage("first", "shell", "-v0", "-c", ADD)
    day.start("first", *WRITERS, "intruder", "reader")
    day.wait_until("first", "writer", "done")
    day.manage("first", "rotate_master_key", "search")
    day.manage("both", "migrate", "-v0")
    day.start("both", *WRITERS, "intruder", "reader")
    day.wait_until("both", "writer", "done")
    time.sleep(SECONDS)

    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "reading")
    day.wait_until("first", "writer", "refused")
    day.start("first", "writer")  # it boots again
    day.start("second", "writer", "reader")  # too early
    day.wait_until("second", "writer", "refused")
    day.wait_until("both", "writer", "done")
    time.sleep(SECONDS)

    if sizes.LONG:
        back_and_again(day)
    assert day.reported("second")[0]["writer", "done"] == 0
    day.manage("both", "rebuild_indexes", INDEX_1, "--to", "retired")
    day.wait_until("second", "writer", "done")
    day.wait_until("both", "writer", "done")
    day.wait_until("first", "reader", "refused")
    day.wait_until("first", "writer", "refused")
    time.sleep(SECONDS)

    day.stop("first", "both")
    day.manage("last", "migrate", "-v0")
    day.wait_until("second", "writer", "done")
    day.wait_until("second", "reader", "done")
    day.stop("second")
    day.manage("last", "verify_indexes")
    day.manage("last", "shell", "-v0", "-c", LOOK)
    for build in ("first", "both", "second"):
        assert day.reported(build)[1] == []
