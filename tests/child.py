"""A management command in a process of its own, on the test databases.

Run as a program it is that process; imported, `command` starts one.
"""

import json
import os
import signal
import subprocess
import sys
from tempfile import TemporaryFile

from tests import fork_server


def databases():
    """Return the names of the test databases, for a process to open the same."""
    from django.db import connections

    return json.dumps(
        {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
    )


def program(*arguments):
    """Return the program that is a management command on the test databases."""
    return [sys.executable, "-m", "tests.child", databases(), *arguments]


class Command(fork_server.Program):
    """A management command that runs; with what it says, as `subprocess.Popen` has it."""

    def __init__(self, *arguments):
        self._said = [TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - closed at its end
        with open(os.devnull) as nothing:
            super().__init__(
                fork_server.shared().path,
                program(*arguments)[1:],
                environment=dict(os.environ),
                directory=os.getcwd(),
                files=[each.fileno() for each in (nothing, *self._said)],
            )

    def communicate(self, timeout=None):
        """Return what it said on its standard output and error until its end."""
        self.wait(timeout)
        for file in self._said:
            file.seek(0)
        return tuple(file.read() for file in self._said)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.wait()
        for file in self._said:
            file.close()


def of_workers(monkeypatch):
    """Let the processes of `ProcessWorker` be on the test databases; return the list of them."""
    from envelope_fields.jobs.workers import process

    started, popen = [], subprocess.Popen

    def start(command, **options):
        assert command[1:4] == ["-m", "django", "rewrap"]
        started.append(popen(program(*command[3:]), **options))
        return started[-1]

    monkeypatch.setattr(process.subprocess, "Popen", start)
    return started


def main(names, *arguments):
    import django
    from django.core.management import execute_from_command_line
    from django.db import connections

    # Whoever starts the tests in the background of a shell has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    django.setup()
    for alias, name in json.loads(names).items():
        connections[alias].settings_dict["NAME"] = name
    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
