"""Writes and loads fixtures as the commands do."""

import json
import re
from io import StringIO

from django.core.management import call_command

FORMATS = ("json", "jsonl", "yaml", "xml")
ENVELOPE = re.compile(r"envelope:[A-Za-z0-9_-]+")


def dump(*labels, **options):
    output = StringIO()
    call_command("dumpdata", *labels, stdout=output, **options)
    return output.getvalue()


def load(path, text, **options):
    """Write `text` into `path`, whose suffix is the format, and load it."""
    path.write_text(text, encoding="utf-8")
    call_command("loaddata", str(path), verbosity=0, **options)


def row(label, pk, **fields):
    """Return one object of a JSON fixture."""
    return {"model": label, "pk": pk, "fields": fields}


def rows(*objects):
    return json.dumps(objects)


def envelopes(text):
    """Return the texts of envelopes in a dump, in order."""
    return ENVELOPE.findall(text)
