"""gunicorn with a root key that is used before its workers are forked, and by each of them.

Run by gunicorn, this module is the application; imported, `preforked` starts it.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from uuid import UUID

import requests

from tests.waiting import until

WORKERS = 2
_ENTRY = "ENVELOPE_TEST_PREFORK"


@contextmanager
def preforked(service):
    """Serve with the root key of a service; yield a function that asks one of the workers.

    It returns the worker's process id and, of what was wrapped before the fork and by the worker,
    whether the worker opened it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gunicorn", "tests.root_keys.prefork:application()",
                "--preload", "--bind", f"fd://{listening.fileno()}", "--worker-class", "gthread",
                "--threads", "4", "--workers", str(WORKERS), "--log-level", "warning",
            ],
            pass_fds=[listening.fileno()],
            env={**os.environ, **service.environment, _ENTRY: json.dumps(service.entry())},
        )  # fmt: skip
        try:
            until(lambda: process.poll() is not None or _answers(address))
            assert process.poll() is None, "gunicorn has ended"
            yield lambda: _asked(address)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _asked(address):
    # A connection of its own, so that any worker may answer.
    answer = requests.get(address, timeout=30, headers={"Connection": "close"})
    answer.raise_for_status()
    return answer.json()


def _answers(address):
    try:
        return _asked(address)
    except requests.ConnectionError:  # it begins
        return None


def application():
    """Return a WSGI application that wraps now and, when it is asked, unwraps."""
    import django
    from django.conf import settings

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": json.loads(os.environ[_ENTRY])}}
    django.setup()
    from envelope_fields.crypto.context import KeyVersionContext
    from envelope_fields.keyring import wrapping

    material = bytearray(range(32))
    context = KeyVersionContext(UUID(int=7), b"version7", 7, "encrypt_decrypt")
    before = wrapping.wrap("default", material, context).material

    def answer(environ, start_response):
        mine = wrapping.wrap("default", material, context).material
        opened = [wrapping.unwrap("default", each, context) == material for each in (before, mine)]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([os.getpid(), *opened]).encode()]

    return answer
