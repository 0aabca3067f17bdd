"""A management command in a process of its own, on the test databases.

Run as a program it is that process; imported, `command` starts one.
"""

import json
import os
import subprocess
import sys


def command(*arguments, **options):
    """Start a management command; return its process."""
    from django.db import connections

    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.child", json.dumps(names, default=str), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **options.pop("environment", {})},
        **options,
    )


def main(names, *arguments):
    import django
    from django.core.management import execute_from_command_line
    from django.db import connections

    django.setup()
    for alias, name in json.loads(names).items():
        connections[alias].settings_dict["NAME"] = name
    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
