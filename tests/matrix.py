"""Run the same tests on every database found here, and say which were not found.

    python -m tests.matrix [--require-all] [--on DATABASE ...] [arguments for pytest]

A database counts as found when a real connection to it succeeds; PGHOST, PGPORT, PGUSER,
PGPASSWORD and their MARIADB_ counterparts say where to look. The admin is tested in Chromium, on
SQLite alone, and workers with Redis and RabbitMQ. With --require-all, or
ENVELOPE_TEST_REQUIRE_ALL=1, a component that is missing is a failure. With --on, the tests run on
these databases alone: sqlite, postgresql or mariadb.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from tests import brokers, browsers, databases

TIMEOUT_SECONDS = 5
# One test at a time, so that no worker ends long before the other.
DEFAULT_ARGUMENTS = ("-n", "2", "--maxschedchunk", "1")


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


def passes(name: str, arguments: list[str]) -> bool:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "ENVELOPE_TEST_DB": name,
    }
    command = [sys.executable, "-m", "pytest", *DEFAULT_ARGUMENTS, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode == 0


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
    return parser.parse_known_args(arguments)


def main(arguments: list[str]) -> int:
    options, for_pytest = parse(arguments)
    finders = {name: FINDERS[name] for name in options.on or FINDERS}
    databases_found, missing = find(finders)
    failed = []
    for name, version in databases_found.items():
        print(f"\n=== {name}: {version} ===", flush=True)
        if not passes(name, for_pytest):
            failed.append(name)

    others_found, others_missing = find(OTHERS)
    missing |= others_missing
    print(f"\nTested on: {', '.join([*databases_found, *others_found])}.")
    for name, reason in missing.items():
        print(f"Not found, so not tested: {name} ({reason}).")
    if failed:
        print(f"Failed on: {', '.join(failed)}.")
    if missing and options.require_all:
        print("Every component was required, so the missing ones count as a failure.")
    return 1 if failed or (missing and options.require_all) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
