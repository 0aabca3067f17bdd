"""How the errors of this package end a command: by their message, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import CommandError
from django.db import DatabaseError

from envelope_fields.exceptions import EnvelopeError


@contextmanager
def reported() -> Iterator[None]:
    """Turn what the package raises into a `CommandError` of the same words.

    Raises:
        CommandError: with exit code 1.
    """
    try:
        yield
    except (EnvelopeError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    except DatabaseError as error:
        raise CommandError(
            f"The database refused ({type(error).__name__}: {error}). Is it reachable, and "
            "migrated with `python manage.py migrate`?"
        ) from error
