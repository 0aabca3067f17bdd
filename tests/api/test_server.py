"""A real server and real clients: many at once, and one in another process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent
from tests.api import reader
from tests.officers import officer
from tests.server import served

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CLIENTS = 8
REQUESTS = int(os.environ.get("ENVELOPE_TEST_REQUESTS", "400"))


@pytest.fixture
def key():
    return create_master_key("tenant")


def account(name):
    session = requests.Session()
    session.auth = (name, "secret")
    return session


def test_a_day_of_an_officer(key):
    officer("olga", key=key)
    with served() as address, account("olga") as olga:
        listed = olga.get(f"{address}keys/").json()
        assert [each["alias"] for each in listed["results"]] == ["default", "tenant"]
        made = olga.post(f"{address}keys/", json={"alias": "new"})
        assert made.status_code == 201
        seen = {"If-Match": made.headers["ETag"]}
        done = olga.patch(made.headers["Location"], json={"description": "x"}, headers=seen)
        assert done.status_code == 200
        late = olga.patch(made.headers["Location"], json={"description": "y"}, headers=seen)
        assert late.headers["Content-Type"] == "application/problem+json"
        assert late.status_code == 412
        named = {"X-Request-ID": "deploy-7"}
        assert olga.post(f"{address}keys/alias:new/rotate/", headers=named).status_code == 200
        assert olga.post(f"{address}keys/alias%3Anew/disable/").json()["state"] == "disabled"
        [event] = olga.get(f"{address}events/?request_id=deploy-7").json()["results"]
        assert (event["action"], event["address"]) == ("rotate", "127.0.0.1")
        assert requests.get(f"{address}keys/", timeout=30).status_code == 403
        chunks = iter([b'{"alias": ', b'"chunked"}'])  # of a length that is not known before
        streamed = olga.post(
            f"{address}keys/", data=chunks, headers={"Content-Type": "application/json"}
        )
        assert streamed.status_code < 500


def test_many_at_once(key):
    """Nothing is lost: as many versions and events as answers that said so, in one chain."""
    officer("olga", key=key)
    reader("rita", key=key)
    officer("oscar", permissions=["view_masterkey"])

    def work(client):
        said = []
        with account("olga") as olga, account("rita") as rita, account("oscar") as oscar:
            for number in range(REQUESTS // CLIENTS):
                which = (client + number) % 5
                at = f"{address}keys/{key.pk}/"
                if which == 0:
                    response = olga.post(f"{at}rotate/")
                elif which == 1:
                    response = rita.get(at)
                elif which == 2:
                    response = rita.post(f"{at}rotate/")
                elif which == 3:
                    response = oscar.get(at)
                else:
                    response = olga.patch(at, json={"description": f"{client}/{number}"})
                said.append((which, response.status_code))
        return said

    with served(threads=CLIENTS) as address, ThreadPoolExecutor(CLIENTS) as clients:
        said = [each for done in clients.map(work, range(CLIENTS)) for each in done]
    assert len(said) == REQUESTS // CLIENTS * CLIENTS
    expected = {0: 200, 1: 200, 2: 403, 3: 404, 4: 200}
    assert {each for each in said if each[1] != expected[each[0]]} == set()
    rotations = sum(which == 0 for which, _ in said)
    assert key.versions.count() == 1 + rotations
    events = AuditEvent.objects.filter(key_id=key.pk, outcome="done")
    assert events.filter(action="rotate").count() == rotations
    assert events.filter(action="update_key").count() == sum(which == 4 for which, _ in said)
    denied = AuditEvent.objects.filter(key_id=key.pk, outcome="denied")
    assert {event.actor_name for event in denied} == {"rita", "oscar"}
    found = audit.verify()
    assert found.intact, found.problems
    numbers = list(AuditEvent.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))


def test_two_operators_who_have_seen_the_same(key):
    """One of them is told, however close they are."""
    officer("olga", key=key)

    def rotate(tag):
        with account("olga") as olga:
            return olga.post(at, headers={"If-Match": tag}).status_code

    with served() as address, ThreadPoolExecutor(2) as operators:
        at = f"{address}keys/alias:tenant/rotate/"
        for _ in range(5):
            with account("olga") as olga:
                tag = olga.get(f"{address}keys/alias:tenant/").headers["ETag"]
            assert sorted(operators.map(rotate, [tag, tag])) == [200, 412]
    assert key.versions.count() == 6


CLIENT = """
import base64, os, pathlib, sys
import requests
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

api = requests.Session()
api.auth = ("olga", "secret")

def ask(name, **content):
    response = api.post(f"{sys.argv[1]}data/{name}/", json=content)
    response.raise_for_status()
    assert response.headers["Cache-Control"] == "no-store"
    return {key: base64.b64decode(value) for key, value in response.json().items()
            if key != "key_id"}

made = ask("generate-data-key", key="alias:tenant", context={"file": "scan"})
nonce = os.urandom(12)
sealed = AESGCM(made["plaintext"]).encrypt(nonce, b"x-ray", None)
stored = pathlib.Path("scan.enc")
stored.write_bytes(made["ciphertext"] + nonce + sealed)

content = stored.read_bytes()
wrapped = base64.b64encode(content[:129]).decode()
data_key = ask("decrypt", ciphertext=wrapped, context={"file": "scan"})["plaintext"]
print(AESGCM(data_key).decrypt(content[129:141], content[141:], None).decode())
"""


def test_a_client_in_another_process_encrypts_a_file(key, tmp_path):
    officer("olga", key=key)
    with served() as address:
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, address],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "x-ray\n"), done.stderr
    assert b"x-ray" not in (tmp_path / "scan.enc").read_bytes()
