"""A management command in a process of its own, on the test databases.

Run as a program it is that process; imported, `command` starts one.
"""

import json
import os
import signal
import subprocess
import sys


def databases():
    """Return the names of the test databases, for a process to open the same."""
    from django.db import connections

    return json.dumps(
        {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections}
    )


def program(*arguments):
    """Return the program that is a management command on the test databases."""
    return [sys.executable, "-m", "tests.child", databases(), *arguments]


def command(*arguments, **options):
    """Start a management command; return its process."""
    return subprocess.Popen(
        program(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **options.pop("environment", {})},
        **options,
    )


def of_workers(monkeypatch):
    """Let the processes of `ProcessWorker` be on the test databases; return the list of them."""
    from envelope_fields.rotation.workers import process

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
