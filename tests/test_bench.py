"""The benchmark of searches runs, on each database, and finds what it is to find."""

import os
import re
import subprocess
import sys

import pytest

VENDOR = os.environ.get("ENVELOPE_TEST_DB", "sqlite")
SIZES = ("--rows", "400", "--searches", "40", "--rounds", "4")


@pytest.fixture(scope="module")
def tables():
    command = [sys.executable, "-m", "bench.search", VENDOR, *SIZES]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.split("^database", said, flags=re.MULTILINE)[1:]


def numbers(table, work):
    """Return the numbers in the line of a work."""
    (line,) = re.findall(rf"^{VENDOR} +[\d,]* +{work}  +(.*)$", table, re.MULTILINE)
    return [float(each.replace(",", "")) for each in re.findall(r"-?[\d,]+\.?\d*", line)]


@pytest.mark.parametrize("work", ["bulk_create", "bulk_update", "save"])
def test_writes(tables, work):
    beside, _, median, lower, upper = numbers(tables[0], work)
    assert beside > 0
    assert lower <= median <= upper


@pytest.mark.parametrize(
    "work", ["full_clean", "form, and save", "form, of a taken", "save", "bulk_create"]
)
def test_a_unique_value_takes_no_more_queries_than_a_plain_one(tables, work):
    text, index = numbers(tables[1], work)
    assert text == index > 0


def test_the_filling(tables):
    fill, *of_two_processes, save, ratio, _, _, _ = numbers(tables[2], "filling")
    assert len(of_two_processes) == (0 if VENDOR == "sqlite" else 2)
    assert ratio == pytest.approx(fill / save, rel=0.1)


@pytest.mark.parametrize("work", ["get", "get, and look", "exists, of none"])
def test_searches(tables, work):
    text, index, ratio, least, greatest, *own = numbers(tables[3], work)
    assert text > 0 < index
    assert least <= ratio <= greatest
    assert own[1] <= own[0] <= own[2]


def test_where_a_search_spends_its_time(tables):
    assert numbers(tables[4], "text")[1] == 0
    compiled, mac, server = numbers(tables[4], "index")
    assert 0 < mac < compiled
    assert server > 0
