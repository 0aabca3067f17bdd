"""The root key in Google Cloud KMS, against a fake of it."""

import base64
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from threading import Thread

import pytest

pytest.importorskip(
    "google.cloud.kms_v1", reason="the client of Google Cloud KMS is in .venv-root-keys"
)

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.root_keys.google import GoogleKmsRootKey
from tests.root_keys import google_cloud as cloud
from tests.root_keys.contract import (
    CONTEXT,
    MATERIAL,
    RootKeyContract,
    forked,
    material,
    says_nothing_secret,
)
from tests.root_keys.google_cloud import DECRYPT, ENCRYPT, GET, RING, GoogleCloud, error
from tests.root_keys.http_server import Answer, HttpServer
from tests.waiting import until

HTML = Answer(200, b"<html>Sign in: your token is ya29.secret</html>", "text/html")


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as environment:
        yield environment


@pytest.fixture(scope="module")
def service(tmp_path_factory, environment):
    service = GoogleCloud(tmp_path_factory.mktemp("google"), environment)
    yield service
    service.close()


class TestContract(RootKeyContract):
    pass


@pytest.fixture
def google(tmp_path):
    """A service of a test's own, which it may leave in any state."""
    with pytest.MonkeyPatch.context() as environment:
        service = GoogleCloud(tmp_path, environment)
        yield service
        service.close()


@pytest.fixture
def root_key(google):
    return google.root_key()


@pytest.fixture
def wrapped(root_key):
    return root_key.wrap(material(), CONTEXT).material


def test_the_context_is_additional_authenticated_data(google, root_key):
    wrapped, wrapping_key_id = root_key.wrap(material(), CONTEXT)
    assert wrapping_key_id == f"{RING}/cryptoKeys/root/cryptoKeyVersions/1"
    cipher = AESGCM(google.key.materials[1])
    assert cipher.decrypt(wrapped[5:17], wrapped[17:], CONTEXT.encode()) == MATERIAL


def test_checksums_are_sent(google, root_key, wrapped):
    root_key.unwrap(wrapped, CONTEXT)
    encrypt, decrypt = (json.loads(asked.body) for asked in google.kms.http.asked)
    bound = {"additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c", "name"}
    assert encrypt.keys() - bound == {"plaintext", "plaintextCrc32c"}
    assert decrypt.keys() - bound == {"ciphertext", "ciphertextCrc32c"}
    assert bound - {"name"} <= encrypt.keys() & decrypt.keys()


def test_rotation_of_the_key(google, root_key, wrapped):
    google.key.rotate()
    newer, wrapping_key_id = root_key.wrap(material(), CONTEXT)
    assert wrapping_key_id.endswith("/cryptoKeyVersions/2")
    google.kms.permissions = {ENCRYPT, DECRYPT}
    assert root_key.current_wrapping_key_id() == wrapping_key_id
    assert root_key.unwrap(wrapped, CONTEXT) == root_key.unwrap(newer, CONTEXT) == MATERIAL


@pytest.mark.parametrize("state", ["DISABLED", "DESTROYED", "DESTROY_SCHEDULED"])
def test_a_version_that_is_not_enabled(google, root_key, wrapped, state):
    google.key.rotate()
    google.key.states[1] = state
    with pytest.raises(RootKeyRefused, match="enable or restore the version") as caught:
        root_key.unwrap(wrapped, CONTEXT)
    assert not isinstance(caught.value, WrappedKeyAltered)
    assert root_key.wrap(material(), CONTEXT)


def flipped(text):
    data = bytearray(base64.b64decode(text))
    data[3] ^= 1
    return base64.b64encode(data).decode()


DAMAGES = {
    "the ciphertext": ("encrypt", lambda answer: flip(answer, "ciphertext")),
    "its checksum": ("encrypt", lambda answer: answer.update(ciphertextCrc32c="1")),
    "no checksum": ("encrypt", lambda answer: answer.pop("ciphertextCrc32c")),
    "no ciphertext": (
        "encrypt",
        lambda answer: answer.update(ciphertext="", ciphertextCrc32c="0"),
    ),
    "the plaintext was not verified": (
        "encrypt",
        lambda answer: answer.update(verifiedPlaintextCrc32c=False),
    ),
    "the context was not verified": (
        "encrypt",
        lambda answer: answer.pop("verifiedAdditionalAuthenticatedDataCrc32c"),
    ),
    "another key": (
        "encrypt",
        lambda answer: answer.update(name=f"{RING}/cryptoKeys/root2/cryptoKeyVersions/1"),
    ),
    "the plaintext": ("decrypt", lambda answer: flip(answer, "plaintext")),
    "its checksum, opened": ("decrypt", lambda answer: answer.pop("plaintextCrc32c")),
    "no plaintext": ("decrypt", lambda answer: answer.pop("plaintext")),
}


def flip(answer, name):
    answer[name] = flipped(answer[name])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_answer_is_not_used(google, root_key, wrapped, damage):
    operation, change = DAMAGES[damage]
    damaged = []

    def tampering(asked, answer):
        if asked == operation and len(damaged) < 2:
            damaged.append(answer)
            change(answer)

    google.kms.tampering = tampering
    assert use(operation, root_key, wrapped) == MATERIAL
    assert len(damaged) == 2, "asked again, until it was sound"


@pytest.mark.parametrize("damage", ["the ciphertext", "the plaintext"])
def test_answers_that_stay_damaged(google, root_key, wrapped, damage):
    operation, change = DAMAGES[damage]
    google.kms.tampering = lambda asked, answer: change(answer) if asked == operation else None
    root_key._timeout = 0.05
    with pytest.raises(RootKeyUnavailable, match="was damaged on the way"):
        use(operation, root_key, wrapped)


@pytest.mark.parametrize(
    ("operation", "field"),
    [("encrypt", "plaintext"), ("encrypt", "additionalAuthenticatedData"),
     ("decrypt", "ciphertext"), ("decrypt", "additionalAuthenticatedData")],
)  # fmt: skip
def test_a_request_that_came_damaged_is_sent_again(google, root_key, wrapped, operation, field):
    """The service says INVALID_ARGUMENT then, as it does for a row that was altered."""
    damaged = []

    def damaging(asked, fields):
        if asked == operation and len(damaged) < 2:
            damaged.append(fields)
            fields[field] = flipped(fields[field])

    google.kms.damaging = damaging
    assert use(operation, root_key, wrapped) == MATERIAL
    assert len(damaged) == 2


def test_requests_that_always_come_damaged(google, root_key, wrapped):
    def damaging(asked, fields):
        fields["ciphertext"] = flipped(fields["ciphertext"])

    google.kms.damaging = damaging
    root_key._timeout = 0.05
    with pytest.raises(RootKeyUnavailable, match="was damaged on the way"):
        root_key.unwrap(wrapped, CONTEXT)


def use(operation, root_key, wrapped):
    if operation == "encrypt":
        wrapped = root_key.wrap(material(), CONTEXT).material
    return root_key.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_what_is_no_master_key(google, root_key, length):
    """It was wrapped by one who may encrypt, and for this very context."""
    other = google.key.encrypt(b"x" * length, CONTEXT.encode())
    with pytest.raises(WrappedKeyAltered, match="is not a master key"):
        root_key.unwrap(other, CONTEXT)


ERRORS = {
    "NOT_FOUND": (RootKeyRefused, RootKeyRefused),
    "PERMISSION_DENIED": (RootKeyRefused, RootKeyRefused),
    "FAILED_PRECONDITION": (RootKeyRefused, RootKeyRefused),
    "INVALID_ARGUMENT": (RootKeyRefused, WrappedKeyAltered),
    "UNAUTHENTICATED": (RootKeyUnavailable, RootKeyUnavailable),
    "RESOURCE_EXHAUSTED": (RootKeyUnavailable, RootKeyUnavailable),
    "UNAVAILABLE": (RootKeyUnavailable, RootKeyUnavailable),
    "INTERNAL": (RootKeyUnavailable, RootKeyUnavailable),
    "DEADLINE_EXCEEDED": (RootKeyUnavailable, RootKeyUnavailable),
}


@pytest.mark.parametrize("code", ERRORS)
def test_each_code(google, root_key, wrapped, code, caplog):
    if ERRORS[code][0] is RootKeyUnavailable:
        root_key._timeout = 0.05
    with google.failing(error(code, "a message with a secret")):
        with pytest.raises(ERRORS[code][0]) as wrapping:
            root_key.wrap(material(), CONTEXT)
        with pytest.raises(ERRORS[code][1]) as unwrapping:
            root_key.unwrap(wrapped, CONTEXT)
    for caught, expected in zip((wrapping, unwrapping), ERRORS[code], strict=True):
        assert type(caught.value) is expected
        assert "with a secret" not in str(caught.value)
    assert not caplog.records


NOT_LISTED = {
    "another code": Answer(409, b'{"error": {"code": 409, "status": "ABORTED"}}'),
    "a code that is no text": Answer(400, b'{"error": {"code": 400, "status": 9}}'),
    "lines for the log": Answer(400, b'{"error": {"status": "A\\nERROR root: gone"}}'),
    "a list": Answer(409, b'[{"error": {"code": 409, "status": "ABORTED"}}]'),
    "an error of text": Answer(400, b'{"error": "invalid_request"}'),
    "a proxy's 403": HTML._replace(status=403),
    "a proxy's 404": HTML._replace(status=404),
    "a page": HTML,
    "nothing": Answer(200, b""),
    "other types": Answer(200, b'{"ciphertext": 5, "plaintext": {}, "name": 7}'),
}


@pytest.mark.parametrize("answer", NOT_LISTED)
def test_what_is_in_no_list_may_be_tried_again(google, root_key, wrapped, answer, caplog):
    with google.kms.http.breaking(google.kms.http.other(NOT_LISTED[answer])):
        for use in (
            lambda: root_key.wrap(material(), CONTEXT),
            lambda: root_key.unwrap(wrapped, CONTEXT),
            root_key.check,
        ):
            with pytest.raises(RootKeyUnavailable) as caught:
                use()
            assert "ya29" not in str(caught.value)
            says_nothing_secret(caught.value, google)
    assert {each.name for each in caplog.records} == {"envelope_fields.root_keys"}
    assert "in no list" in caplog.text
    assert "ya29" not in caplog.text
    assert "gone" not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b"{}"), Answer(200, b"[]"), HTML._replace(status=502), HTML._replace(status=503),
     HTML._replace(status=429), HTML._replace(status=401)],
)  # fmt: skip
def test_answers_of_balancers_may_be_tried_again(google, root_key, wrapped, answer):
    root_key._timeout = 0.05
    with google.kms.http.breaking(google.kms.http.other(answer)):
        for operation in ("encrypt", "decrypt"):
            with pytest.raises(RootKeyUnavailable):
                use(operation, root_key, wrapped)


def test_half_an_answer(google, root_key, wrapped):
    root_key._timeout = 0.05
    with (
        google.kms.http.breaking(google.kms.http.half),
        pytest.raises(RootKeyUnavailable, match="could not be reached"),
    ):
        root_key.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(google, root_key, status):
    """It would take the material along."""
    elsewhere = HttpServer(lambda asked: Answer(200, b"{}"))
    to = ("Location", f"http://127.0.0.1:{elsewhere.port}/")
    with (
        google.kms.http.breaking(google.kms.http.other(Answer(status, b"", headers=(to,)))),
        pytest.raises(RootKeyUnavailable, match="TooManyRedirects"),
    ):
        root_key.wrap(material(), CONTEXT)
    assert not elsewhere.asked
    elsewhere.stop()


def test_a_service_that_hangs_is_not_waited_for(google):
    root_key = google.root_key(timeout=0.05)
    begun = time.monotonic()
    with google.kms.http.breaking(google.kms.http.hang), pytest.raises(RootKeyUnavailable):
        root_key.wrap(material(), CONTEXT)
    assert time.monotonic() - begun < 15, "and not for a minute, as the client does by itself"


def test_a_process_that_may_only_encrypt(google, root_key, wrapped):
    google.kms.permissions = {ENCRYPT}
    assert root_key.wrap(material(), CONTEXT).material
    for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check):
        with pytest.raises(MayNotUnwrap, match="useToDecrypt"):
            use()


def test_a_process_that_may_only_decrypt(google, root_key, wrapped):
    google.kms.permissions = {DECRYPT}
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    for use in (lambda: root_key.wrap(material(), CONTEXT), root_key.check):
        with pytest.raises(RootKeyRefused, match="cryptoKeyEncrypterDecrypter") as caught:
            use()
        assert not isinstance(caught.value, MayNotUnwrap)


def test_the_least_role_is_enough_for_check(google, root_key):
    google.kms.permissions = {ENCRYPT, DECRYPT}
    assert root_key.check() is None


def test_a_key_of_another_purpose(google):
    google.kms.add("signs", purpose="ASYMMETRIC_SIGN")
    root_key = google.root_key("signs")
    with pytest.raises(ValueError, match="is for ASYMMETRIC_SIGN; name a key for ENCRYPT_DECRYPT"):
        root_key.check()
    google.kms.permissions.discard(GET)
    with pytest.raises(RootKeyRefused, match="is its purpose ENCRYPT_DECRYPT"):
        root_key.check()


def test_a_key_that_gives_back_something_else(google, root_key):
    google.kms.permissions.discard(GET)
    google.key.decrypt = lambda ciphertext, bound: bytes(32)
    with pytest.raises(RootKeyRefused, match="does not give back"):
        root_key.check()


NAME = f"{RING}/cryptoKeys/root"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"key_name": None},
        {"key_name": "root"},
        {"key_name": f"{NAME}/cryptoKeyVersions/1"},
        {"key_name": f"{NAME}/../other"},
        {"key_name": f"{NAME}\n"},
        {"key_name": NAME, "endpoint": "http://cloudkms.googleapis.com"},
        {"key_name": NAME, "endpoint": "http://localhost.example.com"},
        {"key_name": NAME, "endpoint": "https://user@host"},
        {"key_name": NAME, "endpoint": ""},
        {"key_name": NAME, "timeout": 0},
        {"key_name": NAME, "timeout": -1},
        {"key_name": NAME, "timeout": True},
        {"key_name": NAME, "timeout": "5"},
        {"key_name": NAME, "timeout": None},
        {"key_name": NAME, "timeout": float("nan")},
        {"key_name": NAME, "credentials": "key.json"},
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises((TypeError, ValueError)):
        GoogleKmsRootKey(**options)


@pytest.mark.parametrize(
    "endpoint",
    [None, "cloudkms.europe-west3.rep.googleapis.com", "https://cloudkms-clinic.p.googleapis.com",
     "https://127.0.0.1:8443", "http://[::1]:80"],
)  # fmt: skip
def test_endpoints(endpoint):
    assert repr(GoogleKmsRootKey(key_name=NAME, endpoint=endpoint)) == f"<GoogleKmsRootKey {NAME}>"


def test_without_its_client(monkeypatch):
    monkeypatch.delitem(sys.modules, "envelope_fields.root_keys.google")
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ImportError, match=r"pip install \"django-envelope-fields\[google\]\""):
        import_module("envelope_fields.root_keys.google")


def test_debug_logs_of_the_client_hold_no_key(google, root_key, caplog):
    """The client adds what it sends to the records of its log."""
    caplog.set_level("DEBUG")
    google.federated(google.credentials.parent)
    root_key.refresh()
    root_key.unwrap(root_key.wrap(material(), CONTEXT).material, CONTEXT)
    kept = [record for record in caplog.records if hasattr(record, "httpRequest")]
    assert {record.name for record in kept} >= {
        "google.auth.transport.requests",
        "google.cloud.kms_v1.services.key_management_service.transports.rest",
    }, "it does not log requests any more: the filter can go"
    shown = "".join(repr(vars(record)) for record in caplog.records)
    for secret in (*google.secrets, base64.b64encode(MATERIAL).decode(), repr(MATERIAL)[2:-1]):
        assert secret not in shown


def test_a_token_that_expires_in_the_middle(google, root_key):
    google.federated(google.credentials.parent)
    wrapped = root_key.wrap(material(), CONTEXT).material
    google.kms.tokens.clear()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    assert len(google.kms.tokens) == 1


def test_credentials_that_cannot_be_had_for_a_while(google, root_key):
    token = google.federated(google.credentials.parent)
    wrapped = root_key.wrap(material(), CONTEXT).material
    google.kms.tokens.clear()
    for text in ("a token that was revoked", None):
        token.write_text(text) if text else token.unlink()
        with pytest.raises(RootKeyUnavailable, match="no credentials could be had") as caught:
            root_key.unwrap(wrapped, CONTEXT)
        says_nothing_secret(caught.value, google)
    token.write_text(cloud.CLUSTER)
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


ON_A_MACHINE = """
import sys
from envelope_fields.root_keys.base import PROBE
from envelope_fields.root_keys.google import GoogleKmsRootKey
root_key = GoogleKmsRootKey(key_name=sys.argv[1], endpoint=sys.argv[2])
root_key.check()
root_key.refresh()
print(root_key.wrap(bytearray(32), PROBE).wrapping_key_id)
"""


def test_the_account_of_a_machine(google):
    """The client reads from the environment where its metadata server is, when it is imported."""
    address = f"127.0.0.1:{google.kms.http.port}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")},
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        "CLOUDSDK_CONFIG": str(google.credentials.parent),
    }
    made = subprocess.run(
        [sys.executable, "-c", ON_A_MACHINE, NAME, google.kms.endpoint],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.stdout.strip() == f"{NAME}/cryptoKeyVersions/1", made.stderr
    assert len(google.kms.tokens) == 2


def test_a_token_service_that_hangs(google):
    google.federated(google.credentials.parent)
    root_key = google.root_key(timeout=0.1)
    begun = time.monotonic()
    with google.kms.http.breaking(google.kms.http.hang), pytest.raises(RootKeyUnavailable):
        root_key.wrap(material(), CONTEXT)
    assert time.monotonic() - begun < 15


def test_refresh_reads_credentials_anew(google, root_key, wrapped):
    """The key of the service account was replaced, and so was its file."""
    google.kms.private_key = rsa.generate_private_key(65537, 2048)
    google.credentials.write_text(json.dumps(google._account()))
    with pytest.raises(RootKeyUnavailable, match="are not accepted"):
        root_key.unwrap(wrapped, CONTEXT)
    root_key.refresh()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_close_lets_go_of_connections(google, root_key, wrapped):
    until(lambda: google.kms.http.open)
    root_key.close()
    until(lambda: not google.kms.http.open)


def test_threads_that_close_while_others_ask(google, root_key, wrapped):
    ended = []

    def close():
        while not ended:
            root_key.close()

    closing = [Thread(target=close) for _ in range(2)]
    for thread in closing:
        thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(root_key.unwrap, wrapped, CONTEXT) for _ in range(8)]
            assert all(each.result() == MATERIAL for each in asked)
    finally:
        ended.append(True)
        for thread in closing:
            thread.join()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_call(google, root_key, wrapped):
    """Also where `after_fork` is not called: a child has a client of its own."""
    with google.kms.http.breaking(google.kms.http.hang):
        asked = len(google.kms.http.asked)
        root_key._timeout = 0.5

        def use_parent():
            with pytest.raises(RootKeyUnavailable):
                root_key.unwrap(wrapped, CONTEXT)

        waiting = Thread(target=use_parent)
        waiting.start()
        until(lambda: len(google.kms.http.asked) > asked)
        client = root_key._connected()

        def use_child():
            root_key._timeout = 60
            assert root_key._connected() is not client
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

        child = forked(use_child)
        waiting.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_fake_knows_other_tokens(google, root_key):
    assert not google.kms._is_signed("a.b.c")
    assert not google.kms._is_signed("")
    assert cloud.EMAIL in google.credentials.read_text()
