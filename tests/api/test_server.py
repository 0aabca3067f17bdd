"""A real server and real clients: many at once, and one in another process."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from envelope_fields.lifecycle import create_master_key
from tests.admin import officer
from tests.server import served

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True, databases="__all__"),
]


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
        assert streamed.status_code == 411
        assert streamed.json()["code"] == "length_required"
        days = iter([b'{"days": 7}'])  # would be 30 to whoever does not see it
        at = f"{address}keys/alias:new/schedule-deletion/"
        assert olga.post(at, data=days).status_code == 411
        assert olga.get(f"{address}keys/alias:new/").json()["state"] == "disabled"


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
