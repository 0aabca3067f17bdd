"""A rotation that is started, watched, paused, resumed and cancelled in a real browser."""

import pytest
from django.urls import reverse
from django.utils import timezone

from envelope_fields import audit, rotation
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import (
    RotationColumn,
    RotationFailure,
    RotationRange,
    RotationRun,
    RotationState,
)
from tests import child
from tests.admin import browsing, knowing_keys, officer
from tests.models import TenantNote
from tests.rotation import left, with_worker

pytestmark = browsing.in_a_browser

ROWS = 3000
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
    officer("olga", key=key)
    return key


@pytest.fixture
def values(key):
    rows = [TenantNote(tenant="clinic/north", text=f"{n}") for n in range(ROWS)]
    with knowing_keys():
        TenantNote.plain_objects.bulk_create(rows)
    rotate_master_key(key)


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


def page_of_run(run):
    return reverse("admin:envelope_fields_rotationrun_change", args=[run.pk])


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
        ".object-tools [data-rotation-operation]",
        "items => items.filter(each => each.offsetParent !== null)"
        ".map(each => each.dataset.rotationOperation)",
    )


def test_the_bar_moves_without_reloading(page, key, values, processes):
    page.asked = []
    page.on("request", lambda seen: "/progress/" in seen.url and page.asked.append(seen.url))
    page.on("console", lambda said: "Policy" in said.text and page.problems.append(said.text))

    page.clock.install()
    browsing.log_in(page, "olga")
    page.goto(page_of(key))
    page.click('[data-operation="start_rotation"]')
    assert f"{ROWS:,} stored values in 1 field." in page.inner_text(".envelope-consequences")
    page.fill("#id_max_rate", "100")
    page.click('text="Show the numbers for this choice"')
    assert "One process takes about 30 seconds." in page.inner_text(".envelope-consequences")
    browsing.picture(page, "move-values")
    page.fill("#id_max_rate", "30")  # pages take long on a machine that is busy
    assert "are being moved" in browsing.confirm(page)
    run = RotationRun.objects.get()
    assert (run.actor_name, run.limits["max_rate"]) == ("olga", 30)

    page.evaluate("window.isTheSame = true")
    first = wait_for_bar(page, 0)
    second = wait_for_bar(page, first)
    browsing.picture(page, "rotation")
    assert page.evaluate("window.isTheSame")
    assert first < second < ROWS
    assert visible_acts(page) == ["pause", "cancel"]
    row = "[data-rotation-rows=fields] tr"
    assert page.inner_text(row).startswith("tests.TenantNote.text")
    assert "values a second" in page.inner_text("[data-rotation=rate]")
    assert "running, " in page.inner_text("[role=status]")

    browsing.act(page, "pause")
    assert "So far:" in page.inner_text(".envelope-consequences")
    assert "is paused" in browsing.confirm(page)
    wait_for_state(page, "paused")
    processes[0].wait(timeout=30)
    rests_at = left("clinic/north")
    assert visible_acts(page) == ["resume", "cancel"]
    page.clock.run_for("01:00")
    assert 0 < left("clinic/north") == rests_at

    browsing.act(page, "resume")
    assert "goes on" in browsing.confirm(page)
    page.goto(page_of(key))  # the bar is there, too
    wait_for_bar(page, ROWS - rests_at)
    assert page.is_visible('.object-tools [data-operation="rotate"]')  # it is none of the run
    page.click("#envelope-rotations tbody a")
    browsing.act(page, "cancel")
    assert "What was moved stays so: " in page.inner_text(".envelope-consequences")
    assert "is cancelled" in browsing.confirm(page)
    run.refresh_from_db()
    assert (run.state, visible_acts(page)) == (RotationState.CANCELLED, [])
    assert_stopped(page)
    assert 0 < left("clinic/north") < rests_at
    assert len(processes) == 2
    assert audit.verify().intact


class TestWatching:
    """The test itself is the worker: it writes down what one would."""

    @pytest.fixture
    def run(self, key):
        run = rotation.start(key)
        RotationRun.objects.filter(pk=run.pk).update(
            state=RotationState.RUNNING, resumed_at=timezone.now(), is_planned=True
        )
        column = RotationColumn.objects.create(
            run=run, database="default", model="tests.TenantNote", field="text", total=ROWS
        )
        RotationRange.objects.create(column=column, pass_number=1, number=0, until="")
        return run

    @pytest.fixture
    def watched(self, page, run):
        page.asked = []
        page.on("request", lambda seen: "/progress/" in seen.url and page.asked.append(seen.url))
        page.clock.install()
        browsing.log_in(page, "olga")
        page.goto(page_of_run(run))
        return page

    def test_to_the_end(self, watched, run):
        for moved in (1, ROWS // 2, ROWS):
            move(run, moved)
            wait_for_bar(watched, moved - 1)
        RotationRun.objects.filter(pk=run.pk).update(
            state=RotationState.COMPLETED, finished_at=timezone.now()
        )
        wait_for_state(watched, "completed")
        assert visible_acts(watched) == []
        assert watched.inner_text("[role=status]") == "completed"
        assert_stopped(watched)

    def test_what_fails_is_listed_as_it_happens(self, watched, run):
        assert not watched.is_visible("#envelope-failures")
        chunk = RotationRange.objects.get(column__run=run)
        RotationFailure.objects.create(
            range=chunk, row="<i>7</i>", version_id="0" * 16, cause="UnwrapFailed", message="x"
        )
        RotationRange.objects.filter(pk=chunk.pk).update(failed=1)
        watched.wait_for_selector("#envelope-failures tbody tr", timeout=30_000)
        assert "<i>7</i>" in watched.inner_text("#envelope-failures tbody")
        assert watched.inner_text("[data-rotation=failed]") == "1"

    def test_not_while_nobody_looks(self, watched, run):
        with watched.expect_response("**/progress/"):
            pass
        look_away(watched, is_hidden=True)
        watched.wait_for_load_state("networkidle")  # what was asked is answered
        move(run, 10)
        assert_stopped(watched)
        assert bar(watched) == 0
        look_away(watched, is_hidden=False)
        wait_for_bar(watched, 9)

    def test_a_server_that_does_not_answer(self, watched, run):
        watched.route("**/progress/", lambda route: route.abort())
        watched.wait_for_selector("text=could not be brought up to date")
        watched.unroute("**/progress/")
        move(run, 10)
        wait_for_bar(watched, 9)
        watched.wait_for_selector("text=could not be brought up to date", state="hidden")

    def test_a_login_that_ends(self, watched, run):
        watched.context.clear_cookies()
        watched.wait_for_selector("text=Reload the page", timeout=30_000)
        assert_stopped(watched)

    def test_by_keyboard_alone(self, watched, run):
        for name in ("pause", "resume"):
            browsing.tab_to(watched, f'[data-operation="{name}"]')
            watched.keyboard.press("Enter")
            watched.wait_for_selector(".envelope-consequences")
            if name == "pause":
                browsing.tab_to(watched, 'input[type="submit"].default')
                watched.keyboard.press("Enter")
                watched.wait_for_selector(".messagelist")
        run.refresh_from_db()
        assert run.state == RotationState.PAUSED
        assert "names no worker" in watched.inner_text(".errornote")

    def test_without_scripts(self, browser, live_server, run):
        move(run, 300)
        context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
        page = context.new_page()
        browsing.log_in(page, "olga")
        page.goto(page_of_run(run))
        assert "300 of 3,000 values" in page.inner_text("#envelope-run")
        assert page.get_attribute(".envelope-run progress", "value") == "300"
        assert page.is_visible('[data-operation="pause"]')
        assert not page.is_visible('[data-operation="resume"]')
        context.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_the_bar_can_be_seen(self, browser, live_server, run, scheme):
        move(run, 300)
        context = browser.new_context(base_url=live_server.url, color_scheme=scheme)
        page = context.new_page()
        browsing.log_in(page, "olga")
        page.goto(page_of_run(run))
        browsing.picture(page, f"rotation-{scheme}")
        bar, text, ground = map(
            browsing.brightness,
            page.evaluate(
                """() => [
                    getComputedStyle(document.querySelector('.envelope-run progress')).accentColor,
                    getComputedStyle(document.querySelector('.envelope-run dt')).color,
                    getComputedStyle(document.body).backgroundColor,
                ]"""
            ),
        )
        assert abs(bar - ground) > 100
        assert abs(text - ground) > 100
        context.close()


def move(run, moved):
    RotationRange.objects.filter(column__run=run).update(moved=moved)
    RotationRun.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now())


def look_away(page, *, is_hidden):
    """Let the page believe that its tab is in the background, or that it is not."""
    page.evaluate(
        """isHidden => {
            Object.defineProperty(document, 'hidden', {value: isHidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        is_hidden,
    )


def assert_stopped(page):
    """Let a minute pass for the page, in which it asks for nothing."""
    page.asked.clear()
    page.clock.run_for("01:00")
    page.evaluate("0")  # comes after what it would have asked
    assert page.asked == []
