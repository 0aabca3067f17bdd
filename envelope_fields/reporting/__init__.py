"""Values of encrypted fields, kept out of reports of errors: Django's own, and those of trackers.

Neither can know everything that a program has made of a value. What is hidden: whatever goes by the
name of an encrypted field (variables, keyword arguments, form data), what rows with such fields
hold, and each copy of these values that is met anywhere else in the report.
"""

import sys
from collections.abc import ItemsView
from contextlib import suppress
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest, QueryDict
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from envelope_fields.reporting.finding import Found, chain
from envelope_fields.reporting.secrets import SUBSTITUTE, Shown, is_form, without_secrets

_TEXTS = ("exception_value", "exception_notes", "request_insecure_uri", "user_str")
_USERS = ("_cached_user", "user")  # as a request keeps them
_KEPT = "_envelope_fields_found"  # at the exception, whose frames have the values all the same


class EncryptedFieldsReporterFilter(SafeExceptionReporterFilter):
    """Hides the values of encrypted fields in Django's error reports, also while `DEBUG` is on.

    For the setting `DEFAULT_EXCEPTION_REPORTER_FILTER`. What Django's own filter hides is hidden.
    """

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        """Return the variables of a frame, without values of encrypted fields."""
        shown = super().get_traceback_frame_variables(request, tb_frame)
        try:
            found = _found(request, tb_frame)
            hidden = {name: without_secrets(name, value, found.secrets) for name, value in shown}
        except Exception as error:
            hidden = dict.fromkeys(dict(shown), _not_looked_through(error))
        return hidden.items()

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        """Return what was posted, without values of encrypted fields."""
        posted: Any = super().get_post_parameters(request)
        try:
            found = _found(request, None)
            shown = {name: without_secrets(name, posted[name], found.secrets) for name in posted}
        except Exception:
            shown = dict.fromkeys(posted, SUBSTITUTE)
        return shown if is_form(shown) else {SUBSTITUTE: SUBSTITUTE}

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        """Return the headers and environment of a request, without values of encrypted fields."""
        meta: dict[str, Any] = super().get_safe_request_meta(request)
        try:
            found = _found(request, None)
            if _has_secrets(QueryDict(meta.get("QUERY_STRING", "")), found):
                meta["QUERY_STRING"] = SUBSTITUTE
            return {
                name: without_secrets(None, value, found.secrets) for name, value in meta.items()
            }
        except Exception:
            return dict.fromkeys(meta, SUBSTITUTE)


class EncryptedFieldsReporter(ExceptionReporter):
    """Hides the values of encrypted fields where Django asks no filter: in messages and addresses.

    For the setting `DEFAULT_EXCEPTION_REPORTER`, beside the filter.
    """

    def get_traceback_data(self) -> dict[str, Any]:
        """Return what a report consists of, without values of encrypted fields."""
        data: dict[str, Any] = super().get_traceback_data()
        data["unicode_hint"] = None  # a piece of a text, which may be a value's
        try:
            _cleanse(data, self.request, _found(self.request, None))
        except Exception as error:
            hidden = _not_looked_through(error)
            data.update(dict.fromkeys(_TEXTS, hidden), request_GET_items=[], template_info=None)
            for frame in data["frames"]:
                frame["exc_cause"] = frame.get("exc_cause") and hidden
        return data


def _cleanse(data: dict[str, Any], request: HttpRequest | None, found: Found) -> None:
    template = data.get("template_info")
    if template:
        message = found.secrets.cleansed(str(template["message"]))
        data["template_info"] = {**template, "message": message}
    for name in _TEXTS:
        if data.get(name):
            data[name] = found.secrets.cleansed(str(data[name]))  # Django 6.1 has the exception
    for frame in data["frames"]:
        cause = frame.get("exc_cause")
        if cause is not None:
            frame["exc_cause"] = found.secrets.cleansed(str(cause)) or type(cause).__name__
    if request is not None and _has_secrets(request.GET, found):
        data["request_insecure_uri"] = f"{request.path}?{SUBSTITUTE}"
        data["request_GET_items"] = [
            (name, without_secrets(name, value, found.secrets))
            for name, value in request.GET.items()
        ]


def _has_secrets(address: QueryDict, found: Found) -> bool:
    return any(
        name in found.secrets.names or any(map(found.secrets.is_one, values))
        for name, values in address.lists()
    )


def _found(request: HttpRequest | None, frame: FrameType | None) -> Found:
    """Return what is known of encrypted values where an exception is reported.

    Of all frames at once, since what has no name in one has a name in another.
    """
    error = _reported_exception()
    is_of_error = frame is None or _passed(error, frame)
    known: Found | None = getattr(error, _KEPT, None)
    if known is not None and is_of_error:
        return known
    found = Found()
    found.look_into_exception(error)
    if not is_of_error:
        found.look_into_stack(frame)
    with suppress(Exception):  # of a client that has gone, or an exception that keeps nothing
        if request is not None:
            # One after the other: what cannot be read, or is long, hides nothing of the rest.
            found.look_into([dict(request.GET.lists())])
            found.look_into([vars(request).get(name) for name in _USERS])
            found.look_into([dict(request.POST.lists())])
        if error is not None:
            setattr(error, _KEPT, found)
    return found


def _reported_exception() -> BaseException | None:
    """Return the exception that is reported, which Django does not pass to its filter."""
    caller = sys._getframe()
    for _ in range(10):
        reporter = caller.f_locals.get("self")
        if isinstance(reporter, ExceptionReporter):
            return reporter.exc_value
        if caller.f_back is None:
            break
        caller = caller.f_back
    return sys.exception()


def _passed(error: BaseException | None, frame: FrameType) -> bool:
    for each in chain(error):
        traceback = each.__traceback__
        while traceback is not None:
            if traceback.tb_frame is frame:
                return True
            traceback = traceback.tb_next
    return False


def _not_looked_through(error: Exception) -> Shown:
    return Shown(f"<hidden: looking through it raised {type(error).__name__}>")


# -- Error trackers: Sentry's SDK, and those that took over its events -------------------------

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
        found = _found_in_event(event, hint)
        return {part: _cleansed_part(part, inside, found) for part, inside in event.items()}
    except Exception as error:
        return _only_what_is_needed(event, error)


def _found_in_event(event: Event, hint: dict[str, Any]) -> Found:
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
        found.look_into([request.get("data")])
    return found


def _cleansed_part(part: Any, value: Any, found: Found) -> Any:
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
        return {name: _cleansed_part(name, inside, found) for name, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_cleansed_part(None, inside, found) for inside in value]
    return found.secrets.cleansed(value) if isinstance(value, str) else value


def _only_what_is_needed(event: Event, error: Exception) -> Event:
    """Return what tells that something went wrong, where the rest could not be looked through."""
    kept = ("event_id", "timestamp", "level", "platform", "transaction", "environment", "release")
    message = (
        f"envelope_fields.reporting could not look through this event ({type(error).__name__})."
    )
    return {**{name: event[name] for name in kept if name in event}, "message": message}
