"""A second process on the test database, which does what it is told line by line.

Run as a program it is that process; imported, `OtherProcess` starts one.
"""

import json
import os
import subprocess
import sys


class OtherProcess:
    """Evaluates expressions over `Note`, `stored`, `keyring` and friends in another process."""

    def __init__(self, names=None, **environment):
        from django.db import connections

        if names is None:
            names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.other_process", json.dumps(names, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)

    def __call__(self, expression):
        """Return what the expression gives there, as JSON knows it."""
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
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
    from tests.models import LabNote, Note
    from tests.policy import read_as
    from tests.stored import stored, version_of

    known = {
        "LabNote": LabNote, "Note": Note, "events": events, "keyring": keyring, "kms": kms,
        "lifecycle": lifecycle, "models": models, "policy": policy, "read_as": read_as,
        "rotation": rotation, "stored": stored, "version_of": version_of,
    }  # fmt: skip
    for line in sys.stdin:
        try:
            answer = {"value": eval(line, known)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
