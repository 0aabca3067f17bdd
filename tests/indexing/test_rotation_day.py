"""A day on which a search key is rotated: builds of all deployments at once, and nobody stops.

Each build is a project of its own in a directory, on one database: the first index, both, or the
second. Some of their processes write, some try to write what is there already, and some look for
what they know to be there, while the commands run.
"""

import time

import pytest
from django.db import connection

from tests import sizes
from tests.indexing.day import INDEX_1, INDEX_2, LOOK, added

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="one process writes at a time"),
]

SECONDS = sizes.size(0.2, 20)  # between two steps
PAUSE = sizes.size(0.05, 0)  # of a process, between two of the things that it does
WRITERS = ["writer"] * sizes.size(1, 2)
ADDRESSES = sizes.size(40, 400)


def back_and_again(day):
    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "filling")
    day.wait_until("first", "writer", "done")
    day.wait_until("second", "reader", "refused")
    time.sleep(SECONDS)
    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "reading")
    day.wait_until("first", "writer", "refused")
    day.wait_until("both", "reader", "done")


def test_the_day(day):
    day.environment = {"CLINIC_CACHE_SECONDS": "1", "CLINIC_COMMITS_LATE": "1.5"}
    day.manage("first", "migrate", "-v0")
    day.manage("first", "shell", "-v0", "-c", added(ADDRESSES))
    day.start("first", *WRITERS, "intruder", "reader", pause=PAUSE)
    day.wait_until("first", "writer", "done")
    day.manage("first", "rotate_master_key", "search")
    day.manage("both", "migrate", "-v0")
    day.start("both", *WRITERS, "intruder", "reader", pause=PAUSE)
    day.wait_until("both", "writer", "done")
    time.sleep(SECONDS)

    day.manage("both", "rebuild_indexes", INDEX_2, "--to", "reading")
    day.wait_until("first", "writer", "refused")
    day.start("first", "writer", pause=PAUSE)  # it boots again
    day.start("second", "writer", "reader", pause=PAUSE)  # too early
    day.wait_until("second", "writer", "refused")
    day.wait_until("both", "writer", "done")
    time.sleep(SECONDS)

    if sizes.LONG:
        back_and_again(day)
    assert day.reported("second")[0]["writer", "done"] == 0
    day.manage("both", "rebuild_indexes", INDEX_1, "--to", "retired")
    day.wait_until("second", "writer", "done")
    day.wait_until("both", "writer", "done")
    day.wait_until("first", "reader", "refused")
    day.wait_until("first", "writer", "refused")
    time.sleep(SECONDS)

    day.stop("first", "both")
    day.manage("last", "migrate", "-v0")
    day.wait_until("second", "writer", "done")
    day.wait_until("second", "reader", "done")
    day.stop("second")
    day.manage("last", "verify_indexes")
    day.manage("last", "shell", "-v0", "-c", LOOK)
    for build in ("first", "both", "second"):
        assert day.reported(build)[1] == []
