"""The page of commands names each command, with the options that it has and no others."""

import pkgutil
import re
from pathlib import Path

import pytest
from django.core.management import execute_from_command_line, load_command_class
from django.core.management.base import BaseCommand

from envelope_fields.management import commands

PAGE = Path(__file__).parents[2] / "docs/reference/commands.md"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SECTIONS = {
    tuple(heading.split(", ")): text
    for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    if heading.replace(", ", "").replace("_", "").islower() and " " not in heading.split(", ")[0]
}
OF_DJANGO = {
    option
    for action in BaseCommand().create_parser("manage.py", "x")._actions
    for option in action.option_strings
}


def parsers(names):
    for name in names:
        yield load_command_class("envelope_fields", name).create_parser("manage.py", name)


def test_every_command_is_there():
    there = {name for _, name, _ in pkgutil.iter_modules(commands.__path__) if name[0] != "_"}
    assert {name for names in SECTIONS for name in names} == there


@pytest.mark.parametrize("names", SECTIONS, ids=", ".join)
def test_its_options(names):
    options = {
        option
        for parser in parsers(names)
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    terms = "\n".join(line for line in SECTIONS[names].splitlines() if line.startswith("`"))
    assert set(OPTION.findall(terms)) == options - OF_DJANGO


@pytest.mark.parametrize("names", SECTIONS, ids=", ".join)
def test_its_arguments(names):
    arguments = {
        action.metavar or action.dest.upper()
        for parser in parsers(names)
        for action in parser._actions
        if not action.option_strings
    }
    terms = re.findall(r"^((?:`[^`]+`(?:, | or )?)+)$", SECTIONS[names], re.M)
    named = {each for term in terms for each in re.findall(r"`([A-Z]+)`", term)}
    assert named == arguments


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["generate_root_key", "-v", "0"], None),
        (["verify_audit_trail", "--head", "no head"], 2),
        (["census", "--nonsense"], 2),
        (["rotate_master_key"], 2),
        (["schedule_key_deletion", "lab", "--days", "soon"], 2),
        (["generate_root_key", "--file", str(PAGE)], 1),
    ],
)
def test_exit_codes(arguments, code, capsys):
    if code is None:
        execute_from_command_line(["manage.py", *arguments])
        return
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", *arguments])
    assert ended.value.code == code


def test_a_wrong_head_is_explained(capsys):
    with pytest.raises(SystemExit):
        execute_from_command_line(["manage.py", "verify_audit_trail", "--head", "1:x"])
    assert "'1:x' is not the head of an audit trail: NUMBER:MAC" in capsys.readouterr().err


@pytest.mark.parametrize("names", SECTIONS, ids=", ".join)
def test_what_stands_for_a_value_is_named_alike(names):
    """The page says `--days DAYS` where the help of the command does."""
    named = {
        (option, action.metavar)
        for parser in parsers(names)
        for action in parser._actions
        for option in action.option_strings
        if action.metavar and option not in OF_DJANGO
    }
    terms = "\n".join(line for line in SECTIONS[names].splitlines() if line.startswith("`"))
    assert {f"`{option} {metavar}`" for option, metavar in named} <= set(
        re.findall(r"`[^`]+`", terms)
    )
