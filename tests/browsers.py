"""The browser for the tests of pages: Debian's Chromium, driven by Playwright."""

import os
import shutil


def chromium() -> str | None:
    """Return the path of the browser, or None where it or its driver is not installed."""
    try:
        import playwright  # noqa: F401 - is it there?
    except ImportError:
        return None
    return os.environ.get("ENVELOPE_TEST_CHROMIUM") or shutil.which("chromium")
