from collections.abc import Callable, Iterator

import pytest
from django.apps.registry import Apps
from django.core.checks import CheckMessage, run_checks
from django.test.utils import isolate_apps

Report = Callable[[], list[CheckMessage]]


@pytest.fixture
def registry() -> Iterator[Apps]:
    """An application registry that holds only the models that a test defines."""
    with isolate_apps("tests") as apps:
        yield apps


@pytest.fixture
def report(registry: Apps, db: None) -> Report:
    """Run all checks, Django's as well, on the models of the test; return our messages."""

    def run() -> list[CheckMessage]:
        messages = run_checks(app_configs=registry.get_app_configs(), databases=["default"])
        return [message for message in messages if str(message.id).startswith("envelope_fields.")]

    return run


@pytest.fixture
def ids(report: Report) -> Callable[[], list[str]]:
    """Return the ids of our messages, without the common prefix."""
    return lambda: [str(message.id).removeprefix("envelope_fields.") for message in report()]


@pytest.fixture
def root_key(settings):
    """Replace the root key under which the stored versions are wrapped."""

    def replace(replacement, name="default"):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {name: replacement}}

    return replace
