"""A command that is killed by SIGKILL before one of its statements, or after it.

    python killed.py before|after NUMBER COMMAND ARGUMENT …

It prints how many statements there were, where these are fewer.
"""

import os
import signal
import sys


class Statements:
    """Counts statements, and kills this process at one of them."""

    def __init__(self, when, at):
        self.when, self.at, self.seen = when, at, 0

    def __call__(self, execute, sql, params, many, context):
        self.seen += 1
        if self.seen == self.at and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, params, many, context)
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(when, at, *command):
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    statements = Statements(when, int(at))
    connection.force_debug_cursor = True  # PostgreSQL's own cursor would not be noticed
    with connection.execute_wrapper(statements):
        call_command(*command)
    sys.stdout.write(f"{statements.seen} statements\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
