"""The numbers of the page about what root keys cost follow from its formula and its prices."""

import re

import pytest

from envelope_fields.keyring.age import EARLY_SHARE
from tests.docs.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "explanation" / "root-key-costs.md")
HOURS, AGE = 730, 3600
ASKS_IN_AN_AGE = 2 * (1 + EARLY_SHARE / 2)
FREE_AT_AWS = 20_000


def number(cell):
    return float(cell.replace(",", "").replace("$", ""))


def price_of(service):
    """Return what 10,000 requests cost, as the page has it."""
    [row] = [row for row in PAGE.tables["service"] if service in row[0]]
    return float(re.match(r"\$([\d.]+)", row[2])[1])


def dollars(amount):
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def test_the_formula():
    formula = "requests a month = K × V × P × 2.1 × 730 × 3600 / A"
    assert formula in PAGE.text


@pytest.mark.parametrize("row", PAGE.tables["master keys in use"], ids=" ".join)
def test_what_a_month_costs(row):
    keys, versions, processes = map(number, row[:3])
    requests = keys * versions * processes * ASKS_IN_AN_AGE * HOURS * 3600 / AGE
    assert row[3] == f"{requests:,.0f}"
    a_second = requests / HOURS / 3600
    assert row[4] == (f"{a_second:.2f}" if a_second < 100 else f"{a_second:,.0f}")
    assert row[5] == dollars(max(requests - FREE_AT_AWS, 0) / 10_000 * price_of("[AWS KMS]"))
    assert row[6] == dollars(requests / 10_000 * price_of("in software"))
    assert row[7] == dollars(requests / 10_000 * price_of("RSA of 2,048"))
    assert row[8] == dollars(requests / 10_000 * price_of("RSA of 3,072"))


def test_prices_have_a_date():
    assert all(row[3] for row in PAGE.tables["service"])
    assert "They were not looked up since: look them up" in PAGE.text.replace("\n", " ")
