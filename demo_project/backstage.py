"""What the story looks at, and how."""

from __future__ import annotations

import shlex
import sys
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.utils.text import Truncator

from demo_project import place
from demo_project.clinic.models import Finding, Patient
from envelope_fields import keyring, kms
from envelope_fields.census.values import key_versions
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import RootKeyRefused
from envelope_fields.models import BlindIndex, IndexState

FILE_NUMBER = "C-0001"
INDEX = "clinic.patient.email_index"


def command(*arguments: str, **options: object) -> str:
    """Run a management command, and return what it printed."""
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True, **options)
    return out.getvalue()


def patient() -> Patient:
    """Load whom the story is about."""
    return Patient.objects.get(file_number=FILE_NUMBER)


def patient_with_email(email: str) -> Patient:
    """Load the same, who has an address at least from now on."""
    found = patient()
    if not found.email:
        found.email = email
        found.save(update_fields=["email"])
    return found


def fill_index() -> None:
    """Have addresses looked for that were here before their index was."""
    if not BlindIndex.objects.filter(label=INDEX, state=IndexState.READING).exists():
        command("rebuild_indexes", INDEX, to="reading")


def findings() -> QuerySet[Finding]:
    """Return what was found in that patient."""
    return Finding.objects.filter(patient__file_number=FILE_NUMBER)


def another_patient() -> Patient:
    """Load one in whom something was found, too."""
    others = Patient.objects.exclude(file_number=FILE_NUMBER).exclude(findings=None)
    return others.earliest("pk")


def shown(value: object) -> str:
    """Write a value as Python does, but not for ever: somebody may have made it longer."""
    return Truncator(repr(value)).chars(300)


def column(name: str) -> bytes:
    """Read a column as any SQL client does."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {connection.ops.quote_name(name)} FROM clinic_patient "  # noqa: S608 - quoted
            "WHERE file_number = %s",
            [FILE_NUMBER],
        )
        return bytes(cursor.fetchone()[0])


def version_number(name: str) -> int:
    """Return the number of the key version that a stored value names."""
    version_id = layout.parse(column(name)).version_id
    return next(known.number for known in key_versions() if known.version_id == version_id)


def move_aside_unreadable() -> Path | None:
    """Put away a database whose master keys this root key does not open; return where to."""
    try:
        kms.generate_data_key_without_plaintext("default", {})
    except RootKeyRefused:
        connection.close()
        keyring.evict()
    else:
        return None
    path = place.database()
    names = (path.with_stem(f"{path.stem}-unreadable-{number}") for number in range(1, 1000))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    command("migrate", verbosity=0)
    return aside


def python() -> str:
    """Return this interpreter as one would type it here."""
    path, here = Path(sys.executable), Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
