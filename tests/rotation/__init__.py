"""What tests of rotations look at."""

import pytest
from django.db import connections

from envelope_fields import rotation
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import MasterKey
from tests.models import Note


def left(alias):
    """Count the values under versions of a key that are not current."""
    return sum(row.values for row in rotation.census(alias) if not row.version.is_current)


def notes_left():
    """Count the notes under versions that are not current, by one statement: to wait for."""
    current = bytes(MasterKey.objects.get(alias="default").current_version.version_id)
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM tests_note WHERE substr(text, 2, 8) <> %s", [current])
        return cursor.fetchone()[0]


def numbers_of(run):
    """Return how many values a run had to look at, moved, and could not move."""
    told = rotation.progress(run)
    return told.total, told.moved, told.failed


def numbered_notes(rows):
    """Store notes with numbers in them, under a version that is not current any more."""
    found = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(rows)])
    rotate_master_key("default")
    return found


def are_all_there(rows):
    """Whether all numbers can be read."""
    texts = Note.objects.values_list("text", flat=True)
    return sorted(map(int, texts)) == list(range(rows))


class Killed(BaseException):
    """Ends a rotation where it is, as SIGKILL does."""


def interrupted(run):
    """Work on a run for one batch, and die; return it as it is then."""

    def kill(tally):
        raise Killed

    with pytest.raises(Killed):
        rotation.run(run, watch=kill)
    run.refresh_from_db()
    return run


def put(row, name, value):
    """Store bytes as they are, past the field."""
    field = row._meta.get_field(name)
    connection = connections[row._state.db]
    quote = connection.ops.quote_name
    keys = field.model._meta.pk_fields
    where = " AND ".join(f"{quote(key.column)} = %s" for key in keys)
    values = [key.get_db_prep_value(getattr(row, key.attname), connection) for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(field.model._meta.db_table)} SET {quote(field.column)} = %s "
            f"WHERE {where}",
            [value, *values],
        )


def with_worker(settings, path, /, **options):
    """Let the settings name one of our workers."""
    entry = {"BACKEND": f"envelope_fields.jobs.workers.{path}", "OPTIONS": options}
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "ROTATION_WORKER": entry}
