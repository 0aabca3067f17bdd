"""The root key in Azure Key Vault and Managed HSM, against a fake of them."""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from threading import Thread
from uuid import UUID

import pytest

pytest.importorskip(
    "azure.keyvault.keys", reason="the client of Azure Key Vault is in .venv-root-keys"
)

from azure.identity import DefaultAzureCredential
from azure.keyvault.keys import KeyVaultKey
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from envelope_fields.crypto.context import KeyVersionContext, encode
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.root_keys.azure import AzureKeyVaultRootKey
from tests import vectors
from tests.root_keys import azure_vault
from tests.root_keys.azure_vault import ALL, OAEP, PSS, AzureVault, error, rsa_key
from tests.root_keys.contract import (
    CONTEXT,
    MATERIAL,
    OTHERS,
    RootKeyContract,
    forked,
    material,
    says_nothing_secret,
)
from tests.root_keys.http_server import Answer, HttpServer
from tests.waiting import until

GCM = ("oct-HSM", ("encrypt", "decrypt", "wrapKey", "unwrapKey"))
KEY_WRAP = ("oct-HSM", ("wrapKey", "unwrapKey"))
RSA = ("RSA", ("sign", "unwrapKey"))
KINDS = {"encrypt": GCM, "wrapKey": KEY_WRAP, "RSA": RSA}
JOINED = MATERIAL + sha256(CONTEXT.encode()).digest()
HTML = Answer(200, b"<html>Sign in: your token is eyJ.secret</html>", "text/html")


def serving(directory, kind):
    with pytest.MonkeyPatch.context() as environment:
        service = AzureVault(directory, environment, *kind)
        yield service
        service.close()


class TestRsa(RootKeyContract):
    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, tmp_path_factory):
        yield from serving(tmp_path_factory.mktemp("azure"), RSA)


class TestManagedHsm(RootKeyContract):
    @pytest.fixture(scope="class", params=["encrypt", "wrapKey"])
    @classmethod
    def service(cls, request, tmp_path_factory):
        yield from serving(tmp_path_factory.mktemp("azure"), KINDS[request.param])

    test_workers_of_gunicorn = None  # the sessions are those of TestRsa


@pytest.fixture(params=KINDS)
def azure(request, tmp_path):
    """A service of a test's own, which it may leave in any state, with a key of each kind."""
    yield from serving(tmp_path, KINDS[request.param])


@pytest.fixture
def rsa_vault(tmp_path):
    yield from serving(tmp_path, RSA)


@pytest.fixture
def hsm(tmp_path):
    yield from serving(tmp_path, GCM)


def sealed_by_hand(version, signed=None):
    """Return what the specification says, made without the package."""
    head = bytes([len(version.name)]) + version.name.encode()
    if version.kind == "RSA":
        ciphertext = version.material.public_key().encrypt(JOINED, OAEP)
        message = encode(
            [b"azure-key-vault-rsa", version.name.encode(), ciphertext, CONTEXT.encode()]
        )
        signature = version.material.sign(message if signed is None else signed, PSS, SHA256())
        return b"\xa3" + head + ciphertext + signature
    if "encrypt" not in version.operations:
        return b"\xa2" + head + keywrap.aes_key_wrap(version.material, JOINED)
    nonce = os.urandom(12)
    return (
        b"\xa1" + head + nonce + AESGCM(version.material).encrypt(nonce, JOINED, CONTEXT.encode())
    )


def opened_by_hand(version, wrapped):
    length = wrapped[1]
    assert wrapped[2 : 2 + length] == version.name.encode()
    body = wrapped[2 + length :]
    if wrapped[0] == 0xA1:
        return AESGCM(version.material).decrypt(body[:12], body[12:], CONTEXT.encode())
    if wrapped[0] == 0xA2:
        return keywrap.aes_key_unwrap(version.material, body)
    ciphertext, signature = body[:256], body[256:]
    message = encode([b"azure-key-vault-rsa", version.name.encode(), ciphertext, CONTEXT.encode()])
    version.material.public_key().verify(signature, message, PSS, SHA256())
    return version.material.decrypt(ciphertext, OAEP)


def test_the_bytes_are_those_of_the_specification(azure):
    root_key = azure.root_key()
    wrapped, wrapping_key_id = root_key.wrap(material(), CONTEXT)
    assert wrapping_key_id == f"{azure.vault.url}/keys/root/{azure.key.name}"
    assert opened_by_hand(azure.key, wrapped) == JOINED
    assert root_key.unwrap(sealed_by_hand(azure.key), CONTEXT) == MATERIAL


VECTORS = json.loads((Path(vectors.__file__).parent / "azure-root-wrap-v1.json").read_text())
ROW = KeyVersionContext(
    UUID(VECTORS["row"]["key_id"]),
    bytes.fromhex(VECTORS["row"]["version_id"]),
    VECTORS["row"]["number"],
    VECTORS["row"]["usage"],
)


def with_key_of_vectors(service):
    """Give a service the key of its kind that the vectors have."""
    given = VECTORS["keys"][service.key.kind]
    service.key.name = VECTORS["version"]
    if service.key.kind == "RSA":
        p, q = (int(prime, 16) for prime in given)
        service.key.material = rsa.RSAPrivateNumbers(
            p=p, q=q, d=(d := pow(65537, -1, (p - 1) * (q - 1))), dmp1=d % (p - 1),
            dmq1=d % (q - 1), iqmp=pow(q, -1, p),
            public_numbers=rsa.RSAPublicNumbers(65537, p * q),
        ).private_key()  # fmt: skip
    else:
        service.key.material = bytes.fromhex(given)
    return service.root_key()


def of_kind(rows, service):
    is_rsa = service.key.kind == "RSA"
    return [row for row in rows if row["wrapped"].startswith("a3") == is_rsa]


def test_vectors_that_open(azure):
    root_key = with_key_of_vectors(azure)
    azure.key.operations |= {"encrypt", "decrypt"}
    assert ROW.encode().hex() == VECTORS["context"]
    for row in of_kind(VECTORS["valid"], azure):
        opened = root_key.unwrap(bytes.fromhex(row["wrapped"]), ROW)
        assert opened.hex() == VECTORS["material"], row["name"]


def test_vectors_that_are_refused(azure):
    root_key = with_key_of_vectors(azure)
    for row in of_kind(VECTORS["invalid"], azure):
        asked = azure.vault.count("decrypt") + azure.vault.count("unwrapkey")
        with pytest.raises(RootKeyRefused):
            root_key.unwrap(bytes.fromhex(row["wrapped"]), ROW)
        asks = azure.vault.count("decrypt") + azure.vault.count("unwrapkey") > asked
        assert asks == row["asks"], row["name"]


def test_rotation_of_the_key(azure):
    root_key = azure.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    second = azure.vault.add("root", azure.key.kind, azure.key.operations)
    newer, wrapping_key_id = root_key.wrap(material(), CONTEXT)
    assert wrapping_key_id.endswith(f"/{second.name}")
    assert root_key.current_wrapping_key_id() == wrapping_key_id
    assert opened_by_hand(second, newer) == JOINED
    assert root_key.unwrap(wrapped, CONTEXT) == root_key.unwrap(newer, CONTEXT) == MATERIAL


def test_a_version_in_the_settings(azure):
    azure.vault.add("root", azure.key.kind, azure.key.operations)
    pinned = azure.root_key(f"root/{azure.key.name}")
    wrapped, wrapping_key_id = pinned.wrap(material(), CONTEXT)
    assert wrapping_key_id.endswith(f"/{azure.key.name}")
    newer = azure.root_key().wrap(material(), CONTEXT).material
    assert pinned.unwrap(wrapped, CONTEXT) == pinned.unwrap(newer, CONTEXT) == MATERIAL
    assert pinned.current_wrapping_key_id() == wrapping_key_id
    pinned.check()


def test_one_request_opens(azure):
    """But for the public key, which is asked for once a version."""
    root_key = azure.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    root_key.unwrap(wrapped, CONTEXT)
    asked = len(azure.vault.http.asked)
    root_key.unwrap(wrapped, CONTEXT)
    assert len(azure.vault.http.asked) == asked + 1


PLANTED = {
    "no signature": lambda wrapped, key: wrapped[: -256 or None],
    "zeros": lambda wrapped, key: wrapped[:-256] + bytes(256),
    "the ciphertext twice": lambda wrapped, key: wrapped[:-256] + wrapped[-512:-256],
    "of another key": lambda wrapped, key: wrapped[:-256] + rsa_key("mallory").sign(
        encode([b"azure-key-vault-rsa", key.name.encode(), wrapped[-512:-256], CONTEXT.encode()]),
        PSS, SHA256(),
    ),
    "of the ciphertext alone": lambda wrapped, key: sealed_by_hand(key, wrapped[-512:-256]),
    "of another application": lambda wrapped, key: sealed_by_hand(key, b"eyJhbGciOiJQUzI1NiJ9.e30"),
    "of another wrap": lambda wrapped, key: sealed_by_hand(key)[:-256] + wrapped[-256:],
    "of a digest of it": lambda wrapped, key: wrapped[:-256] + key.material.sign(
        sha256(wrapped[-512:-256]).digest(), PSS, Prehashed(SHA256()),
    ),
    "PKCS 1 v1.5": lambda wrapped, key: wrapped[:-256] + key.material.sign(
        encode([b"azure-key-vault-rsa", key.name.encode(), wrapped[-512:-256], CONTEXT.encode()]),
        padding.PKCS1v15(), SHA256(),
    ),
    "more than a signature": lambda wrapped, key: wrapped + b"\x00",
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_what_the_vault_did_not_sign_is_not_opened(rsa_vault, planted):
    """With the public key anyone can encrypt; the vault is not even asked to decrypt that."""
    root_key, key = rsa_vault.root_key(), rsa_vault.key
    row = PLANTED[planted](sealed_by_hand(key), key)
    with pytest.raises(WrappedKeyAltered, match="did not sign") as caught:
        root_key.unwrap(row, CONTEXT)
    says_nothing_secret(caught.value, rsa_vault)
    assert rsa_vault.vault.count("unwrapkey") == 0


def test_what_was_signed_for_another_context_is_not_opened(rsa_vault):
    root_key = rsa_vault.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    for context in OTHERS.values():
        with pytest.raises(WrappedKeyAltered, match="did not sign"):
            root_key.unwrap(wrapped, context)
    assert rsa_vault.vault.count("unwrapkey") == 0


def test_what_was_signed_by_another_version_is_not_opened(rsa_vault):
    wrapped = rsa_vault.root_key().wrap(material(), CONTEXT).material
    second = rsa_vault.vault.add("root", *RSA)
    moved = wrapped.replace(rsa_vault.key.name.encode(), second.name.encode())
    with pytest.raises(WrappedKeyAltered, match="did not sign"):
        rsa_vault.root_key().unwrap(moved, CONTEXT)


@pytest.mark.parametrize("first", [0xA1, 0xA2, 0xA3])
def test_a_row_cannot_choose_a_form(azure, first):
    """It is that of the key, and of what the key permits."""
    wrapped = bytearray(azure.root_key().wrap(material(), CONTEXT).material)
    is_own, wrapped[0] = wrapped[0] == first, first
    if is_own:
        assert azure.root_key().unwrap(bytes(wrapped), CONTEXT) == MATERIAL
        return
    with pytest.raises(RootKeyRefused) as caught:
        azure.root_key().unwrap(bytes(wrapped), CONTEXT)
    # Where the key is of a type for it, the vault says that it does not permit the operation.
    is_of_the_type = azure.key.kind == "oct-HSM" and first in (0xA1, 0xA2)
    assert is_of_the_type or isinstance(caught.value, WrappedKeyAltered)


@pytest.mark.parametrize(
    "row",
    [b"", b"\xa1", b"\xa1\x00", b"\xa1\x00more", b"\xa1\x20", b"\xa1\xff" + bytes(90), b"\x00" * 99,
     b"\xa1\x09../../abcmore", b"\xa1\x04a/bcmore", b"\xa1\x03a?bmore", b"\xa1\x02\xc3\xa9more",
     b"\xa1\x05abcde", b"\xa1\x01a" + bytes(91), b"\xa1\x01a" + bytes(93), b"\xa2\x01a" + bytes(92),
     b"\xa1\x60" + b"a" * 96 + b"more"],
)  # fmt: skip
def test_rows_that_are_not_asked_about(hsm, row):
    with pytest.raises(WrappedKeyAltered):
        hsm.root_key().unwrap(row, CONTEXT)
    assert not hsm.vault.http.asked


def test_a_version_that_is_not_there_is_not_the_key(azure):
    root_key = azure.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    altered = wrapped.replace(azure.key.name.encode(), b"0" * 32)
    with pytest.raises(WrappedKeyAltered):
        root_key.unwrap(altered, CONTEXT)
    azure.vault.keys.clear()
    root_key.refresh()
    with pytest.raises(RootKeyRefused, match="there is no such key") as caught:
        root_key.unwrap(wrapped, CONTEXT)
    assert not isinstance(caught.value, WrappedKeyAltered)


@pytest.mark.parametrize(
    ("kind", "operations", "message"),
    [
        ("EC", ("sign", "verify"), "of type EC; name an oct-HSM key"),
        ("RSA", ("unwrapKey", "wrapKey"), r"does not permit the operations sign\+unwrapKey"),
        ("RSA-HSM", ("sign",), r"does not permit the operations sign\+unwrapKey"),
        ("oct-HSM", ("encrypt", "wrapKey"), r"decrypt\+encrypt or unwrapKey\+wrapKey"),
        ("oct-HSM", (), "add them to its key_ops"),
    ],
)
def test_keys_that_are_good_for_nothing(hsm, kind, operations, message):
    hsm.vault.add("other", kind, operations)
    root_key = hsm.root_key("other")
    for use in (root_key.check, lambda: root_key.wrap(material(), CONTEXT)):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_disabled_version_wraps_nothing(azure):
    """The vault refuses to decrypt and to sign with it; it would encrypt."""
    root_key = azure.root_key()
    azure.key.enabled = False
    with pytest.raises(RootKeyRefused, match="enable it"):
        root_key.wrap(material(), CONTEXT)
    assert azure.vault.count("/encrypt") == azure.vault.count("/wrapkey") == 0


OPENS = {"encrypt": "decrypt", "wrapKey": "unwrapKey", "RSA": "unwrapKey"}
SEALS = {"encrypt": "encrypt", "wrapKey": "wrapKey", "RSA": "sign"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_may_only_wrap(tmp_path, kind):
    for azure in serving(tmp_path, KINDS[kind]):
        root_key = azure.root_key()
        azure.vault.permissions = ALL - {OPENS[kind]}
        wrapped = root_key.wrap(material(), CONTEXT).material
        for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check):  # noqa: B023
            with pytest.raises(MayNotUnwrap, match=f"keys/{OPENS[kind].removesuffix('Key')}/"):
                use()


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_may_only_unwrap(tmp_path, kind):
    for azure in serving(tmp_path, KINDS[kind]):
        root_key = azure.root_key()
        wrapped = root_key.wrap(material(), CONTEXT).material
        azure.vault.permissions = ALL - {SEALS[kind]}
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        with pytest.raises(RootKeyRefused, match=f"keys/{SEALS[kind].removesuffix('Key')}/") as no:
            root_key.check()
        assert not isinstance(no.value, MayNotUnwrap)


def test_a_process_that_may_not_read_the_key(azure):
    azure.vault.permissions.discard("get")
    with pytest.raises(RootKeyRefused, match="data action keys/read"):
        azure.root_key().check()


ERRORS = {
    "a right": (error(403, "Forbidden", "ForbiddenByRbac"), RootKeyRefused),
    "an access policy": (error(403, "Forbidden", "ForbiddenByPolicy"), RootKeyRefused),
    "a policy": (error(403, "Forbidden", "AccessDenied"), RootKeyRefused),
    "no inner code": (error(403, "Forbidden"), RootKeyRefused),
    "dates": (error(403, "Forbidden", "KeyExpired"), RootKeyRefused),
    "disabled": (error(403, "Forbidden", "KeyDisabled"), RootKeyRefused),
    "an operation": (error(403, "Forbidden", "KeyOperationForbidden"), RootKeyRefused),
    "deleted": (error(404, "KeyNotFound"), RootKeyRefused),
    "a firewall": (error(403, "Forbidden", "ForbiddenByFirewall"), RootKeyUnavailable),
    "a private link": (error(403, "Forbidden", "ForbiddenByConnection"), RootKeyUnavailable),
    "throttled": (error(429, "Throttled"), RootKeyUnavailable),
    "internal": (error(500, "InternalServerError"), RootKeyUnavailable),
    "unavailable": (error(503, "ServiceUnavailable"), RootKeyUnavailable),
    "a balancer": (HTML._replace(status=502), RootKeyUnavailable),
}


@pytest.mark.parametrize("answer", ERRORS)
def test_each_code(hsm, answer, caplog):
    wrapped = sealed_by_hand(hsm.key)
    answer, expected = ERRORS[answer]
    root_key = hsm.root_key(timeout=5 if expected is RootKeyRefused else 0.05)
    with hsm.failing(answer._replace(body=answer.body.replace(b'"no"', b'"with a secret"'))):
        for use in (
            lambda: root_key.wrap(material(), CONTEXT),
            lambda: root_key.unwrap(wrapped, CONTEXT),
            root_key.check,
        ):
            with pytest.raises(expected) as caught:
                use()
            assert type(caught.value) is expected
            assert "with a secret" not in str(caught.value)
    assert "envelope_fields" not in {each.name.partition(".")[0] for each in caplog.records}


def test_a_request_that_is_not_understood(hsm):
    """Wrapped bytes are not; and keys of 128 bits have no A256GCM."""
    root_key, wrapped = hsm.root_key(), sealed_by_hand(hsm.key)
    hsm.key._encrypt_A256GCM = hsm.key._decrypt_A256GCM = None
    hsm.key.operate = refuse
    with pytest.raises(WrappedKeyAltered):
        root_key.unwrap(wrapped, CONTEXT)
    with pytest.raises(RootKeyRefused, match="a key of 256 bits"):
        root_key.wrap(material(), CONTEXT)


def refuse(operation, fields):
    raise azure_vault.Refusal(400, "BadParameter")


NOT_LISTED = {
    "another code": error(409, "Conflict"),
    "a code that is no text": Answer(400, b'{"error": {"code": 5}}'),
    "an error of text": Answer(400, b'{"error": "invalid_request"}'),
    "a proxy's 403": HTML._replace(status=403),
    "a proxy's 404": HTML._replace(status=404),
    "another 404": error(404, "ResourceNotFound"),
    "a page": HTML,
    "nothing": Answer(200, b""),
    "an empty object": Answer(200, b"{}"),
    "a list": Answer(200, b"[]"),
    "other types": Answer(200, b'{"value": 5, "key": 7}'),
    "accepted": Answer(202, b"{}"),
    "no content": Answer(204, b""),
}


@pytest.mark.parametrize("answer", NOT_LISTED)
def test_what_is_in_no_list_may_be_tried_again(hsm, answer, caplog):
    root_key, wrapped = hsm.root_key(), sealed_by_hand(hsm.key)
    with hsm.vault.http.breaking(hsm.vault.http.other(NOT_LISTED[answer])):
        for use in (
            lambda: root_key.wrap(material(), CONTEXT),
            lambda: root_key.unwrap(wrapped, CONTEXT),
            root_key.check,
        ):
            with pytest.raises(RootKeyUnavailable) as caught:
                use()
            assert "eyJ" not in str(caught.value)
            says_nothing_secret(caught.value, hsm)
    ours = [each for each in caplog.records if each.name == "envelope_fields.root_keys"]
    assert len(ours) == 3
    assert all("in no list" in each.getMessage() for each in ours)


def replacing(operation, **parts):
    def tampering(asked, answer):
        if asked == operation:
            answer.update(parts)

    return tampering


UNSOUND = {
    "another key": ("encrypt", {"kid": "https://clinic.vault.localhost/keys/other/1"}),
    "another version": ("encrypt", {"kid": "https://clinic.vault.localhost/keys/root/0"}),
    "a short nonce": ("encrypt", {"iv": "AAAA"}),
    "a short tag": ("encrypt", {"tag": "AAAA"}),
    "no ciphertext": ("encrypt", {"value": ""}),
    "opened by another key": ("decrypt", {"kid": "https://clinic.vault.localhost/keys/other/1"}),
    "no material": ("decrypt", {"value": None}),
    "a key of another name": (
        "get",
        {"key": {"kid": "https://a.b/keys/other/1", "kty": "oct-HSM"}},
    ),
}


@pytest.mark.parametrize("answer", UNSOUND)
def test_an_answer_that_is_not_what_was_asked_for(hsm, answer):
    operation, parts = UNSOUND[answer]
    hsm.vault.tampering = replacing(operation, **parts)
    with pytest.raises(RootKeyUnavailable):
        if operation == "decrypt":
            hsm.root_key().unwrap(sealed_by_hand(hsm.key), CONTEXT)
        else:
            hsm.root_key().wrap(material(), CONTEXT)


@pytest.mark.parametrize("value", ["", "AAAA", "A" * 86, "A" * 87, "A" * 200])
def test_material_that_is_another(azure, value):
    """Also of the right length: the digest of the context is beside it."""
    root_key = azure.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    for operation in ("decrypt", "unwrapkey"):
        azure.vault.tampering = replacing(operation, value=value)
        if azure.vault.count(operation) or operation == "unwrapkey":
            break
    azure.vault.tampering = lambda asked, answer: (
        answer.update(value=value) if asked in ("decrypt", "unwrapkey") else None
    )
    with pytest.raises(WrappedKeyAltered, match="bound to another"):
        root_key.unwrap(wrapped, CONTEXT)


def test_a_certificate_that_is_not_trusted(hsm, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    root_key = hsm.root_key(timeout=0.05)
    with pytest.raises(RootKeyUnavailable, match="could not be reached"):
        root_key.check()
    assert not hsm.vault.http.asked


def test_half_an_answer(hsm):
    root_key = hsm.root_key(timeout=0.05)
    with hsm.vault.http.breaking(hsm.vault.http.half), pytest.raises(RootKeyUnavailable):
        root_key.unwrap(sealed_by_hand(hsm.key), CONTEXT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(hsm, status):
    """It would take the material along."""
    elsewhere = HttpServer(lambda asked: Answer(200, b"{}"))
    to = ("Location", f"http://127.0.0.1:{elsewhere.port}/")
    root_key = hsm.root_key()
    root_key.check()
    key = root_key._connected().key()
    root_key._client[1].key = lambda version: key
    with (
        hsm.vault.http.breaking(hsm.vault.http.other(Answer(status, b"", headers=(to,)))),
        pytest.raises(RootKeyUnavailable, match=f"encrypt, HTTP {status}"),
    ):
        root_key.wrap(material(), CONTEXT)
    assert not elsewhere.asked
    elsewhere.stop()


@pytest.mark.parametrize("how", ["hang", "throttle"])
def test_a_vault_that_does_not_answer_is_not_waited_for(hsm, how):
    root_key = hsm.root_key(timeout=0.05)
    begun = time.monotonic()
    broken = hsm._timeout() if how == "hang" else hsm._throttled()
    with broken, pytest.raises(RootKeyUnavailable):
        root_key.wrap(material(), CONTEXT)
    assert time.monotonic() - begun < 15, "and not for the hour that the header says"


def test_a_time_out_is_tried_again(hsm):
    """Operations are POST, which the client's own policy does not repeat."""
    answered = []

    def once(handler, answer):
        if not answered:
            answered.append(handler.path)
            return hsm.vault.http.reset(handler, answer)
        return handler.answer(answer)

    root_key = hsm.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    with hsm.vault.http.breaking(once):
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    assert "/decrypt" in answered[0]


ID = "https://clinic.vault.azure.net/keys/root"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"key_id": None},
        {"key_id": "root"},
        {"key_id": "http://clinic.vault.azure.net/keys/root"},
        {"key_id": "https://clinic.vault.azure.net/secrets/root"},
        {"key_id": "https://clinic.vault.azure.net/keys/"},
        {"key_id": "https://clinic.vault.azure.net"},
        {"key_id": f"{ID}/a/b"},
        {"key_id": f"{ID}/../other"},
        {"key_id": f"{ID}?api-version=7.0"},
        {"key_id": f"{ID}\n"},
        {"key_id": "https://user@clinic.vault.azure.net/keys/root"},
        {"key_id": ID, "credential": "DefaultAzureCredential"},
        {"key_id": ID, "credential": ""},
        {"key_id": ID, "credential": 5},
        {"key_id": ID, "timeout": 0},
        {"key_id": ID, "timeout": "5"},
        {"key_id": ID, "client_secret": "x"},
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises((TypeError, ValueError)):
        AzureKeyVaultRootKey(**options)


@pytest.mark.parametrize("key_id", [ID, f"{ID}/", f"{ID}/{'0' * 32}", f"{ID}/{'0' * 32}/"])
def test_identifiers(key_id):
    assert repr(AzureKeyVaultRootKey(key_id=key_id)) == f"<AzureKeyVaultRootKey {ID}>"


def test_without_its_client(monkeypatch):
    ours = "envelope_fields.root_keys.azure"
    for name in [name for name in sys.modules if name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "azure.keyvault.keys", None)
    with pytest.raises(ImportError, match=r"pip install \"django-envelope-fields\[azure\]\""):
        import_module(ours)


def test_the_client_would_wrap_by_itself():
    """Why operations do not go through it: it draws the bits of a key that it cannot have."""
    kid = f"{ID}/{'0' * 32}"
    key = KeyVaultKey(kid, {"kid": kid, "kty": "oct-HSM", "key_ops": ["wrapKey"]})
    wrapped = CryptographyClient(key, object()).wrap_key(KeyWrapAlgorithm.aes_256, bytes(32))
    assert len(wrapped.encrypted_key) == 40, "nothing was asked"


def test_a_credential_of_azure_identity(hsm, caplog):
    caplog.set_level("DEBUG")
    root_key = hsm.root_key(credential="tests.root_keys.azure_vault.secret_credential")
    assert root_key.unwrap(sealed_by_hand(hsm.key), CONTEXT) == MATERIAL
    shown = "".join(repr(vars(record)) for record in caplog.records)
    for secret in (*hsm.secrets, azure_vault._text(JOINED)[:40], azure_vault._text(MATERIAL)[:40]):
        assert secret not in shown


def test_a_credential_that_is_not_accepted(hsm, monkeypatch):
    root_key = hsm.root_key(credential="tests.root_keys.azure_vault.secret_credential", timeout=0.5)
    monkeypatch.setattr(azure_vault, "SECRET", "another secret")
    hsm.vault.issues = None
    with pytest.raises(RootKeyUnavailable, match="no credentials") as caught:
        root_key.wrap(material(), CONTEXT)
    says_nothing_secret(caught.value, hsm)


def test_the_default_credential(hsm, monkeypatch):
    """None can be had here; what is asked for them has the time-out."""
    made = []

    def default(**options):
        made.append(options)
        return DefaultAzureCredential(**options)

    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setattr("envelope_fields.root_keys.azure.DefaultAzureCredential", default)
    root_key = hsm.root_key(credential=None, timeout=3)
    with pytest.raises(RootKeyUnavailable, match="no credentials"):
        root_key.check()
    assert made == [{"retry_total": 1, "connection_timeout": 3, "read_timeout": 3}]


def broken_credential():
    raise ValueError("the password is hunter2")


@pytest.mark.parametrize("path", ["no.such.module", "tests.root_keys.test_azure.nothing", "os."])
def test_a_credential_that_is_not_there(hsm, path):
    with pytest.raises(ValueError, match="cannot be imported"):
        hsm.root_key(credential=path).check()


def test_a_credential_that_fails_to_be_made(hsm):
    with pytest.raises(RootKeyUnavailable) as caught:
        hsm.root_key(credential=f"{__name__}.broken_credential").check()
    assert "hunter2" not in str(caught.value)


def test_a_token_that_expires_in_the_middle(hsm):
    root_key = hsm.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    hsm.vault.issue("another-token")
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_refresh_makes_a_credential_anew(hsm, monkeypatch):
    root_key = hsm.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    monkeypatch.setattr(azure_vault, "credential", lambda: azure_vault.GivenToken(lambda: "old"))
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    root_key.refresh()
    with pytest.raises(RootKeyUnavailable, match="are not accepted"):
        root_key.unwrap(wrapped, CONTEXT)
    monkeypatch.undo()
    root_key.refresh()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_a_challenge_for_another_domain(hsm, monkeypatch):
    """A proxy would have us ask for a token that is good elsewhere."""
    challenge = 'Bearer authorization="https://login.example.com/t", resource="https://example.com"'
    answer = error(401, "Unauthorized")._replace(headers=(("WWW-Authenticate", challenge),))
    root_key = hsm.root_key()
    with (
        hsm.vault.http.breaking(hsm.vault.http.other(answer)),
        pytest.raises(RootKeyUnavailable),
    ):
        root_key.check()


def test_close_lets_go_of_connections(hsm):
    root_key = hsm.root_key()
    root_key.check()
    until(lambda: hsm.vault.http.open)
    root_key.close()
    until(lambda: not hsm.vault.http.open)


def test_threads_that_close_while_others_ask(azure):
    root_key = azure.root_key()
    wrapped = root_key.wrap(material(), CONTEXT).material
    ended = []

    def close():
        while not ended:
            root_key.close()
            time.sleep(0)

    closing = [Thread(target=close) for _ in range(2)]
    for thread in closing:
        thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(root_key.unwrap, wrapped, CONTEXT) for _ in range(12)]
            assert all(each.result() == MATERIAL for each in asked)
    finally:
        ended.append(True)
        for thread in closing:
            thread.join()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_call(hsm):
    """Also where `after_fork` is not called: a child has a session of its own."""
    wrapped = hsm.root_key().wrap(material(), CONTEXT).material
    root_key = hsm.root_key(timeout=0.5)
    session = root_key._connected()
    with hsm.vault.http.breaking(hsm.vault.http.hang):
        asked = len(hsm.vault.http.asked)

        def use_parent():
            with pytest.raises(RootKeyUnavailable):
                root_key.unwrap(wrapped, CONTEXT)

        waiting = Thread(target=use_parent)
        waiting.start()
        until(lambda: len(hsm.vault.http.asked) > asked)

        def use_child():
            root_key._timeout = 60
            assert root_key._connected() is not session
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

        child = forked(use_child)
        waiting.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
