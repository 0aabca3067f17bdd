"""The chapters of the story, each on one thing that the package does."""

from __future__ import annotations

import secrets
import stat

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from demo_project import place
from demo_project.backstage import (
    FILE_NUMBER,
    another_patient,
    column,
    command,
    fill_index,
    findings,
    move_aside_unreadable,
    patient,
    patient_with_email,
    python,
    shown,
    version_number,
)
from demo_project.clinic import patients
from demo_project.clinic.models import Patient
from demo_project.telling import quote, say, show, show_bytes
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.grants import grant
from envelope_fields.policy import Action

ADMIN = "demo"


def root_key() -> None:
    """A root key, outside of everything."""
    path = place.root_key()
    place.make_private(path.parent)
    found = path.exists()
    if not found:
        command("generate_root_key", file=path, verbosity=0)
    say(
        "It wraps the master keys, which lie in the database, and is itself neither there nor in "
        "this repository, but in a file that only you can read:"
    )
    mode = stat.S_IMODE(path.stat().st_mode)
    show(f"{path}   (mode {mode:04o}, {'from before' if found else 'made just now'})")
    if place.is_temporary():
        say(
            "There is no home directory to write to, so it is in a temporary one. When the system "
            "removes it, what it protects cannot be read any more."
        )


def database() -> None:
    """A database with patients."""
    command("migrate", verbosity=0)
    aside = move_aside_unreadable()
    if aside:
        say(
            "The database that was here is from under another root key, and nobody can read it "
            "without that one. This one is new, and the other now has this name:"
        )
        show(str(aside))
    fill_index()
    added = patients.load()
    say(f"`manage.py migrate` makes the tables and a first master key. Patients added: {added}.")
    show(str(place.database()))


def what_the_application_reads() -> None:
    """What the application reads."""
    say("A field is declared, and nothing else in the application has to know.")
    show(
        "class Patient(models.Model):\n"
        "    notes = EncryptedTextField(blank=True)\n\n"
        f">>> Patient.objects.get(file_number={FILE_NUMBER!r}).notes\n"
        f"{shown(patient().notes)}"
    )


def what_the_database_has() -> None:
    """What the database has."""
    value = column("notes")
    envelope = layout.parse(value)
    say(f"The same value is stored in {len(value)} bytes. This is all of them:")
    show_bytes(
        (value[:1], "format 1"),
        (envelope.version_id, "key version, which opens the data key"),
        (envelope.nonce, "nonce"),
        (envelope.wrapped_data_key, "data key, wrapped by the key version"),
        (envelope.payload, "the notes, encrypted with the data key"),
    )


def finding() -> None:
    """A patient is found by e-mail."""
    email = patient_with_email("zoe@example.com").email.upper()
    say("Nobody compares envelopes. Beside the address is a blind index, which knows no case:")
    found = list(Patient.objects.filter(email=email)[:3])
    show(
        "class Patient(models.Model):\n"
        '    email = EncryptedEmailField("e-mail", null=True, blank=True)\n'
        '    email_index = BlindIndexField("email", normalizer="email")\n\n'
        f">>> Patient.objects.filter(email={shown(email)})\n"
        f"<QuerySet {shown(found)}>"
    )
    say("The database is asked for these bytes, and never for an address:")
    value = column("email_index")
    show_bytes(
        (value[:16], "MAC of the address, by the search key"),
        (value[16:], "version of the search key"),
    )


def census() -> None:
    """The census: how many values are under which key version."""
    say("The database counts them by the header; nothing is decrypted, and no root key is asked.")
    show(command("census"))


def rotation() -> None:
    """A rotation."""
    say("The master key gets a new version. Nothing that is stored changes.")
    show("$ manage.py rotate_master_key default\n" + command("rotate_master_key", "default"))
    visitor = patient()
    visitor.record["last_visit"] = timezone.localdate().isoformat()
    visitor.save(update_fields=["record"])
    visitor = patient()
    say(f"Now {FILE_NUMBER} comes for a visit, and the record is saved, but not the notes:")
    for name in ("notes", "record"):
        code = f">>> patient.{name}".ljust(18)
        show(f"{code}  # under version {version_number(name)}\n{shown(getattr(visitor, name))}")
    say("Both are read: an envelope names its key version, so that none has to be tried.")


def census_after() -> None:
    """The census after it."""
    say("Old values are under the old version until they are written again, or moved.")
    show(command("census"))


def rewrap() -> None:
    """The old values move."""
    say(
        "Their data keys are wrapped anew under the current version, while the application goes "
        "on. The values themselves are neither opened nor changed."
    )
    show("$ manage.py rewrap\n" + command("rewrap"))
    say("Nothing is left under the old version, so it may go:")
    show(command("census"))


def tampering() -> None:
    """Somebody changes one byte in the database."""
    value = column("notes")
    say(f"The last byte of {FILE_NUMBER}'s notes was {value[-1]:02x}; now it is another.")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE clinic_patient SET notes = %s WHERE file_number = %s",
                [value[:-1] + bytes([value[-1] ^ 1]), FILE_NUMBER],
            )
        try:
            print(patient().notes)
        except EnvelopeError as error:
            quote(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError("an altered value was read")
        # Whatever ends this process, the database keeps the value that it had.
        transaction.set_rollback(True)
    say("The change is rolled back, and the value is read again:")
    show(shown(patient().notes))


def swapping() -> None:
    """A user gives a patient the findings of another."""
    say("Findings are bound to their row and its patient, and are where they belong or nowhere:")
    show(
        "class Finding(models.Model):\n"
        '    text = EncryptedTextField(bind_to=("id", "patient"))\n\n'
        f">>> patient.findings.get().text\n{shown(findings().get().text)}"
    )
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE clinic_finding SET text = (SELECT text FROM clinic_finding "
                "WHERE patient_id = %s) WHERE patient_id = %s",
                [another_patient().pk, patient().pk],
            )
        try:
            print(findings().get().text)
        except EnvelopeError as error:
            quote(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError("the findings of another patient were read")
        transaction.set_rollback(True)
    say("`manage.py verify_envelopes` would name the row. This, too, is rolled back.")


def admin() -> None:
    """See for yourself."""
    say("The admin shows all of this as any other data:")
    show(f"{python()} manage.py runserver\nhttp://127.0.0.1:8000/admin/")
    password = secrets.token_urlsafe(12)
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        say(f"Log in as {ADMIN!r}, with the password that was shown once. For another:")
        show(f"{python()} manage.py changepassword {ADMIN}")
    else:
        officer = users.create_superuser(ADMIN, password=password)
        grant("default", officer, list(Action))
        say("Log in with these, which are shown this once:")
        show(f"user      {ADMIN}\npassword  {password}")
    say(
        "There are patients to look at, whom a whole e-mail address finds, and under “Envelope "
        "encryption” the keys and the audit trail: this user has been granted every right on the "
        "default key."
    )
    say("FHIR R4 resources as NDJSON, plain or gzipped, become more patients:")
    show(f"{python()} manage.py import_fhir FILE")


CHAPTERS = (
    root_key,
    database,
    what_the_application_reads,
    what_the_database_has,
    finding,
    census,
    rotation,
    census_after,
    rewrap,
    tampering,
    swapping,
    admin,
)
