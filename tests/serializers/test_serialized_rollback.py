"""`TransactionTestCase.serialized_rollback`: Django dumps a test database and loads it again.

None of these tests has the option itself: it leaves an empty database to the test that follows.
"""

import pytest
from django.core.management import call_command
from django.db import connection

from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.models import Note
from tests.stored import stored, version_of


@pytest.fixture
def serialized(transactional_db, settings):
    """The content of the test database, as Django keeps it when it is made."""
    settings.MIGRATION_MODULES = {"tests": "tests.serializers.migrated"}
    Note.objects.create(text="of a data migration", data=0)
    content = connection.creation.serialize_db_to_string()
    assert "of a data migration" not in content
    return content


def test_the_content_comes_back(serialized):
    """With `serialized_rollback` a flush sends no signal: the tables are empty."""
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    assert not MasterKey.objects.exists()
    connection.creation.deserialize_db_from_string(serialized)
    note = Note.objects.get()
    assert (note.text, note.data) == ("of a data migration", 0)
    version = MasterKeyVersion.objects.get()
    assert version_of(stored(note, "text")) == bytes(version.version_id)
