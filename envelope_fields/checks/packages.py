"""Packages that a project chooses: the driver of PostgreSQL, and what works on rotations."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from envelope_fields.conf import SETTING, configuration
from envelope_fields.jobs import dispatch


def check_driver(**_: Any) -> list[CheckMessage]:
    """Check that PostgreSQL is talked to by psycopg 3."""
    aliases = [alias for alias in connections if connections[alias].vendor == "postgresql"]
    if not aliases or _is_psycopg3():
        return []
    return [
        Error(
            f"Django uses psycopg 2 for {', '.join(map(repr, aliases))}, which does not give bytes "
            "back as they were stored: values would be written, and none would be read.",
            hint='Install psycopg 3: `pip install "django-envelope-fields[postgresql]"`.',
            id="envelope_fields.E070",
        )
    ]


def check_worker(**_: Any) -> list[CheckMessage]:
    """Check that the worker that the settings name can be made."""
    try:
        if configuration().rotation_worker is None:
            return []
    except ImproperlyConfigured:  # another check says so
        return []
    try:
        dispatch.worker()
    except Exception as error:  # whatever a worker of the project's own raises
        said = error if isinstance(error, ImproperlyConfigured) else type(error).__name__
        return [
            Error(
                f"Nobody can be told of a rotation: {said}",
                hint=f'Correct {SETTING}["ROTATION_WORKER"], or install what it needs.',
                id="envelope_fields.E071",
            )
        ]
    return []


def _is_psycopg3() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # needs one of them

    return bool(is_psycopg3)
