"""What `{id}` stands for: a key's id, or `alias:` and its alias."""

from __future__ import annotations

import re
from uuid import UUID

from django.urls import register_converter

from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle import find_master_key
from envelope_fields.models import MasterKey

PREFIX = "alias:"
_ID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
PATTERN = rf"\A(?:{_ID}|alias:[A-Za-z0-9][A-Za-z0-9/_.:@-]{{0,199}})\Z"
_PATTERN, _ID_ALONE = re.compile(PATTERN), re.compile(rf"{_ID}\Z")


class KeyId:
    """`{id}` in a path. An alias may have slashes: what follows it is taken for a path first."""

    regex = r"alias:.+|[^/]+"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: object) -> str:
        return str(value)


register_converter(KeyId, "envelope_key")


def named_key(text: str) -> MasterKey | None:
    """Return the key that an `{id}` names, whoever asks; None if there is none."""
    if not _PATTERN.match(text):  # a database would refuse some of it
        return None
    try:
        return find_master_key(alias_in(text) or UUID(text))
    except MasterKeyNotFound:
        return None


def id_in(text: str) -> UUID | None:
    """Return the id that a text is, or nothing."""
    return UUID(text) if _ID_ALONE.match(text) else None


def alias_in(text: str) -> str:
    """Return the alias in an `{id}`, or nothing."""
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else ""
