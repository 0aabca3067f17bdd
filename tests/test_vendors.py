"""Which database it is, and what its error codes mean, is known to `databases/` alone."""

import re
from pathlib import Path

import pytest

import envelope_fields

PACKAGE = Path(envelope_fields.__path__[0])
# Migrations are as they were when they were written.
ELSEWHERE = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not {"databases", "migrations"} & set(path.relative_to(PACKAGE).parts)
]
ASKS = re.compile(r"\.vendor\b|\bsqlstate\b|\bpgcode\b|\berrno\b|\b(42703|42P01|1054|1146)\b")
# What has its statements for each vendor beside the work that they do.
WITH_STATEMENTS = {"jobs/statements/__init__.py"}


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_else_asks_for_a_vendor(path):
    name = str(path.relative_to(PACKAGE))
    if name not in WITH_STATEMENTS:
        assert not ASKS.search(path.read_text())
