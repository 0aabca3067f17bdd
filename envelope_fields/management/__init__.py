"""What the commands have in common: how they run, and how they name keys, users and groups."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ImproperlyConfigured, ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs

from envelope_fields.conf import configuration
from envelope_fields.databases.errors import refusal_text
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.grants import grantees
from envelope_fields.lifecycle import Operation, Refused, representation
from envelope_fields.lifecycle.keys import named_key, numbered_version
from envelope_fields.lifecycle.parameters import Kind, Parameter
from envelope_fields.management import terminal
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.policy.principals import application_by_default

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_MAY_BE_EMPTY = ("database", "description")  # the first has choices


class EnvelopeCommand(BaseCommand):
    """A command that prints text for users, or JSON for scripts."""

    # An error elsewhere in the project must not keep anyone from their keys.
    requires_system_checks = []
    prints: ClassVar[str] = "JSON"
    json: bool  # whether it is asked for

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help=f"print {self.prints}")

    def run_from_argv(self, argv: list[str]) -> None:
        if "--version" in argv[2:] and len(argv) > 3:
            self._called_from_command_line = True
            self.create_parser(*argv[:2]).error(
                "--version shows the version of Django, and nothing would be done. A version of a "
                "key is given as --key-version N, where the command takes one."
            )
        super().run_from_argv(argv)

    def handle(self, **options: Any) -> None:
        self.json = options.pop("json")
        _refuse_unusable(options)
        terminal.take_any_output(self)
        try:
            with reported():
                self.perform(**options)
        except CommandError:
            with suppress(CommandError):  # a file of both has what was found before what is wrong
                self.stdout.flush()
            raise
        self.stdout.flush()

    def perform(self, *args: Any, **options: Any) -> None:
        """Do what the command is for, as the application; errors end it without a traceback."""
        raise NotImplementedError(f"{type(self).__module__} does nothing")

    def say(self, content: Callable[[], Any], text: str) -> None:
        """Write plain data as JSON, or the same as text; the data is made where it is asked for."""
        if self.json:
            self.write_json(content())
        else:
            self.stdout.write(text)

    def write_json(self, content: Any) -> None:
        self.stdout.write(representation.as_json(content))


def _refuse_unusable(options: Mapping[str, Any]) -> None:
    """Raise `CommandError` if an argument is empty, or has bytes that are not UTF-8, or a zero.

    Taken for none, an empty one (a variable of a script) would have a command act on everything, or
    a grant never end; the others no database takes.
    """
    for name, given in options.items():
        if given == "" and name not in _MAY_BE_EMPTY:
            raise CommandError(f"{name} is empty. Give it a value, or leave it out.")
        texts = given if isinstance(given, list | tuple) else [given]
        if any(isinstance(text, str) and _NO_TEXT.search(text) for text in texts):
            raise CommandError(
                f"{name}: {given!r} is not text in UTF-8. Is the terminal set to another encoding?"
            )


class ManyKeysCommand(EnvelopeCommand):
    """Goes through many keys: what is refused for one keeps none of the others from it."""

    def report(self, content: dict[str, Any], text: str, refused: Sequence[Refused]) -> None:
        """Write what was done and refused.

        Raises:
            CommandError: something was refused; with each reason on a line.
        """
        listed = [{**representation.row_content(each.row), "error": str(each)} for each in refused]
        self.say(lambda: {**content, "refused": listed}, text)
        if refused:
            raise CommandError("\n".join(map(str, refused)))

    def report_each(self, done: Any, name: str, line: str) -> None:
        """Write a line for each key or version that something was done to; errors as above.

        Args:
            done: has them in the attribute of that name, and `refused`.
            name: what was done, as JSON names it: `rotated`.
            line: a format of the `row`, and of its `name` in a sentence.
        """
        rows = getattr(done, name)
        lines = [line.format(row=row, name=representation.capitalized(row)) for row in rows]
        text = "\n".join(lines) or f"Nothing was {name}."
        content = {name: list(map(representation.row_content, rows))}
        self.report(content, text, done.refused)


class GrantCommand(EnvelopeCommand):
    """Names a user or a group."""

    @staticmethod
    def add_grantee(parser: CommandParser, *, required: bool) -> None:
        """Let a command take the name of a user or of a group."""
        grantee = parser.add_mutually_exclusive_group(required=required)
        grantee.add_argument("--user", metavar="USERNAME", help="the user's name, as for the login")
        grantee.add_argument("--group", metavar="NAME", help="the group's name")

    @staticmethod
    def grantee(user: str | None = None, group: str | None = None, **_: Any) -> Any:
        """Return the user or group of that name, or None if neither is named.

        Raises:
            CommandError: there is none.
        """
        if user is None and group is None:
            return None
        kind, name = ("group", group or "") if user is None else ("user", user)
        try:
            return grantees.named_grantee(kind, name)
        except ValidationError:
            raise CommandError(f"There is no {kind} {name!r}.") from None

    @staticmethod
    def until(moment: datetime | None) -> str:
        """Return when a grant ends, in the project's time zone."""
        if moment is None:
            return ""
        return f" until {template_localtime(moment):%Y-%m-%d %H:%M %Z}".rstrip()


class OperationCommand(EnvelopeCommand):
    """Does an operation of the registry to a key, or to one version of it that is not current.

    Attributes:
        operation: which.
        outcome: what the user reads afterwards; a format of the `row`, its `name` in a sentence,
            the operation's `past`, what it was given, and its `result`.
    """

    operation: ClassVar[Operation]
    outcome: ClassVar[str] = "{name} is {past}."
    prints = "the key as JSON"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = self.operation.description

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="KEY", help="the master key's alias, or its id")
        if self.operation.of_versions:
            parser.add_argument(
                "--key-version",
                type=int,
                metavar="N",
                help="only this version, which is not current",
            )
        for parameter in self.operation.parameters:
            _add_argument(parser, parameter)
        super().add_arguments(parser)

    def perform(self, *, key: str, **options: Any) -> None:
        row = named_row(key, options.get("key_version"))
        given = self.given(**options)
        text = self.text(row, self.operation.perform(key=row, **given), **given)
        self.say(lambda: _content_after(row), text)

    def given(self, **options: Any) -> dict[str, Any]:
        """Return what the operation is given beside the key."""
        names = (parameter.name for parameter in self.operation.parameters)
        return {name: options[name] for name in names if name in options}

    def text(self, row: Any, result: Any, **given: Any) -> str:
        """Return what the user reads afterwards."""
        words = {"name": representation.capitalized(row), "past": self.operation.past}
        text = self.outcome.format(row=row, result=result, **words, **given)
        return text.replace(" .", ".")  # after a time that has no zone


def _content_after(row: representation.Row) -> dict[str, Any]:
    key_id = row.pk if isinstance(row, MasterKey) else row.master_key_id
    return representation.key_content_with_versions(named_key(str(key_id)))


def _add_argument(parser: CommandParser, parameter: Parameter) -> None:
    given: dict[str, Any] = {"help": " ".join(map(str, (parameter.label, parameter.help))).strip()}
    if parameter.kind is Kind.NUMBER:
        given["type"] = int
    if parameter.is_required:
        parser.add_argument(parameter.name, metavar=parameter.name.upper(), **given)
    else:
        metavar = "DAYS" if parameter.kind is Kind.NUMBER else "TEXT"
        name = f"--{parameter.name.replace('_', '-')}"
        parser.add_argument(name, metavar=metavar, default=parameter.default, **given)


# -- How commands run: as the application; errors of this package end them without a traceback -----


@contextmanager
def reported() -> Iterator[None]:
    """Act as the application, and raise errors as a `CommandError` with the same message.

    Where a user is bound already, or a request is handled, that stays as it is: a view that calls
    a command gives its user no other rights.

    Raises:
        CommandError: with exit code 1.
    """
    try:
        with application_by_default():
            yield
    except MasterKeyNotFound as error:
        raise CommandError(f"{error} `list_master_keys` lists those that there are.") from error
    except (EnvelopeError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
    except ValidationError as error:
        raise CommandError(_messages(error)) from error
    except DatabaseError as error:
        # That of the keys is asked most.
        raise CommandError(refusal_text(error, configuration().database)) from error


def _messages(error: ValidationError) -> str:
    """Return the messages, each after the name of its field."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        message if name == NON_FIELD_ERRORS else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    )


# -- Names -----------------------------------------------------------------------------------------


def named_row(key: str, version: int | None = None) -> representation.Row:
    """Return a key by its id or alias, or a version of it by its number.

    Raises:
        MasterKeyNotFound: there is no such key.
        CommandError: it has no such version.
    """
    found = named_key(key)
    if version is None:
        return found
    row = numbered_version(found, version)
    if row is None:
        raise CommandError(f"The master key {found} has no version {version}.")
    return row


def run_id(text: str) -> UUID:
    """Return the id of a run.

    Raises:
        CommandError: it is not an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"{text!r} is not the id of a run.") from None


# -- Words -----------------------------------------------------------------------------------------


def current_text(version: MasterKeyVersion) -> str:
    """Return under which version values are written from now on."""
    name = f"Version {version.number} ({representation.version_id_of(version)})"
    unopened = representation.opening_text(version)
    return f"{name} is {unopened or 'current: values are written under it'}."
