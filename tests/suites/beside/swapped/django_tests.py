"""Run Django's own tests with encrypted users, two processes at a time, or as many as asked."""

import os
import sys
import tempfile

import runtests  # of Django's tests

PROCESSES = int(os.environ.get("SUITE_PROCESSES", "2"))

runtests.ALWAYS_INSTALLED_APPS.insert(0, "swapped.users.Users")
runtests.ALWAYS_INSTALLED_APPS.append("envelope_fields")
runtests.ALWAYS_MIDDLEWARE.append("envelope_fields.middleware.PrincipalMiddleware")


def run(labels):
    """Return how many tests of some modules fail."""
    return runtests.django_tests(
        verbosity=1, interactive=False, failfast=False, keepdb=False, reverse=False,
        test_labels=labels, debug_sql=False, parallel=PROCESSES, tags=(),
        exclude_tags=("selenium",), test_name_patterns=None, start_at="", start_after="",
        pdb=False, buffer=False, timing=False, shuffle=False,
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as os.environ["TMPDIR"]:
        sys.exit(bool(run(sys.argv[1:])))
