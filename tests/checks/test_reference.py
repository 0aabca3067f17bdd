"""The page that explains the checks, against the checks that there are."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reference" / "checks.md").read_text()
SOURCES = [
    *(ROOT / "envelope_fields" / "checks").glob("*.py"),
    *(ROOT / "envelope_fields" / "fields").rglob("checks.py"),
]
NUMBER = re.compile(r"envelope_fields\.([EW]\d{3})\b")


def in_code() -> set[str]:
    return {number for source in SOURCES for number in NUMBER.findall(source.read_text())}


def sections() -> dict[str, str]:
    _, *parts = re.split(r"^### envelope_fields\.([EW]\d{3})$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_page_explains_each_check_once_and_no_other():
    numbers = re.findall(r"^### envelope_fields\.([EW]\d{3})$", PAGE, flags=re.MULTILINE)
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == in_code()


def test_an_id_that_the_page_mentions_exists():
    assert set(re.findall(r"\b[EW]\d{3}\b", PAGE)) == in_code()


def test_each_check_says_why_and_what_to_do():
    for number, text in sections().items():
        assert re.search(r"^Why\n: \S", text, flags=re.MULTILINE), number
        assert re.search(r"^What to do\n: \S", text, flags=re.MULTILINE), number


def test_each_check_is_tested():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert {number for number in in_code() if number not in tests} == set()
