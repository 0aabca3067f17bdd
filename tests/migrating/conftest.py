import pytest
from django.conf import settings
from django.test import override_settings

from envelope_fields import keyring
from tests.migrating.project import Project, importable, scratch_database


@pytest.fixture
def scratch(tmp_path, django_db_blocker):
    """The alias of an empty database, in which keys live too."""
    blocker, database = django_db_blocker.unblock(), scratch_database("scratch", tmp_path)
    with blocker, database as alias, keys_in(alias):
        yield alias


@pytest.fixture
def project(tmp_path, scratch):
    with importable(tmp_path):
        project = Project(tmp_path, scratch)
        project.install()
        yield project
        project.close()


def keys_in(alias):
    keyring.evict()
    return override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "DATABASE": alias})
