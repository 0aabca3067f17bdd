"""`manage.py encrypt_field`: the lines to paste and the two migrations, in projects of its own."""

import os
import shutil
from textwrap import dedent, indent

import pytest
from django.db import connections

from tests import fork_server
from tests.docs.project import empty_environment
from tests.migrating.project import scratch_database

MODELS = """
import uuid
from decimal import Decimal
from django.core.validators import MinLengthValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
{imports}

class Visit(models.Model):
{fields}
{more}
"""

SETTINGS = """
SECRET_KEY = "not a secret: of a test"
DATABASES = {databases!r}
INSTALLED_APPS = ["envelope_fields", "visits"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
ENVELOPE_FIELDS = {{
    "ROOT_KEYS": {{
        "default": {{
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {{"key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}},
        }},
    }},
    "KEY_CACHE_SECONDS": 0,
}}
"""


class Project:
    """A project of one app, with one model."""

    def __init__(self, directory, database):
        self.directory = directory
        app = directory / "visits"
        (app / "migrations").mkdir(parents=True)
        (app / "__init__.py").touch()
        (app / "migrations" / "__init__.py").touch()
        settings = {
            name: value
            for name, value in database.items()
            if name in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
        }
        (directory / "project_settings.py").write_text(
            SETTINGS.format(databases={"default": settings})
        )

    def declare(self, fields, imports="", more=""):
        fields = indent(dedent(fields).strip("\n"), "    ")
        text = MODELS.format(fields=fields, imports=imports, more=indent(dedent(more), "    "))
        (self.directory / "visits" / "models.py").write_text(text)
        # What was compiled of lines as long as these, in this very second, would be taken for it.
        shutil.rmtree(self.directory / "visits" / "__pycache__", ignore_errors=True)

    def manage(self, *arguments, fails=False):
        environment = {**empty_environment(), "DJANGO_SETTINGS_MODULE": "project_settings"}
        environment["PYTHONPATH"] += os.pathsep + str(self.directory)
        done = fork_server.completed(
            ["-m", "django", *arguments], environment=environment, directory=self.directory
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    def shell(self, code):
        return self.manage("shell", "-v", "0", "-c", f"from visits.models import Visit\n{code}")

    def pasted(self, printed):
        """Return the lines and imports that `encrypt_field` has printed."""
        _, lines, _, imports, *_ = printed.split("\n\n")
        return dedent(lines), imports


@pytest.fixture
def project(tmp_path, django_db_blocker):
    with django_db_blocker.unblock(), scratch_database("scratch", tmp_path):
        yield Project(tmp_path / "project", connections["scratch"].settings_dict)


# Of each field of a model, how it is declared before.
FIELDS = {
    "char": "models.CharField(_('report'), max_length=20, validators=[MinLengthValidator(1)])",
    "choices": "models.CharField(max_length=5, choices=[('a', _('A'))], default='a')",
    "slug": "models.SlugField(unique=True)",
    "moment": "models.DateTimeField(auto_now=True)",
    "address": "models.GenericIPAddressField(protocol='ipv4', null=True)",
    "data": "models.JSONField(default=dict)",
    "blob": "models.BinaryField(max_length=9)",
}
CREATE = "Visit.objects.create(char='b', choices='a', slug='s', data={'a': [1]}, blob=b'x')"


def test_every_plain_type(project):
    """Each in its turn, forwards and backwards, with a row there."""
    declared = {name: f"{name} = {field}" for name, field in FIELDS.items()}
    project.declare("\n".join(declared.values()))
    project.manage("makemigrations", "visits")
    project.manage("migrate")
    project.shell(CREATE)
    imported = set()
    for name in FIELDS:
        printed = project.manage("encrypt_field", f"visits.Visit.{name}", "--write")
        declared[name], more = project.pasted(printed)
        imported.add(more)
        project.declare("\n".join(declared.values()), "\n".join(sorted(imported)))
    assert "No changes" in project.manage("makemigrations", "visits", "--check")
    assert "verbose_name=_('report')" in declared["char"]
    assert "validators=[MinLengthValidator(1)]" in declared["char"]
    assert "choices=[('a', _('A'))]" in declared["choices"]
    assert 'BlindIndexField("slug", unique=True)' in declared["slug"]
    project.manage("migrate")
    empty = " and ".join(f"each[{name + '_encrypted'!r}] is None" for name in FIELDS)
    look = (
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        "    cursor.execute('SELECT * FROM visits_visit')\n"
        "    each = dict(zip([c[0] for c in cursor.description], cursor.fetchone()))\n"
        f"print({empty}, each['char'], each['slug'])"
    )
    assert project.shell(look).split() == ["True", "b", "s"]
    project.manage("migrate", "visits", "0001")
    project.manage("migrate")
    assert project.shell(look).split() == ["True", "b", "s"]


def test_without_write_it_prints(project):
    project.declare("report = models.TextField()")
    project.manage("makemigrations", "visits")
    printed = project.manage("encrypt_field", "visits.Visit.report")
    assert "0002_visit_report_clear.py" in printed
    assert "migrations.RenameField" in printed
    assert len(list((project.directory / "visits" / "migrations").glob("0*"))) == 1


REFUSED = {
    "models.TextField(db_default='a')": ("", "db_default"),
    "models.SlugField(primary_key=True)": ("", "primary key"),
    "models.TextField(unique_for_date='day')\nday = models.DateField()": ("", "unique_for_date"),
    "models.JSONField(db_index=True)": ("", "there is no blind index of a JSONField"),
    "models.FileField()": ("", "no encrypted class for a FileField"),
    "models.CharField(max_length=3)": (
        """
        class Meta:
            ordering = ["-report"]
            constraints = [
                models.CheckConstraint(condition=models.Q(report__gt=""), name="not_empty"),
                models.UniqueConstraint(fields=["report"], name="one"),
            ]
            indexes = [models.Index(fields=["-report"], name="by_report")]
            unique_together = [("report", "id")]
        """,
        "Meta.ordering|'not_empty'|'one'|'by_report'|unique_together",
    ),
}


@pytest.mark.parametrize("declared", REFUSED)
@pytest.mark.any_database
def test_what_is_refused_by_name(project, declared):
    more, named = REFUSED[declared]
    project.declare(f"report = {declared}", more=more)
    error = project.manage("encrypt_field", "visits.Visit.report", fails=True)
    for each in named.split("|"):
        assert each in error
    assert "Traceback" not in error


INHERITED = """
from django.db import models
{imports}

class Base(models.Model):
{fields}

    class Meta:
        abstract = True

class Visit(Base):
    pass

class Copy(Base):
    pass
"""


@pytest.mark.any_database
def test_several_fields_before_any_is_pasted(project):
    """Of one abstract model, whose lines change the columns of two."""

    def declare(fields, imports=""):
        text = INHERITED.format(fields=indent(fields, "    "), imports=imports)
        (project.directory / "visits" / "models.py").write_text(text)

    declare("report = models.TextField()\nmore = models.TextField(blank=True)")
    project.manage("makemigrations", "visits")
    project.manage("migrate")
    project.shell("Visit.objects.create(report='a cough')")
    printed = project.manage("encrypt_field", "visits.Visit.report", "--write")
    assert "or run this for visits.Copy.report as well" in printed
    project.manage("encrypt_field", "visits.Copy.report", "--write")
    more = project.manage("encrypt_field", "visits.Visit.more", "--write")
    project.manage("encrypt_field", "visits.Copy.more", "--write")
    lines, imported = zip(project.pasted(printed), project.pasted(more), strict=True)
    declare("\n".join(lines), imported[0])
    assert "No changes" in project.manage("makemigrations", "visits", "--check")
    project.manage("migrate")
    assert project.shell("print(Visit.objects.get().report)").strip() == "a cough"


@pytest.mark.any_database
def test_models_that_are_ahead_of_their_migrations(project):
    project.declare("report = models.TextField(null=True)")
    project.manage("makemigrations", "visits")
    project.declare("report = models.TextField()\nmore = models.TextField(default='')")
    error = project.manage("encrypt_field", "visits.Visit.report", fails=True)
    assert "makemigrations visits" in error
    assert "Traceback" not in error
