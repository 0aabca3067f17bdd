"""Runs inside `manage.py shell` of a page's project."""

import doctest
import sys
from typing import Any


def run(text: str, namespace: dict[str, Any]) -> None:
    """Run a block: a script, or an interactive session whose output is compared."""
    session = doctest.DocTestParser().get_doctest(text, namespace, "the session", None, 0)
    if not session.examples:
        exec(compile(text, "<block>", "exec"), namespace)
        return
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    if runner.run(session).failed:
        sys.exit(1)
