"""For the tests of projects that use this package.

In the settings of a test run::

    from envelope_fields import testing

    ENVELOPE_FIELDS = testing.settings()

and in a test::

    patient = Patient.objects.create(notes="penicillin allergy")
    testing.assert_encrypted(patient, "notes")
"""

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connections
from django.db.models import BinaryField, F, Model, QuerySet
from django.db.models.expressions import Col

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.root_keys.local import LocalRootKey, generate

# Workers and child processes of a test run import the settings anew, and share its databases.
ROOT_KEY_VARIABLE = "ENVELOPE_FIELDS_TESTING_ROOT_KEY"
_READERS = tuple(f"envelope_fields.{room}" for room in ("keyring", "policy", "tenants"))


def settings(**entries: Any) -> dict[str, Any]:
    """Return the setting `ENVELOPE_FIELDS` with a root key that lasts for this test run.

    A run that keeps its databases for the next (`--keepdb`, `--reuse-db`) has to keep the root
    key too: set the environment variable `ENVELOPE_FIELDS_TESTING_ROOT_KEY` for both.

    Args:
        **entries: other entries of the setting, such as `DATABASE="keys"`.
    """
    root_key = {
        "BACKEND": "envelope_fields.testing.RootKeyOfRun",
        "OPTIONS": {"key": os.environ.setdefault(ROOT_KEY_VARIABLE, generate())},
    }
    return {"ROOT_KEYS": {"default": root_key}, **entries}


class RootKeyOfRun(LocalRootKey):
    """The root key of `settings()`, whose errors say how a database that is kept keeps it."""

    @property
    def _source(self) -> str:
        return (
            f"the environment variable {ROOT_KEY_VARIABLE} (a database that is kept for the next "
            "run needs the same one again: set it for both, or make the database anew)"
        )


def stored(instance: Model, field: str, using: str | None = None) -> bytes | None:
    """Return what is in the column of a field, as it is; None is NULL.

    Args:
        instance: a saved model instance; its row is looked up by the primary key.
        field: the name of the field.
        using: the database; None is the one that the instance came from or was saved to.

    Raises:
        ObjectDoesNotExist: there is no such row.
    """
    value: bytes | None = _row(instance, using).values_list(_StoredBytes(field), flat=True).get()
    return value


def assert_encrypted(instance: Model, *fields: str, using: str | None = None) -> None:
    """Check that columns hold envelopes, and that these open for their fields.

    Args:
        instance: a saved model instance.
        *fields: the names of encrypted fields.
        using: as for `stored`.

    Raises:
        AssertionError: a field is not encrypted, or its column holds NULL or anything else that
            the field cannot read. No message shows a value.
    """
    # Settings import this module, when there is no app registry for the fields to import yet.
    from envelope_fields.fields import EncryptedFieldMixin

    if not fields:
        raise TypeError("name at least one field")
    for name in fields:
        field = instance._meta.get_field(name)
        if not isinstance(field, EncryptedFieldMixin):
            raise AssertionError(f"{field} is not an encrypted field")
        envelope = stored(instance, name, using)
        if envelope is None:
            raise AssertionError(f"{field}: the column holds NULL")
        try:
            layout.parse(envelope)
            _row(instance, using).values_list(name).get()
        except EnvelopeError as error:
            raise AssertionError(f"{field}: {error}") from error


@contextmanager
def conversion_phase(field: str, phase: str) -> Iterator[None]:
    """Have a field with `converts=` be in a phase of its conversion within this block.

    What is in its columns stays as it is: make rows inside, or convert them.

    Args:
        field: `app_label.Model.field`.
        phase: `clear`, `both`, `filling`, `verified`, `encrypted` or `only`.
    """
    # Settings name this module, and are read before there can be models.
    from envelope_fields.keyring import conversions
    from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind

    model, _, name = field.rpartition(".")
    rows = ColumnConversion.objects.using(configuration().database)
    which = {"model": model, "field": name}
    before = rows.filter(**which).first()
    given = {"kind": ConversionKind.COLUMN, "phase": ColumnPhase(phase)}
    # The audit trail has it be further where it was converted before, and has no say here.
    with patch.object(conversions, "_recorded", lambda events: {}):
        rows.update_or_create(defaults=given, model=model, field=name)
        try:
            yield
        finally:
            rows.filter(**which).update(phase=before.phase if before else ColumnPhase.CLEAR)


@contextmanager
def without_reads_of_keys() -> Iterator[None]:
    """Leave statements that read keys out of what is counted within this block.

    How many there are depends on what ran before, and on the time: keys are read once in
    `KEY_CACHE_SECONDS`, and again after a change of one. In the block, `assertNumQueries`,
    `CaptureQueriesContext` and pytest-django's fixtures count what the test itself asks for.
    """
    connection = connections[configuration().database]
    log, without_keys = connection.queries_log, _LogWithoutKeys(connection.queries_log)
    try:
        with patch.object(connection, "queries_log", without_keys):
            yield
    finally:
        log.clear()
        log.extend(without_keys)  # for what counts around the block


class _LogWithoutKeys(deque[dict[str, str]]):
    """A connection's log of statements, to which none is added that reads keys."""

    def append(self, entry: dict[str, str]) -> None:
        if not _reads_keys():
            super().append(entry)


def _reads_keys() -> bool:
    """Whether this is called on behalf of what knows keys, users' rights or tenants' keys."""
    frame: Any = sys._getframe()
    while frame := frame.f_back:
        if frame.f_globals.get("__name__", "").startswith(_READERS):
            return True
    return False


def _row(instance: Model, using: str | None) -> QuerySet[Model]:
    # Not a manager of the model: it may hide the row.
    return QuerySet(type(instance), using=using or instance._state.db).filter(pk=instance.pk)


class _StoredBytes(F):
    """A column of the model, unread by its field."""

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        column: Any = super().resolve_expression(*args, **kwargs)
        return _StoredColumn(column.alias, column.target, BinaryField())


class _StoredColumn(Col):
    def get_db_converters(self, connection: Any) -> list[Any]:
        return [_as_bytes]


def _as_bytes(value: Any, *_: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else bytes(value)
