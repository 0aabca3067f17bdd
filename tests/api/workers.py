"""Workers for tests of the API, named by the setting ROTATION_WORKER."""

from threading import Thread

from django.db import connections

from envelope_fields import rotation
from envelope_fields.jobs.work import work
from envelope_fields.jobs.workers import RotationWorker


class Patient(RotationWorker):
    """Is told, and does nothing yet."""

    told = []

    def begin(self, run_id):
        self.told.append(run_id)


class Eager(RotationWorker):
    """Does it at once, as queues do that are set up so for tests."""

    def begin(self, run_id):
        rotation.run(rotation.find_run(run_id))


class Unreachable(RotationWorker):
    """Its broker is down."""

    def begin(self, run_id):
        raise ConnectionError("amqp://somebody:hunter2@broker")


class Beside(RotationWorker):
    """Does it in a thread of the server: many are begun in little time."""

    def begin(self, run_id):
        Thread(target=self._work, args=[run_id]).start()

    def _work(self, run_id):
        try:
            work(rotation.find_run(run_id))
        finally:
            connections.close_all()
