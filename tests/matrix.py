"""Run the tests on every database found here, and say which were not found.

    python -m tests.matrix [--require-all] [--on DATABASE ...] [--marks MARKS] [for pytest ...]

A database counts as found when a real connection to it succeeds; PGHOST, PGPORT, PGUSER,
PGPASSWORD and their MARIADB_ counterparts say where to look. What uses no database, or says the
same on each, runs on the first of them, SQLite; the rest runs on all. The admin is tested in
Chromium, and workers with Redis and RabbitMQ. With --require-all, or ENVELOPE_TEST_REQUIRE_ALL=1, a
component that is missing is a failure. With --on, the tests run on these databases alone: sqlite,
postgresql or mariadb. With --marks, only some of them run: `--marks "not long"`; with --everywhere,
what says the same on every database runs on each of them. With --again FILE, a few tests that
failed run once more, one at a time: what passes then does not count as a failure, and is named at
the end and in the file. It is a defect all the same, of the test or of what it tests.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import brokers, browsers, databases
from tests.marks import TESTS, WITHOUT_DATABASE

TIMEOUT_SECONDS = 5
# More of them than these fail for a reason, and not by chance.
MOST_AGAIN = 5
# One test at a time, so that no worker ends long before the others; and one more of these than most
# machines have processors at least, since tests wait for servers, processes and a browser. Sessions
# side by side took longer: each worker has half a gigabyte in use.
DEFAULT_ARGUMENTS = ("-n", "3", "--maxschedchunk", "1", "--durations", "20")


class Missing(Exception):
    """The database cannot be reached; the message says why, in one line."""


def find_sqlite() -> str:
    import sqlite3

    return f"SQLite {sqlite3.sqlite_version}"


def find_postgresql() -> str:
    try:
        import psycopg
    except ImportError as error:
        raise Missing("psycopg is not installed") from error
    parameters = databases.postgresql()
    try:
        with psycopg.connect(
            host=parameters["HOST"],
            port=parameters["PORT"],
            user=parameters["USER"],
            password=parameters["PASSWORD"],
            dbname="postgres",
            connect_timeout=TIMEOUT_SECONDS,
        ) as connection:
            version = connection.info.parameter_status("server_version")
    except psycopg.OperationalError as error:
        raise Missing(str(error).partition("\n")[0]) from error
    return f"PostgreSQL {version}"


def find_mariadb() -> str:
    try:
        import MySQLdb
    except ImportError as error:
        raise Missing("mysqlclient is not installed") from error
    parameters = databases.mariadb()
    try:
        connection = MySQLdb.connect(
            host=parameters["HOST"],
            port=parameters["PORT"],
            user=parameters["USER"],
            password=parameters["PASSWORD"],
            connect_timeout=TIMEOUT_SECONDS,
        )
    except MySQLdb.OperationalError as error:
        raise Missing(error.args[-1]) from error
    version: str = connection.get_server_info()
    connection.close()
    return f"MariaDB {version}"


def find_broker(url: str) -> str:
    try:
        import celery
    except ImportError as error:
        raise Missing("celery is not installed") from error
    if not brokers.answers(url):
        raise Missing(f"nothing answers at {url}")
    return f"Celery {celery.__version__}"


def find_browser() -> str:
    path = browsers.chromium()
    if path is None:
        raise Missing("Chromium or Playwright is not installed")
    return path


FINDERS: dict[str, Callable[[], str]] = {
    "sqlite": find_sqlite,
    "postgresql": find_postgresql,
    "mariadb": find_mariadb,
}

# What some of the tests need besides.
OTHERS: dict[str, Callable[[], str]] = {
    "browser": find_browser,
    **{name: partial(find_broker, url) for name, url in brokers.BROKERS.items()},
}


def find(finders: dict[str, Callable[[], str]]) -> tuple[dict[str, str], dict[str, str]]:
    """The components found, with their versions, and the missing ones, with the reasons."""
    found, missing = {}, {}
    for name, finder in finders.items():
        try:
            found[name] = finder()
        except Missing as reason:
            missing[name] = str(reason)
    return found, missing


@dataclass(frozen=True)
class Session:
    """One run of pytest.

    Attributes:
        database: the one that its tests use, if they use any.
        marks: which tests these are, as an expression for pytest's `-m`.
        ignored: patterns of files that have none of them, so that no worker looks there.
    """

    database: str
    marks: str
    ignored: tuple[str, ...] = ()

    def run(self, arguments: list[str], *, again: bool) -> tuple[int, list[str]]:
        """Run it, and say what came of it.

        Returns:
            pytest's exit status, and the tests that failed at first and passed `again`.
        """
        picked = ["-m", self.marks, *(f"--ignore-glob={TESTS / each}" for each in self.ignored)]
        only_these = ["--cache-clear"] if again else []  # or others would run again, too
        status, failed = self._pytest(
            self.database, [*DEFAULT_ARGUMENTS, *picked, *only_these, *arguments]
        )
        if not (again and status == FAILED and 0 < len(failed) <= MOST_AGAIN):
            return status, []
        alone = ["--last-failed", "--last-failed-no-failures", "none", "-n", "0"]
        status, _ = self._pytest(f"{self.database}, what failed again", [*arguments, *alone])
        return (0, failed) if status == 0 else (FAILED, [])

    def _pytest(self, title: str, arguments: list[str]) -> tuple[int, list[str]]:
        """Return the exit status, and what pytest's summary has of each test that failed."""
        print(f"{title} ...", flush=True)
        began = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        print(f"\n=== {title}: {seconds:.0f} s ===\n{result.stdout}", flush=True)
        return result.returncode, re.findall(r"^(?:FAILED|ERROR) (.+)", result.stdout, re.MULTILINE)

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        # Or every process that a test starts would compile all that it imports.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        environment["ENVELOPE_TEST_DB"] = self.database
        return environment


# Pytest's exit statuses where tests failed, and where none was picked: by -k, say, which picks some
# of other sessions.
FAILED = 1
NOTHING_PICKED = 5


def sessions(found: list[str], marks: str, *, everywhere: bool) -> list[Session]:
    """Return what is run on these databases."""
    first, *others = found
    marks = f"not checkers and ({marks})"
    left_out = "no_database" if everywhere else "(no_database or any_database or combination)"
    return [
        Session(first, marks),
        *(Session(each, f"not {left_out} and {marks}", WITHOUT_DATABASE) for each in others),
    ]


def failures(
    to_run: list[Session], arguments: list[str], *, again: bool
) -> tuple[list[str], list[str]]:
    """Run sessions.

    Returns:
        The names of those that failed (all, where no test was picked), and the tests that failed
        at first and passed again.
    """
    ended = [session.run(arguments, again=again) for session in to_run]
    statuses = [status for status, _ in ended]
    fine = {0} if set(statuses) == {NOTHING_PICKED} else {0, NOTHING_PICKED}
    failed = [
        session.database
        for session, status in zip(to_run, statuses, strict=True)
        if status not in fine
    ]
    return failed, [test for _, tests in ended for test in tests]


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return what is said to this module, and what is said to pytest."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", allow_abbrev=False)
    parser.add_argument(
        "--require-all",
        action="store_true",
        default=os.environ.get("ENVELOPE_TEST_REQUIRE_ALL", "") not in ("", "0"),
        help="a component that is missing is a failure",
    )
    parser.add_argument(
        "--on", choices=list(FINDERS), action="append", help="run on this database alone"
    )
    parser.add_argument(
        "--marks", default="long or not long", help="run those that have these marks, as for -m"
    )
    parser.add_argument(
        "--everywhere",
        action="store_true",
        help="run what says the same on every database on each of them, too",
    )
    parser.add_argument(
        "--again",
        metavar="FILE",
        type=Path,
        help="run a few tests that failed once more, and add those that pass then to this file",
    )
    return parser.parse_known_args(arguments)


def main(arguments: list[str]) -> int:
    options, for_pytest = parse(arguments)
    finders = {name: FINDERS[name] for name in options.on or FINDERS}
    databases_found, missing = find(finders)
    print(", ".join(f"{name}: {version}" for name, version in databases_found.items()), flush=True)
    failed, passed_again = failures(
        sessions(list(databases_found), options.marks, everywhere=options.everywhere),
        for_pytest,
        again=options.again is not None,
    )

    others_found, others_missing = find(OTHERS)
    missing |= others_missing
    print(f"\nTested on: {', '.join([*databases_found, *others_found])}.")
    for name, reason in missing.items():
        print(f"Not found, so not tested: {name} ({reason}).")
    for test in passed_again:
        line = f"Failed, and passed when it ran again, which is a defect to mend: {test}"
        print(line)
        with options.again.open("a") as file:
            file.write(f"{line}\n")
    if failed:
        print(f"Failed on: {', '.join(failed)}.")
    if missing and options.require_all:
        print("Every component was required, so the missing ones count as a failure.")
    return 1 if failed or (missing and options.require_all) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
