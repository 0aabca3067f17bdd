"""A fake of Google Cloud KMS: its published REST interface (v1), with real cryptography.

Tokens are checked as Google does: a JWT that a service account signed, or one that a token service
gave. Nothing of it was compared with the real service.
"""

import base64
import json
import os
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from urllib.parse import parse_qs, urlsplit

import google_crc32c
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.google import GoogleKmsRootKey
from tests.root_keys.http_server import Answer, HttpServer
from tests.root_keys.services import FAULTS, Service

RING = "projects/clinic/locations/europe-west3/keyRings/django"
EMAIL = "web@clinic.iam.gserviceaccount.com"
CLUSTER = "the token of the cluster"
USE = "cloudkms.cryptoKeyVersions."
ENCRYPT, DECRYPT, GET = f"{USE}useToEncrypt", f"{USE}useToDecrypt", "cloudkms.cryptoKeys.get"
CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


@cache
def private_key():
    return rsa.generate_private_key(65537, 2048)


class Refusal(Exception):
    """An error of the service: its google.rpc.Code and its message."""


def error(status, message="no"):
    body = {"error": {"code": CODES[status], "message": message, "status": status}}
    return Answer(CODES[status], json.dumps(body).encode())


class Key:
    """A CryptoKey and its versions, which are enabled, disabled or destroyed."""

    def __init__(self, name, purpose="ENCRYPT_DECRYPT"):
        self.name, self.purpose = name, purpose
        self.materials, self.states = {}, {}
        self.rotate()

    def rotate(self):
        self.primary = len(self.materials) + 1
        self.materials[self.primary] = AESGCM.generate_key(256)
        self.states[self.primary] = "ENABLED"

    def encrypt(self, plaintext, bound):
        nonce = os.urandom(12)
        sealed = self._cipher(self.primary).encrypt(nonce, plaintext, bound)
        return b"\x0a" + self.primary.to_bytes(4, "big") + nonce + sealed

    def decrypt(self, ciphertext, bound):
        number = int.from_bytes(ciphertext[1:5], "big")
        wrong = Refusal(
            "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct key."
        )
        if ciphertext[:1] != b"\x0a" or number not in self.materials or len(ciphertext) < 33:
            raise wrong
        try:
            return self._cipher(number).decrypt(ciphertext[5:17], ciphertext[17:], bound)
        except InvalidTag:
            raise wrong from None

    def version(self, number):
        return f"{self.name}/cryptoKeyVersions/{number}"

    def _cipher(self, number):
        if self.purpose != "ENCRYPT_DECRYPT":
            raise Refusal("INVALID_ARGUMENT", "the purpose of the key does not allow this")
        if self.states[number] != "ENABLED":
            raise Refusal(
                "FAILED_PRECONDITION",
                f"{self.version(number)} is not enabled, current state is: {self.states[number]}.",
            )
        return AESGCM(self.materials[number])


class CloudKms:
    """The service, its token service, and one service account.

    Attributes:
        keys: by their names.
        permissions: of the account.
        tokens: which the token service gave, and until when each is good.
        tampering: changes an answer on its way, `tampering(operation, answer)`.
        damaging: changes what was asked on its way, `damaging(operation, fields)`.
        failure: an error in the place of each answer.
    """

    def __init__(self):
        self.keys = {}
        self.permissions = {ENCRYPT, DECRYPT, GET}
        self.tokens, self.lifetime, self.refused_tokens = {}, 3600, False
        self.tampering = self.failure = self.damaging = None
        self.private_key = private_key()
        self.http = HttpServer(self.answer)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.http.port}"

    def add(self, name, **options):
        key = self.keys[f"{RING}/cryptoKeys/{name}"] = Key(f"{RING}/cryptoKeys/{name}", **options)
        return key

    def answer(self, asked):
        try:
            if asked.path == "/sts/v1/token":
                return self._token(parse_qs(asked.body.decode()))
            if asked.path.startswith("/computeMetadata/") or asked.path == "/":
                return self._metadata(urlsplit(asked.path).path)
            if self.failure:
                return self.failure
            self._authenticate(asked.headers.get("Authorization", ""))
            answer = self._operate(asked)
        except Refusal as refusal:
            return error(*refusal.args)
        return Answer(200, json.dumps(answer).encode())

    def _token(self, fields):
        if fields.get("subject_token") != [CLUSTER]:
            return Answer(400, b'{"error": "invalid_grant", "error_description": "no"}')
        token = base64.urlsafe_b64encode(os.urandom(24)).decode()
        self.tokens[token] = time.time() + self.lifetime
        answer = {
            "access_token": token,
            "expires_in": self.lifetime,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        return Answer(200, json.dumps(answer).encode())

    def _metadata(self, path):
        """Answer as the metadata server of a machine at Google, with a token of its account."""
        if path.endswith("/token"):
            answer = self._token({"subject_token": [CLUSTER]})
        elif path.endswith("/service-accounts/default/"):
            account = {"email": EMAIL, "scopes": ["https://www.googleapis.com/auth/cloudkms"]}
            answer = Answer(200, json.dumps(account).encode())
        else:
            answer = Answer(200 if path == "/" else 404, b"", "text/html")
        return answer._replace(headers=(("Metadata-Flavor", "Google"),))

    def _authenticate(self, header):
        kind, _, token = header.partition(" ")
        is_given = self.tokens.get(token, 0) > time.time()
        if self.refused_tokens or kind != "Bearer" or not (is_given or self._is_signed(token)):
            raise Refusal("UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def _is_signed(self, token):
        try:
            head, claims, signature = token.split(".")
            self.private_key.public_key().verify(
                _unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256()
            )
        except (ValueError, InvalidSignature):
            return False
        claims = json.loads(_unpadded(claims))
        is_for_us = claims.get("aud") == "https://cloudkms.googleapis.com/" or (
            "auth/cloudkms" in claims.get("scope", "")
        )
        return is_for_us and claims["iss"] == EMAIL and claims["exp"] > time.time()

    def _operate(self, asked):
        path = urlsplit(asked.path).path.removeprefix("/v1/")
        name, _, operation = path.partition(":")
        needed = {"encrypt": ENCRYPT, "decrypt": DECRYPT, "": GET}[operation]
        if needed not in self.permissions:
            raise Refusal(
                "PERMISSION_DENIED",
                f"Permission '{needed}' denied on resource '{name}' (or it may not exist).",
            )
        if name not in self.keys:
            raise Refusal("NOT_FOUND", f"CryptoKey {name} not found.")
        fields = json.loads(asked.body or b"{}")
        if self.damaging:
            self.damaging(operation, fields)
        answer = getattr(self, f"_{operation or 'get'}")(self.keys[name], fields)
        if self.tampering:
            self.tampering(operation, answer)
        return answer

    def _get(self, key, fields):
        return {"name": key.name, "purpose": key.purpose}

    def _encrypt(self, key, fields):
        plaintext, bound = _checked(fields, "plaintext"), _bound(fields)
        ciphertext = key.encrypt(plaintext, bound)
        return {
            "name": key.version(key.primary),
            "ciphertext": base64.b64encode(ciphertext).decode(),
            "ciphertextCrc32c": str(google_crc32c.value(ciphertext)),
            "verifiedPlaintextCrc32c": "plaintextCrc32c" in fields,
            "verifiedAdditionalAuthenticatedDataCrc32c": (
                "additionalAuthenticatedDataCrc32c" in fields
            ),
            "protectionLevel": "SOFTWARE",
        }

    def _decrypt(self, key, fields):
        plaintext = key.decrypt(_checked(fields, "ciphertext"), _bound(fields))
        return {
            "plaintext": base64.b64encode(plaintext).decode(),
            "plaintextCrc32c": str(google_crc32c.value(plaintext)),
            "usedPrimary": True,
        }


def _bound(fields):
    return _checked(fields, "additionalAuthenticatedData")


def _checked(fields, name):
    data = base64.b64decode(fields.get(name, ""))
    if f"{name}Crc32c" in fields and int(fields[f"{name}Crc32c"]) != google_crc32c.value(data):
        raise Refusal(
            "INVALID_ARGUMENT",
            f"The checksum in field {name}_crc32c did not match the data in field {name}.",
        )
    return data


def _unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class GoogleCloud(Service):
    """Cloud KMS for the contract, its credentials in a file that the environment names."""

    def __init__(self, directory, environment):
        self.kms = CloudKms()
        self.key = self.kms.add("root")
        self._environment, self._made = environment, []
        self.credentials = directory / "service-account.json"
        self.credentials.write_text(json.dumps(self._account()))
        environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(self.credentials))

    @property
    def secrets(self):
        line = self._account()["private_key"].splitlines()[3]
        return (line, *self.kms.tokens, CLUSTER)

    def entry(self):
        options = {"key_name": self.key.name, "endpoint": self.kms.endpoint}
        return {"BACKEND": f"{GoogleKmsRootKey.__module__}.GoogleKmsRootKey", "OPTIONS": options}

    def root_key(self, name="root", **options):
        options = {"endpoint": self.kms.endpoint, **options}
        made = GoogleKmsRootKey(key_name=f"{RING}/cryptoKeys/{name}", **options)
        self._made.append(made)
        return made

    def another_key(self):
        self.kms.add("another")
        return self.root_key("another")

    def unknown_key(self):
        return self.root_key("unknown")

    @contextmanager
    def fault(self, name):
        with ExitStack() as undone:
            if FAULTS[name] is RootKeyUnavailable:
                for made in self._made:  # otherwise they wait long, for machines that are busy
                    undone.callback(setattr, made, "_timeout", made._timeout)
                    made._timeout = 0.05
            undone.enter_context(getattr(self, f"_{name}")())
            yield

    def restart(self):
        with self.kms.http.stopped():
            pass

    def close(self):
        self.kms.http.stop()

    @contextmanager
    def _key_disabled(self):
        self.key.states[self.key.primary] = "DISABLED"
        try:
            yield
        finally:
            self.key.states[self.key.primary] = "ENABLED"

    @contextmanager
    def _right_revoked(self):
        self.kms.permissions.clear()
        try:
            yield
        finally:
            self.kms.permissions.update({ENCRYPT, DECRYPT, GET})

    @contextmanager
    def failing(self, answer):
        self.kms.failure = answer
        try:
            yield
        finally:
            self.kms.failure = None

    def _throttled(self):
        return self.failing(error("RESOURCE_EXHAUSTED", "Quota exceeded"))

    def _timeout(self):
        return self.kms.http.breaking(self.kms.http.hang)

    def _connection_reset(self):
        return self.kms.http.breaking(self.kms.http.reset)

    def _unreachable(self):
        return self.kms.http.stopped()

    @contextmanager
    def _credentials_expired(self):
        self.kms.refused_tokens = True
        try:
            yield
        finally:
            self.kms.refused_tokens = False

    @contextmanager
    def _credentials_missing(self):
        """The file is not there, and what was read of it before is not accepted any more."""
        name = "GOOGLE_APPLICATION_CREDENTIALS"
        self._environment.setenv(name, str(self.credentials.with_name("none")))
        try:
            with self._credentials_expired():
                yield
        finally:
            self._environment.setenv(name, str(self.credentials))

    def federated(self, directory):
        """Have the credentials be a token of a cluster, exchanged at the token service."""
        token = directory / "token"
        token.write_text(CLUSTER)
        configuration = {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.kms.endpoint}/sts/v1/token",
            "credential_source": {"file": str(token)},
        }
        self.credentials = directory / "federated.json"
        self.credentials.write_text(json.dumps(configuration))
        self._environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(self.credentials))
        # Otherwise the client asks another service of Google for it.
        self._environment.setenv("GOOGLE_CLOUD_PROJECT", "clinic")
        return token

    def _account(self):
        pem = self.kms.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": "clinic",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "client_id": "1",
            "token_uri": f"{self.kms.endpoint}/sts/v1/token",
        }
