"""A real browser, on the pages of a real server."""

import pytest

from envelope_fields.policy import APPLICATION, acting_as
from tests.browsers import chromium


@pytest.fixture
def as_the_application(monkeypatch, settings):
    """The test itself runs beside the requests of the server, in the same process."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has an event loop
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    with acting_as(APPLICATION):
        yield


@pytest.fixture
def browser(as_the_application):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, live_server):
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("response", lambda answer: answer.status >= 500 and page.problems.append(answer.url))
    # Nothing comes from anywhere else.
    page.on(
        "request",
        lambda request: (
            request.url.startswith((live_server.url, "data:")) or page.problems.append(request.url)
        ),
    )
    yield page
    assert page.problems == []
    context.close()
