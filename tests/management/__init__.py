"""The commands: `manage.py`, and what they print."""

from io import StringIO

from django.core.management import CommandError, call_command


def printed(*arguments, **options):
    """Call a command; return what it prints."""
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def command(*arguments, **options):
    """Call a command; return what it prints, and its error, or ""."""
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, **options)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""
