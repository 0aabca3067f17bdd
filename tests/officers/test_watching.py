"""A rotation that is started, watched, paused, resumed and cancelled in a real browser."""

import pytest
from django.urls import reverse

from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import RotationRun, RotationState
from tests import child
from tests.models import TenantNote
from tests.officers import officer
from tests.officers.browsing import act, confirm, in_a_browser, log_in, picture
from tests.rotation import left, with_worker

pytestmark = in_a_browser

ROWS = 900
# Nothing inline, and nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'"
)


class StrictPolicy:
    """A middleware, as projects have one that send a Content-Security-Policy."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response


@pytest.fixture(autouse=True)
def strict(settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.StrictPolicy"]


@pytest.fixture
def key():
    key = create_master_key("clinic/north")
    TenantNote.plain_objects.bulk_create(
        [TenantNote(tenant="clinic/north", text=f"{n}") for n in range(ROWS)]
    )
    rotate_master_key(key)
    officer("olga", key=key)
    return key


@pytest.fixture
def processes(settings, monkeypatch):
    with_worker(settings, "process.ProcessWorker")
    started = child.of_workers(monkeypatch)
    yield started
    for process in started:
        process.terminate()
        process.wait(timeout=30)


def page_of(key):
    return reverse("admin:envelope_fields_masterkey_change", args=[key.pk])


def bar(page):
    return page.evaluate("document.querySelector('.envelope-run progress').value")


def wait_for(page, condition, **options):
    page.wait_for_function(condition, timeout=30_000, **options)


def wait_for_bar(page, more_than):
    wait_for(
        page,
        "than => document.querySelector('.envelope-run progress').value > than",
        arg=more_than,
    )
    return bar(page)


def wait_for_state(page, state):
    wait_for(
        page,
        "state => document.querySelector('[data-rotation=state]').textContent === state",
        arg=state,
    )


def visible_acts(page):
    return page.eval_on_selector_all(
        ".object-tools [data-rotation-act]",
        "items => items.filter(each => each.offsetParent !== null)"
        ".map(each => each.dataset.rotationAct)",
    )


def test_the_bar_moves_without_reloading(page, key, processes):
    asked = []
    page.on("request", lambda request: "/progress/" in request.url and asked.append(request.url))
    page.on("console", lambda said: "Policy" in said.text and page.problems.append(said.text))

    log_in(page, "olga")
    page.goto(page_of(key))
    page.click('[data-act="start_rotation"]')
    assert f"{ROWS} stored values in 1 field." in page.inner_text(".envelope-consequences")
    page.fill("#id_max_rate", "100")
    page.click('text="Show the numbers for this choice"')
    assert "One process takes about 9 seconds." in page.inner_text(".envelope-consequences")
    picture(page, "move-values")
    assert "are being moved" in confirm(page)
    run = RotationRun.objects.get()
    assert (run.actor_name, run.limits["max_rate"]) == ("olga", 100)

    page.evaluate("window.isTheSame = true")
    first = wait_for_bar(page, 0)
    second = wait_for_bar(page, first)
    picture(page, "rotation")
    assert page.evaluate("window.isTheSame")
    assert first < second < ROWS
    assert visible_acts(page) == ["pause", "cancel"]
    row = "[data-rotation-rows=fields] tr"
    assert page.inner_text(row).startswith("tests.TenantNote.text")
    assert "values a second" in page.inner_text("[data-rotation=rate]")
    assert "running, " in page.inner_text("[role=status]")

    act(page, "pause")
    assert "So far:" in page.inner_text(".envelope-consequences")
    assert "is paused" in confirm(page)
    wait_for_state(page, "paused")
    processes[0].wait(timeout=30)
    rests_at = left("clinic/north")
    assert visible_acts(page) == ["resume", "cancel"]
    page.wait_for_timeout(1500)
    assert 0 < left("clinic/north") == rests_at

    act(page, "resume")
    assert "goes on" in confirm(page)
    page.goto(page_of(key))  # the bar is there, too
    wait_for_bar(page, ROWS - rests_at)
    page.click("#envelope-rotations tbody a")
    act(page, "cancel")
    assert "What was moved stays so: " in page.inner_text(".envelope-consequences")
    assert "is cancelled" in confirm(page)
    run.refresh_from_db()
    assert (run.state, visible_acts(page)) == (RotationState.CANCELLED, [])
    asked.clear()
    page.wait_for_timeout(2500)
    assert asked == []
    assert 0 < left("clinic/north") < rests_at
    assert len(processes) == 2
    assert audit.verify().intact
