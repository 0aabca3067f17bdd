"""The story of a clinic whose notes are encrypted: `python -m demo_project.story`.

Everything in it is done as an application does it, with the commands, models and errors that it
would meet. It can be told any number of times, also after somebody added data.
"""

from __future__ import annotations

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import DatabaseError

from demo_project import place
from demo_project.telling import chapter, title


def tell() -> None:
    """Tell all chapters."""
    from demo_project.chapters import CHAPTERS

    title("A clinic keeps its notes encrypted")
    for number, told in enumerate(CHAPTERS, 1):
        chapter(number, told)


def main() -> int:
    # Whatever project this shell is for, the story is about this one.
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
    sys.stdout.reconfigure(errors="replace")  # names have letters that a terminal may not
    django.setup()
    from envelope_fields.exceptions import EnvelopeError

    stops = (CommandError, DatabaseError, EnvelopeError, ImproperlyConfigured, OSError)
    try:
        tell()
    except (*stops, place.NotPrivate) as error:
        print(f"\nThe story stops here. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
