"""Builds of a clinic, each a project of its own in a directory, on one database.

The first build has the first index of patients' addresses, the next one both, the last one the
second alone.
"""

import base64
import json
import os
import shutil
from collections import Counter
from contextlib import contextmanager

from django.db import connection

from tests import fork_server, sizes
from tests.docs.pages import ROOT
from tests.docs.project import empty_environment
from tests.indexing import at_work
from tests.waiting import until

TIMEOUT = sizes.size(120, 900)  # of a command, in seconds: processes that never rest take its time

SETTINGS = """
import json, os, sys
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
    "KEY_CACHE_SECONDS": float(os.environ.get("CLINIC_CACHE_SECONDS", 0.3)),
}
if "rebuild_indexes" in sys.argv and "CLINIC_COMMITS_LATE" in os.environ:
    import late_commits
"""
# The state of an index is committed later than other processes go by what they knew of it.
LATE_COMMITS = """
import os
import time

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_commit = BaseDatabaseWrapper._commit


def note(execute, sql, params, many, context):
    vars(context["connection"]).setdefault("changes_states", False)
    if sql.startswith("UPDATE") and "envelope_fields_blindindex" in sql:
        context["connection"].changes_states = True
    return execute(sql, params, many, context)


def commit_late(self):
    if vars(self).pop("changes_states", False):
        time.sleep(float(os.environ["CLINIC_COMMITS_LATE"]))
    return _commit(self)


def connected(connection, **_):
    connection.execute_wrappers.append(note)


connection_created.connect(connected)
BaseDatabaseWrapper._commit = commit_late
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
    """The builds, their database, and the processes that work on it.

    Args:
        directory: for the builds.
        database: what the settings say of it.

    Attributes:
        environment: what processes find in theirs, beside the settings.
    """

    def __init__(self, directory, database):
        self.directory, self.database, self.environment = directory, database, {}
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
        (clinic.parent / "late_commits.py").write_text(LATE_COMMITS)
        (clinic / "models.py").write_text(MODELS.format(indexes=indexes))

    def _environment(self, build):
        path = os.pathsep.join([str(self.directory / build), str(ROOT)])
        return empty_environment() | {
            "PYTHONPATH": path,
            "DJANGO_SETTINGS_MODULE": "settings",
            "CLINIC_DATABASE": json.dumps(self.database),
            "ENVELOPE_ROOT_KEY": self.root_key,
            **self.environment,
        }

    def manage(self, build, *arguments):
        """Run a command of a build to its end; return what it said."""
        done = fork_server.completed(
            ["-m", "django", *arguments],
            environment=self._environment(build),
            directory=self.directory / build,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"{build}: {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def program(self, build, name, *arguments):
        """Start a program of a build, which writes into a log of this name."""
        with open(os.devnull) as nothing, (self.reports / f"{name}.log").open("w") as log:
            self.processes[name] = fork_server.Program(
                fork_server.shared().path,
                list(arguments),
                environment=self._environment(build),
                directory=self.directory / build,
                files=[each.fileno() for each in (nothing, log, log)],
            )
        return self.processes[name]

    def start(self, build, *roles, pause):
        """Start a process of a build for each role, which rests between two things that it does."""
        for role in roles:
            name = f"{build}-{role}-{len(self.processes)}"
            self.program(build, name, at_work.__file__, role, name, str(self.reports), str(pause))

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


@contextmanager
def empty_database(directory):
    """Have an empty database, on the server or in a file; yield what settings say of it."""
    settings = connection.settings_dict
    kept = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    found = {key: settings[key] for key in kept}
    if connection.vendor == "sqlite":
        yield {**found, "NAME": str(directory / "day.sqlite3")}
        return
    name = f"{settings['NAME']}_day"
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {quoted}")
        cursor.execute(f"CREATE DATABASE {quoted}")
    yield {**found, "NAME": name}
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {quoted}")


@contextmanager
def builds(directory):
    """Have all builds, with their migrations, and an empty database."""
    with empty_database(directory) as database:
        found = Day(directory, database)
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


def added(addresses):
    """Return code that adds so many addresses, which no patient has."""
    return f"""
from clinic.models import Address
Address.objects.bulk_create([Address(email=f"{{n}}@example.org") for n in range({addresses})])
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
