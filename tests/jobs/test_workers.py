"""Runs that are started where nobody waits: by Celery, Django's tasks, or a process."""

import os
import secrets
import signal
import subprocess
import sys
from datetime import timedelta

import django
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from envelope_fields import rotation
from envelope_fields.jobs import dispatch
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.jobs.tasks import begin_task, move_task
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import RotationRange, RotationRun, RotationState
from envelope_fields.rotation import Limits
from envelope_fields.rotation.runs import start_dispatched
from tests import child
from tests.brokers import BROKERS, answers
from tests.celery_conf import conf
from tests.models import Note
from tests.rotation import left, notes_left, with_worker
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROWS = 120


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 10)
    found = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(ROWS)])
    rotate_master_key("default")
    return found


def state(run):
    run.refresh_from_db()
    return run.state


def all_there():
    return sorted(int(text) for text in Note.objects.values_list("text", flat=True)) == list(
        range(ROWS)
    )


def test_without_a_worker(notes):
    with pytest.raises(dispatch.NoWorker):
        dispatch.worker()
    with pytest.raises(dispatch.NoWorker, match="ROTATION_WORKER"):
        dispatch.send(rotation.start("default"))


@pytest.mark.parametrize(
    "entry",
    ["celery", {}, {"BACKEND": 3}, {"BACKEND": "x", "OPTION": {}}, {"BACKEND": "x", "OPTIONS": 3}],
)
def test_settings_that_cannot_be_meant(settings, entry):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "ROTATION_WORKER": entry}
    with pytest.raises(ImproperlyConfigured, match="ROTATION_WORKER"):
        dispatch.worker()


@pytest.mark.little_django
class TestOutOfReach:
    """No worker could be given the run: it does not wait, and the caller is informed."""

    @pytest.fixture
    def broker(self, settings):
        celery = pytest.importorskip("celery")

        app = celery.Celery("tests", broker="amqp://guest:hunter2@127.0.0.1:1//")
        app.set_default()
        with_worker(settings, "celery.CeleryWorker")
        yield
        app.close()

    def test_a_start_fails(self, broker):
        with pytest.raises(dispatch.WorkerUnreachable) as caught:
            start_dispatched("default")
        run = rotation.find_run(caught.value.run)
        assert (run.state, caught.value.cause) == (RotationState.FAILED, "OperationalError")
        assert "hunter2" not in str(caught.value) + run.error
        assert rotation.start("default").state == RotationState.PENDING

    def test_one_that_rested_rests(self, broker):
        run = rotation.pause(rotation.start("default"))
        with pytest.raises(dispatch.WorkerUnreachable, match="which is paused now"):
            dispatch_resume(run)
        assert state(run) == RotationState.PAUSED

    def test_one_that_others_work_on_goes_on(self, broker):
        run = rotation.resume(rotation.start("default"))
        assert dispatch_resume(run).state == RotationState.RUNNING  # no worker is given it
        RotationRun.objects.update(resumed_at=timezone.now() - timedelta(seconds=11))
        with pytest.raises(dispatch.WorkerUnreachable, match="which is running now"):
            dispatch_resume(run)
        assert state(run) == RotationState.RUNNING

    def test_in_a_transaction_it_is_the_commit_that_fails(self, broker):
        begun = []
        with pytest.raises(dispatch.WorkerUnreachable), transaction.atomic():
            begun.append(start_dispatched("default"))
            assert state(begun[0]) == RotationState.PENDING
        assert state(begun[0]) == RotationState.FAILED

    def test_without_a_worker_nothing_is_made(self):
        with pytest.raises(dispatch.NoWorker):
            start_dispatched("default")
        run = rotation.pause(rotation.start("default"))
        with pytest.raises(dispatch.NoWorker):
            dispatch_resume(run)
        assert state(run) == RotationState.PAUSED
        assert RotationRun.objects.count() == 1


class TestTasks:
    """What the queues are given, done here in an order of our own."""

    def test_the_last_range_ends_the_run(self, notes):
        run = rotation.start("default")
        ranges = begin_task(run.pk)
        assert len(ranges) == ROWS // 10
        assert [move_task(each) for each in ranges] == [None] * len(ranges)
        assert state(run) == RotationState.COMPLETED
        assert (left("default"), all_there()) == (0, True)

    def test_twice_is_as_good_as_once(self, notes):
        run = rotation.start("default")
        ranges = begin_task(run.pk)
        for each in ranges[:3] * 2:
            move_task(each)
        assert begin_task(run.pk) == ranges[3:]
        for each in reversed(ranges):
            move_task(each)
        assert state(run) == RotationState.COMPLETED
        assert move_task(ranges[0]) is None
        assert begin_task(run.pk) == []

    def test_another_pass(self, notes):
        from envelope_fields import keyring
        from envelope_fields.crypto.envelope import encrypt
        from tests.rotation import put

        run = rotation.start("default")
        ranges = begin_task(run.pk)
        for each in ranges[:-1]:
            move_task(each)
        with rotated_back():
            stale = keyring.values.wrapping_key("default", "default")
        context = Note._meta.get_field("text").contexts[0]
        put(notes[0], "text", encrypt(stale, b"0", context))
        assert move_task(ranges[-1]) == run.pk
        for each in begin_task(run.pk):
            move_task(each)
        assert state(run) == RotationState.COMPLETED
        assert (left("default"), all_there()) == (0, True)

    def test_a_paused_run_is_left(self, notes):
        run = rotation.start("default")
        ranges = begin_task(run.pk)
        rotation.pause(run)
        assert move_task(ranges[0]) is None
        assert left("default") == ROWS
        rotation.resume(run)
        assert begin_task(run.pk) == ranges

    def test_a_range_that_is_not_there(self):
        assert move_task(4711) is None


def rotated_back():
    """Let the keyring take version 1 for current, as a process that missed a rotation does."""
    from unittest import mock

    from envelope_fields.keyring import rows
    from envelope_fields.models import MasterKey

    first = MasterKey.objects.get(alias="default").versions.get(number=1)
    row = rows.with_version_id(bytes(first.version_id))
    return mock.patch.object(rows, "current_version", return_value=row)


@pytest.mark.little_django
@pytest.mark.any_database
class TestCelery:
    @pytest.fixture(params=BROKERS)
    def environment(self, request):
        pytest.importorskip("celery")
        url = BROKERS[request.param]
        if not answers(url):
            pytest.skip(f"no {request.param} here")
        queue = f"envelope-{secrets.token_hex(4)}"
        return {
            "ENVELOPE_TEST_BROKER": url,
            "ENVELOPE_TEST_QUEUE": queue,
            "ENVELOPE_TEST_DATABASES": child.databases(),
        }

    @pytest.fixture
    def worker(self, environment):
        started = []

        def start():
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tests.celery_app", "worker"),
                    *("--concurrency=1", "--without-gossip", "--without-mingle", "-l", "INFO"),
                    *("-n", f"{secrets.token_hex(4)}@here"),
                ],
                env={**os.environ, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            started.append(process)
            return process

        yield start
        for process in started:
            if process.poll() is None:
                kill(process)

    @pytest.fixture
    def sending(self, environment, settings, monkeypatch):
        """Send as the application would, whose Celery has the same broker."""
        from celery import Celery

        app = Celery("tests")
        app.conf.update(conf(environment))
        app.set_default()
        with_worker(settings, "celery.CeleryWorker", queue=environment["ENVELOPE_TEST_QUEUE"])
        yield
        with app.connection_for_write() as connection:
            connection.channel().queue_delete(environment["ENVELOPE_TEST_QUEUE"])
        app.close()

    def test_two_workers_of_which_one_is_killed(self, notes, environment, worker, sending):
        run = rotation.start("default", limits=Limits(batch_size=2, sleep=0.02))
        begin_task(run.pk)  # cuts ranges that are small, which a worker would not
        first = worker()
        dispatch.send(run)
        until(lambda: notes_left() < ROWS)
        second = worker()
        until(lambda: RotationRange.objects.filter(done_at__isnull=False).count() >= 2)
        kill(first)
        assert left("default") > 0
        if environment["ENVELOPE_TEST_BROKER"].startswith("redis"):
            # RabbitMQ gives the lost task to the other worker at once. Redis does so late, or
            # never if the first was killed at a bad moment: resuming sends what is not done.
            dispatch.send(rotation.resume(run))
        until(lambda: state(run) == RotationState.COMPLETED)
        assert second.poll() is None
        assert (left("default"), all_there()) == (0, True)


def kill(worker):
    """Kill a worker together with the process that it has for tasks."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(timeout=30)


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")
class TestDjangoTasks:
    def test_at_once(self, notes, settings):
        settings.TASKS = {
            "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
        }
        with_worker(settings, "django_tasks.DjangoTasksWorker")
        run = rotation.start("default")
        dispatch.send(run)
        assert state(run) == RotationState.COMPLETED
        assert (left("default"), all_there()) == (0, True)

    def test_later(self, notes, settings):
        from django.tasks import default_task_backend

        settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
        with_worker(settings, "django_tasks.DjangoTasksWorker")
        run = rotation.start("default")
        dispatch.send(run)
        assert state(run) == RotationState.PENDING
        (result,) = default_task_backend.results
        assert result.args == [str(run.pk), "default"]

    def test_a_backend_that_is_not_there(self, settings):
        with_worker(settings, "django_tasks.DjangoTasksWorker", backend="nope")
        with pytest.raises(ImproperlyConfigured, match="nope"):
            dispatch.worker()


@pytest.mark.little_django
class TestProcess:
    def test_it_outlives_the_request(self, notes, settings, monkeypatch):
        started = child.of_workers(monkeypatch)
        with_worker(settings, "process.ProcessWorker", workers=1)
        run = rotation.start("default")
        dispatch.send(run)
        until(lambda: state(run) == RotationState.COMPLETED)
        assert (left("default"), all_there()) == (0, True)
        started[0].wait(timeout=30)

    def test_the_command_is_one(self):
        """What the process is given is what `rewrap` takes."""
        done = subprocess.run(
            [sys.executable, "-m", "django", "rewrap", "--help"],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE},
            capture_output=True,
            text=True,
        )
        assert "--run ID" in done.stdout
        assert "--workers N" in done.stdout
