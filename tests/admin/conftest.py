"""An officer with a key, and a real browser on the pages of a real server."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from envelope_fields.jobs.workers.process import ProcessWorker
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.policy.requests import in_flight
from tests.admin import officer
from tests.browsers import chromium
from tests.rotation import with_worker
from tests.waiting import until


@pytest.fixture
def key():
    return create_master_key("tenant")


@pytest.fixture
def user(key):
    """An officer with all rights on the key."""
    return officer(key=key)


@pytest.fixture
def client(client, user):
    client.force_login(user)
    return client


@pytest.fixture
def begun(settings, monkeypatch):
    """What the worker was asked to begin."""
    begun = []
    with_worker(settings, "process.ProcessWorker")
    monkeypatch.setattr(ProcessWorker, "begin", lambda worker, run_id: begun.append(run_id))
    return begun


@pytest.fixture
def as_the_application(settings):
    """The test itself runs beside the requests of the server, in the same process."""
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    with acting_as(APPLICATION):
        yield


@pytest.fixture(scope="session")
def running_browser(tmp_path_factory):
    """The address of one browser for all tests: to start it takes longer than most of them."""
    with running(tmp_path_factory.mktemp("browser")) as address:
        yield address


@contextmanager
def running(profile: Path):
    with (profile / "log").open("w") as log:
        process = subprocess.Popen(
            [
                chromium(), "--headless", "--no-sandbox", "--disable-dev-shm-usage",
                "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update",
                # A page that is not in front keeps its timers all the same.
                "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
                "--disable-backgrounding-occluded-windows",
                "--remote-debugging-port=0", f"--user-data-dir={profile}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        port = profile / "DevToolsActivePort"
        until(lambda: port.exists() and port.read_text().count("\n") == 1, seconds=60)
        yield f"http://127.0.0.1:{port.read_text().split()[0]}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser(running_browser):
    # Not for longer, since its event loop is in the way of tests without a browser.
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.connect_over_cdp(running_browser)
        yield browser
        browser.close()
        until(lambda: not in_flight)  # what its last page asked for is answered


@pytest.fixture
def page(browser, as_the_application, live_server):
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
