"""A second process on the test database, which does what it is told line by line.

Run as a program it is that process; imported, `OtherProcess` starts one.
"""

import json
import os
import sys

from tests import fork_server


def pipe():
    """Return both ends of a pipe, as files."""
    reading, writing = os.pipe()
    return os.fdopen(reading), os.fdopen(writing, "w")


class OtherProcess:
    """Evaluates expressions over `Note`, `stored`, `keyring` and friends in another process."""

    def __init__(self, names=None, **environment):
        from django.db import connections

        if names is None:
            names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
        told, self._telling = pipe()
        self._answers, answering = pipe()
        with told, answering:
            self.process = fork_server.Program(
                fork_server.shared().path,
                ["-m", "tests.other_process", json.dumps(names, default=str)],
                environment={**os.environ, **environment},
                directory=os.getcwd(),
                files=[told.fileno(), answering.fileno(), 2],
            )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._telling.close()
        self._answers.close()
        self.process.wait(timeout=30)

    def tell(self, expression):
        """Have an expression evaluated, and wait for nothing."""
        print(expression, file=self._telling, flush=True)

    def __call__(self, expression):
        """Return what the expression gives there, as JSON knows it."""
        self.tell(expression)
        answer = json.loads(self._answers.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]


def serve(names):
    import django
    from django.db import connections

    django.setup()
    for alias, name in names.items():
        connections[alias].settings_dict["NAME"] = name

    from envelope_fields import keyring, kms, lifecycle, models, policy, rotation
    from tests.audit import events
    from tests.lifecycle import users
    from tests.models import LabNote, Note
    from tests.policy import read_as
    from tests.stored import stored, version_of

    known = {
        "LabNote": LabNote, "Note": Note, "events": events, "keyring": keyring, "kms": kms,
        "lifecycle": lifecycle, "models": models, "policy": policy, "read_as": read_as,
        "rotation": rotation, "stored": stored, "users": users, "version_of": version_of,
    }  # fmt: skip
    for line in sys.stdin:
        try:
            answer = {"value": eval(line, known)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
