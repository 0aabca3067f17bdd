"""Users and groups as commands are given them, by their names; and what is said of grants."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management import CommandError, CommandParser
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs

from envelope_fields.grants.grantees import named_group, named_user


def add_arguments(parser: CommandParser, *, required: bool) -> None:
    """Let a command take the name of a user or of a group."""
    who = parser.add_mutually_exclusive_group(required=required)
    who.add_argument("--user", metavar="USERNAME", help="the user's name, as for the login")
    who.add_argument("--group", metavar="NAME", help="the group's name")


def named(user: str | None, group: str | None) -> Any:
    """Return the user or group of that name, or None if neither is named.

    Raises:
        CommandError: there is none.
    """
    if user is None and group is None:
        return None
    row = named_group(group or "") if user is None else named_user(user)
    if row is None:
        kind, name = ("group", group) if user is None else ("user", user)
        raise CommandError(f"There is no {kind} {name!r}.")
    return row


def until(moment: datetime | None) -> str:
    """Say when a grant ends, in the project's time zone."""
    if moment is None:
        return ""
    return f" until {template_localtime(moment):%Y-%m-%d %H:%M %Z}".rstrip()
