"""What another package's field would have made of what it had stored, in the type of ours.

A package stores the text of what Django gives it for the database, or a pickle of that. The type of
the result is held to that of the field: a number that was pickled is not a value of a text field.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from ipaddress import ip_address
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils import timezone

_MICROSECOND = timedelta(microseconds=1)
_TEXT = (models.CharField, models.TextField, models.FilePathField)

# The types of values, exactly: `True` is an `int`, and a `datetime` is a `date`. Of several field
# classes that a field is one of, the first counts.
_TYPES: tuple[tuple[type, tuple[type, ...]], ...] = (
    (models.BinaryField, (bytes,)),
    *((kind, (str,)) for kind in _TEXT),
    (models.IntegerField, (int,)),
    (models.BooleanField, (bool,)),
    (models.FloatField, (float, int)),
    (models.DecimalField, (Decimal,)),
    (models.DateTimeField, (datetime,)),
    (models.DateField, (date,)),
    (models.TimeField, (time,)),
    (models.DurationField, (timedelta,)),
    (models.UUIDField, (UUID,)),
)


class NotOfField(ValueError):
    """A value that was stored is not one of the field."""


def of_field(field: Any, stored: Any, naive_zone: tzinfo = UTC) -> Any:
    """Return the value of a field.

    Args:
        field: the encrypted field.
        stored: the bytes of a text, or an object that was pickled.
        naive_zone: the time zone of moments that were stored without one.

    Raises:
        Exception: it is not a value of the field.
    """
    is_text = type(stored) is bytes and not isinstance(field, models.BinaryField)
    value = _of_text(field, stored.decode()) if is_text else _typed(field, stored)
    return _in_zone(value, naive_zone) if type(value) is datetime else value


def _of_text(field: Any, text: str) -> Any:
    if isinstance(field, _TEXT):
        return text
    if isinstance(field, models.JSONField):
        return json.loads(text, cls=field.decoder)
    if isinstance(field, models.DurationField) and text.removeprefix("-").isdecimal():
        return int(text) * _MICROSECOND  # as databases have it that know no durations
    return _typed(field, field.to_python(text))


def _typed(field: Any, value: Any) -> Any:
    """Return an object whose type is that of the field."""
    if isinstance(field, models.JSONField):
        return json.loads(value, cls=field.decoder) if type(value) is str else _only_json(value)
    if isinstance(field, models.GenericIPAddressField):
        return str(ip_address(value))
    types = next((types for kind, types in _TYPES if isinstance(field, kind)), ())
    if type(value) not in types:
        raise NotOfField("not of the type of the field")
    return float(value) if types[0] is float else value


def _only_json(value: Any) -> Any:
    """Return what is of the types that JSON has."""
    if type(value) is dict and all(type(name) is str for name in value):
        return {name: _only_json(each) for name, each in value.items()}
    if type(value) is list:
        return list(map(_only_json, value))
    if value is not None and type(value) not in (str, int, float, bool):
        raise NotOfField("not JSON")
    return value


def _in_zone(value: datetime, naive_zone: tzinfo) -> datetime:
    """Return a moment as the field gives it: with a time zone where the project has them."""
    if settings.USE_TZ:
        return value.replace(tzinfo=naive_zone) if timezone.is_naive(value) else value
    if timezone.is_aware(value):
        return timezone.make_naive(value, timezone.get_default_timezone())
    return value
