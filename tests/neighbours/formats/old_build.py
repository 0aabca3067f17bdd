"""An application as it was before: its fields are those of two other packages.

Run as a program it is a process of that build, which makes rows and writes them again until its
input ends, and then prints what it has written last: `{primary key: [report, note]}`.
"""

import json
import sys
import threading
from itertools import count

FERNET_KEYS = ["not a secret: of a test", "not a secret either: an earlier key"]
SECRET_KEY = "not a secret: of a test, from which django-cryptography derives its keys"
OWN_ROWS = 20


def model(database):
    """Return the model of the old build, in a process that has no other settings."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": database},
        SECRET_KEY=SECRET_KEY,
        FERNET_KEYS=FERNET_KEYS,
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()

    from django.db import models
    from django_cryptography.fields import encrypt
    from fernet_fields import EncryptedTextField

    class Visit(models.Model):
        report = EncryptedTextField(null=True)
        note = encrypt(models.TextField(null=True))

        class Meta:
            app_label = "old_build"
            db_table = "formats_visit"

    return Visit


def write(visits, name, ended):
    """Write rows until it is the end; return what each of them holds then."""
    written = {}
    for number in count():
        values = [f"{name}: report {number}", f"{name}: note {number}"]
        report, note = values
        if number < OWN_ROWS:
            row = visits.create(report=report, note=note).pk
        else:
            row = list(written)[number % OWN_ROWS]
            visits.filter(pk=row).update(report=report, note=note)
        written[row] = values
        if number == OWN_ROWS:
            print("at work", flush=True)
        if number > OWN_ROWS and ended():
            return written


def main(database, name):
    visits = model(json.loads(database)).objects
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print(json.dumps(write(visits, name, over.is_set)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
