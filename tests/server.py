"""A real server: gunicorn on a port of the loopback interface."""

import json
import os
import socket
import time
from contextlib import contextmanager

import requests
from django.db import connections

from tests import fork_server


@contextmanager
def served(threads=4, processes=1, worker="envelope_fields.jobs.workers.process.ProcessWorker"):
    """Serve the test project on the databases of this test; yield the address of the API.

    Args:
        threads: of each process.
        processes: how many.
        worker: who works on rotations.
    """
    names = {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        process = fork_server.Program(
            fork_server.shared().path,
            [
                "-m", "gunicorn", "django.core.wsgi:get_wsgi_application()",
                "--bind", "fd://0", "--worker-class", "gthread",
                "--threads", str(threads), "--workers", str(processes), "--log-level", "warning",
                # Clients hold several connections each, and use one at a time.
                "--keep-alive", "75",
                # What is too long for us is ours to refuse.
                "--limit-request-line", "0", "--limit-request-field_size", "0",
            ],
            environment={
                **os.environ, "DJANGO_SETTINGS_MODULE": "tests.served_settings",
                "SERVED_DATABASES": json.dumps(names), "SERVED_WORKER": worker,
            },
            directory=os.getcwd(),
            files=[listening.fileno(), 2, 2],
        )  # fmt: skip
        try:
            _wait(process, port)
            yield f"http://127.0.0.1:{port}/api/v1/"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(process, port):
    for _ in range(300):
        assert process.poll() is None, "the server has ended"
        try:
            requests.get(f"http://127.0.0.1:{port}/api/v1/", timeout=10)
        except (requests.ConnectionError, requests.Timeout):  # of a machine that is busy
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer")
