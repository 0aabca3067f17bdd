"""How commands run: as the application; errors of this package end them without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import NON_FIELD_ERRORS, ImproperlyConfigured, ValidationError
from django.core.management import CommandError
from django.db import DatabaseError

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.policy.acting import application_by_default


@contextmanager
def reported() -> Iterator[None]:
    """Act as the application, and turn what is raised into a `CommandError` of the same words.

    Where somebody is bound already, or a request is handled, that stays as it is: a view that calls
    a command gives its user no other rights.

    Raises:
        CommandError: with exit code 1.
    """
    try:
        with application_by_default():
            yield
    except (EnvelopeError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
    except ValidationError as error:
        raise CommandError(_text(error)) from error
    except DatabaseError as error:
        raise CommandError(
            f"The database refused ({type(error).__name__}: {error}). Is it reachable, and "
            "migrated with `python manage.py migrate`?"
        ) from error


def _text(error: ValidationError) -> str:
    """Return the messages, each behind the name of what it is about."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        message if name == NON_FIELD_ERRORS else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    )
