"""Error trackers: `before_send` for Sentry's SDK, and for those that took over its events."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qsl

from envelope_fields.reporting.finding import Found
from envelope_fields.reporting.secrets import SUBSTITUTE, is_form, without_secrets

Event = dict[str, Any]

# Where an event has what the program has: the names in it are the program's. Elsewhere they are
# the tracker's, and `data` or `message` may be the name of an encrypted field, too.
_OF_THE_PROGRAM = ("vars", "extra", "params")

# Source code and names of it, which would be unreadable if a word in them were a value.
_SOURCE = (
    *("abs_path", "filename", "function", "module", "modules", "sdk"),
    *("context_line", "pre_context", "post_context"),
)


def before_send(event: Event, hint: dict[str, Any]) -> Event:
    """Return an event of an error tracker without the values of encrypted fields.

    For `sentry_sdk.init(before_send=…)`; call it from one's own, if there is one.

    Args:
        event: what is about to be sent.
        hint: what it was made of: `exc_info`, or the `log_record`.
    """
    try:
        found = _found(event, hint)
        return {part: _cleansed(part, inside, found) for part, inside in event.items()}
    except Exception as error:
        return _only_what_is_needed(event, error)


def _found(event: Event, hint: dict[str, Any]) -> Found:
    found, is_of_error = Found(), False
    record = hint.get("log_record")
    for info in (hint.get("exc_info"), getattr(record, "exc_info", None)):
        if isinstance(info, tuple) and len(info) == 3:
            found.look_into_exception(info[1])
            found.look_into_traceback(info[2])
            is_of_error = True
    if not is_of_error:  # a message, from where it is sent
        found.look_into_stack(sys._getframe())
    request = event.get("request")
    if isinstance(request, dict):
        found.look_into_data(request.get("data"))
    return found


def _cleansed(part: Any, value: Any, found: Found) -> Any:
    if part in _SOURCE:
        return value
    if part in _OF_THE_PROGRAM:
        return without_secrets(None, value, found.secrets)
    if part == "query_string" and isinstance(value, str):
        names = [name for name, _ in parse_qsl(value, keep_blank_values=True)]
        return SUBSTITUTE if any(name in found.secrets.names for name in names) else value
    if part == "data" and isinstance(value, dict) and not is_form(value):
        return SUBSTITUTE
    if part == "data" and isinstance(value, dict | list):  # of a request or of a breadcrumb
        return without_secrets(None, value, found.secrets)
    if isinstance(value, dict):
        return {name: _cleansed(name, inside, found) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_cleansed(None, inside, found) for inside in value]
    return found.secrets.cleansed(value) if isinstance(value, str) else value


def _only_what_is_needed(event: Event, error: Exception) -> Event:
    """Return what tells that something went wrong, where the rest could not be looked through."""
    kept = ("event_id", "timestamp", "level", "platform", "transaction", "environment", "release")
    message = (
        f"envelope_fields.reporting could not look through this event ({type(error).__name__})."
    )
    return {**{name: event[name] for name in kept if name in event}, "message": message}
