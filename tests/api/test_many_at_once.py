"""Eight clients at once, who read, rotate and fail: nothing is lost, and all of it is in the trail.

A few hundred requests, or ten thousand, which take minutes.
"""

import base64
import itertools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command

from envelope_fields import audit, kms, rotation
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import ACTIVE_STATES, AuditEvent, RotationRun
from tests.admin import officer
from tests.api import reader
from tests.models import TenantNote
from tests.rotation import left
from tests.server import served
from tests.sizes import size

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

CLIENTS = 8
REQUESTS = size(240, 10_000)
VALUES = 300
JSON = {"Content-Type": "application/json"}


class Account:
    """A connection that is kept, of one account."""

    def __init__(self, address, name):
        parts = urlsplit(address)
        self.connection = HTTPConnection(parts.hostname, parts.port, timeout=120)
        self.path = parts.path
        token = base64.b64encode(f"{name}:secret".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"}

    def ask(self, method, path, content=None, **headers):
        body = content if content is None or isinstance(content, bytes) else json.dumps(content)
        self.connection.request(method, self.path + path, body, {**self.headers, **JSON, **headers})
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


class Client:
    """One of those who are at it at once, in three accounts; it notes what it did and was told.

    Attributes:
        said: of each request, its id, what it was, and the status of the answer.
        kept: pairs of what was encrypted and what came of it.
    """

    def __init__(self, address, number):
        self.number = number
        self.olga, self.rita, self.oscar = (
            Account(address, name) for name in ("olga", "rita", "oscar")
        )
        self.said, self.kept, self.runs = [], [], []

    def work(self, requests):
        turns = itertools.cycle(TURNS)
        for _ in range(self.number * len(TURNS) // CLIENTS):
            next(turns)
        for count in range(requests):
            turn = next(turns)
            self.id = f"{self.number}-{count}"
            self.said.append((self.id, turn.__name__, turn(self)))
        for account in (self.olga, self.rita, self.oscar):
            account.connection.close()

    def ask(self, account, method, path, content=None):
        return account.ask(method, path, content, **{"X-Request-ID": self.id})

    # Reads

    def read_key(self):
        status, said = self.ask(self.rita, "GET", "keys/alias:tenant/")
        assert said["alias"] == "tenant"
        return status

    def read_lists(self):
        path = ["keys/", "rotations/?page_size=5", "events/?page_size=5"][int(self.id[-1]) % 3]
        return self.ask(self.rita, "GET", path)[0]

    def read_census(self):
        status, said = self.ask(self.rita, "GET", "keys/alias:tenant/census/")
        assert said["total"] == VALUES
        return status

    def read_rotation(self):
        run = self.runs[-1] if self.runs else "none"
        return self.ask(self.rita, "GET", f"rotations/{run}/")[0]

    # Changes

    def rotate(self):
        return self.ask(self.olga, "POST", "keys/alias:tenant/rotate/")[0]

    def describe(self):
        return self.ask(self.olga, "PATCH", "keys/alias:tenant/", {"description": self.id})[0]

    def start(self):
        status, said = self.ask(self.olga, "POST", "rotations/", {"key": "alias:tenant"})
        self.runs.append(said["id"] if status == 202 else said["rotation"])
        return status

    def pause(self):
        return self._act("pause")

    def resume(self):
        return self._act("resume")

    def cancel(self):
        return self._act("cancel")

    def _act(self, act):
        run = self.runs[-1] if self.runs else "none"
        return self.ask(self.olga, "POST", f"rotations/{run}/{act}/")[0]

    # Data

    def encrypt(self):
        plaintext = base64.b64encode(self.id.encode()).decode()
        content = {"key": "alias:tenant", "plaintext": plaintext, "context": {"id": self.id}}
        status, said = self.ask(self.olga, "POST", "data/encrypt/", content)
        self.kept.append((self.id, said["ciphertext"]))
        return status

    def decrypt(self):
        name, ciphertext = self.kept[int(self.id[-1]) % len(self.kept)]
        content = {"ciphertext": ciphertext, "context": {"id": name}}
        status, said = self.ask(self.olga, "POST", "data/decrypt/", content)
        assert base64.b64decode(said["plaintext"]).decode() == name
        return status

    # Failures

    def rotate_without_the_right(self):
        return self.ask(self.rita, "POST", "keys/alias:tenant/rotate/")[0]

    def read_what_is_not_seen(self):
        return self.ask(self.oscar, "GET", "keys/alias:tenant/")[0]

    def send_nonsense(self):
        path, content = [
            ("keys/alias:tenant/rotate/", b"{"), ("keys/", {"alias": 1}),
            ("rotations/", {"key": "alias:tenant", "sleep": "x"}), ("data/encrypt/", b"\xff"),
        ][int(self.id[-1]) % 4]  # fmt: skip
        return self.ask(self.olga, "POST", path, content)[0]


# What each turn may be answered with. Others are faster: then a run is under way already, or over.
ANSWERS = {
    Client.read_key: {200}, Client.read_lists: {200}, Client.read_census: {200},
    Client.read_rotation: {200, 404}, Client.rotate: {200}, Client.describe: {200},
    Client.start: {202, 409}, Client.pause: {200, 404, 409}, Client.resume: {202, 404, 409},
    Client.cancel: {200, 404, 409}, Client.encrypt: {200}, Client.decrypt: {200},
    Client.rotate_without_the_right: {403}, Client.read_what_is_not_seen: {404},
    Client.send_nonsense: {400},
}  # fmt: skip
# Those that change something each time that they are done; the acts on runs may come too late.
CHANGES = {"rotate", "describe", "start"}
ACTS_ON_RUNS = {"pause", "resume", "cancel"}
_OFTEN = [
    Client.encrypt, Client.read_key, Client.describe, Client.read_lists, Client.decrypt,
    Client.read_key, Client.rotate_without_the_right, Client.read_rotation, Client.send_nonsense,
    Client.read_what_is_not_seen,
]  # fmt: skip
_RARELY = [Client.rotate, Client.start, Client.pause, Client.resume, Client.read_census]
TURNS = [turn for rare in [*_RARELY, *_RARELY, *_RARELY, Client.cancel] for turn in [*_OFTEN, rare]]


@pytest.fixture
def notes():
    key = create_master_key("tenant")
    officer("olga", key=key)
    reader("rita", key=key)
    officer("oscar", permissions=["view_masterkey"])
    made = [TenantNote(tenant="tenant", text=f"{n}", data=None) for n in range(VALUES)]
    return TenantNote.objects.bulk_create(made)


def test_many_at_once(notes):
    with (
        served(threads=CLIENTS, processes=2, worker="tests.api.workers.Beside") as address,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        clients = [Client(address, number) for number in range(CLIENTS)]
        list(pool.map(lambda client: client.work(REQUESTS // CLIENTS), clients))
    said = [each for client in clients for each in client.said]
    assert len(said) == REQUESTS // CLIENTS * CLIENTS
    each_of = {turn.__name__: statuses for turn, statuses in ANSWERS.items()}
    assert {(what, status) for _, what, status in said if status not in each_of[what]} == set()
    every_change_is_in_the_trail(said)
    everything_reads_back(notes, [pair for client in clients for pair in client.kept])


def every_change_is_in_the_trail(said):
    events = AuditEvent.objects.filter(outcome="done")
    told = Counter(events.exclude(request_id="").values_list("request_id", flat=True))
    for request, what, status in said:
        if what in CHANGES:
            assert told[request] == (status < 300), (request, what, status)
        elif what in ACTS_ON_RUNS:
            assert told[request] <= (status < 300), (request, what, status)
        else:
            assert told[request] == 0, (request, what, status)
    done = Counter(what for _, what, status in said if status < 300)
    acts = Counter(events.values_list("action", flat=True))
    assert (acts["rotate"], acts["update_key"]) == (done["rotate"], done["describe"])
    assert acts["start_rotation"] == done["start"] == RotationRun.objects.count() > 0
    denied = AuditEvent.objects.filter(outcome="denied")
    assert {event.actor_name for event in denied} == {"rita", "oscar"}
    found = audit.verify()
    assert found.intact, found.problems
    call_command("verify_audit_trail")
    numbers = list(AuditEvent.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))


def everything_reads_back(notes, kept):
    for run in RotationRun.objects.filter(state__in=ACTIVE_STATES):
        rotation.cancel(run)
    rotate_master_key("tenant")
    assert rotation.run("tenant").state == "completed"
    assert left("tenant") == 0
    found = TenantNote.objects.order_by("pk").values_list("text", flat=True)
    assert list(found) == [note.text for note in notes]
    for name, ciphertext in kept:
        assert kms.decrypt(base64.b64decode(ciphertext), {"id": name}) == name.encode()
