"""A fake of Azure Key Vault and Managed HSM: the published REST interface, with real cryptography.

It asks for tokens by challenges, as the service does, and has a token service of Entra ID. Nothing
of it was compared with the real services.
"""

import json
import os
import socket
import ssl
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import parse_qs, urlsplit

from azure.core.credentials import AccessToken
from azure.identity import ClientSecretCredential, CredentialUnavailableError
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.azure import AzureKeyVaultRootKey
from tests.root_keys.http_server import Answer, HttpServer
from tests.root_keys.services import FAULTS, Service

OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
PSS = padding.PSS(padding.MGF1(SHA256()), salt_length=32)
ALL = frozenset({"get", "encrypt", "decrypt", "wrapKey", "unwrapKey", "sign"})
SECRET = "the secret of the application"
REFUSED_WHEN_DISABLED = {"decrypt", "unwrapKey", "sign"}  # the others are not, in the service


class Refusal(Exception):
    """An error of the service: HTTP status, code, and the code inside."""


def error(status, code, inner=None, message="no"):
    body = {"code": code, "message": message}
    if inner:
        body["innererror"] = {"code": inner}
    return Answer(status, json.dumps({"error": body}).encode())


@cache
def rsa_key(name):
    return rsa.generate_private_key(65537, 2048)


class Version:
    """A version of a key."""

    def __init__(self, kind, operations, seed):
        self.name = os.urandom(16).hex()
        self.kind, self.operations, self.enabled = kind, operations, True
        if kind == "oct-HSM":
            self.material = os.urandom(32)
        elif kind == "EC":
            self.material = ec.generate_private_key(ec.SECP256R1())
        else:
            self.material = rsa_key(seed)

    def bundle(self, kid):
        key = {"kid": kid, "kty": self.kind, "key_ops": sorted(self.operations)}
        if self.kind.startswith("RSA"):
            numbers = self.material.public_key().public_numbers()
            key |= {"n": _text(_integer(numbers.n)), "e": _text(_integer(numbers.e))}
        if self.kind == "EC":
            numbers = self.material.public_key().public_numbers()
            key |= {
                "crv": "P-256",
                "x": _text(_integer(numbers.x)),
                "y": _text(_integer(numbers.y)),
            }
        return {"key": key, "attributes": {"enabled": self.enabled, "created": 1, "updated": 1}}

    def operate(self, operation, fields):
        wrong = Refusal(400, "BadParameter")
        algorithm, value = fields.get("alg"), _bytes(fields["value"])
        try:
            do = getattr(self, f"_{operation}_{algorithm.replace('-', '_')}")
            if (self.kind == "oct-HSM") != (algorithm in {"A256GCM", "A256KW"}):
                raise wrong
            return do(value, fields)
        except (AttributeError, ValueError, InvalidTag, keywrap.InvalidUnwrap):
            raise wrong from None

    def _encrypt_A256GCM(self, value, fields):
        nonce = os.urandom(12)
        sealed = AESGCM(self.material).encrypt(nonce, value, _bytes(fields.get("aad", "")))
        return {"value": sealed[:-16], "iv": nonce, "tag": sealed[-16:]}

    def _decrypt_A256GCM(self, value, fields):
        sealed, bound = value + _bytes(fields["tag"]), _bytes(fields.get("aad", ""))
        return {"value": AESGCM(self.material).decrypt(_bytes(fields["iv"]), sealed, bound)}

    def _wrapkey_A256KW(self, value, fields):
        return {"value": keywrap.aes_key_wrap(self.material, value)}

    def _unwrapkey_A256KW(self, value, fields):
        return {"value": keywrap.aes_key_unwrap(self.material, value)}

    def _unwrapkey_RSA_OAEP_256(self, value, fields):
        return {"value": self.material.decrypt(value, OAEP)}

    def _sign_PS256(self, value, fields):
        return {"value": self.material.sign(value, PSS, Prehashed(SHA256()))}


class Vault:
    """The service, its token service, and one identity.

    Attributes:
        keys: versions by the names of keys, the newest last.
        permissions: of the identity.
        tokens: that are accepted.
        issues: the token that a credential gets; None where it gets none.
        tampering: changes an answer on its way, `tampering(operation, answer)`.
        failure: an error in the place of each answer.
    """

    def __init__(self, directory):
        self.keys, self.permissions = {}, set(ALL)
        self.tampering = self.failure = None
        self.issue("token-1-" + os.urandom(8).hex())
        self.authorities = directory / "authorities.pem"
        self.http = HttpServer(self.answer, _server_context(directory, self.authorities))

    @property
    def url(self):
        return f"https://clinic.vault.localhost:{self.http.port}"

    @property
    def authority(self):
        return f"https://login.vault.localhost:{self.http.port}"

    def issue(self, token):
        """Give out, and accept, another token."""
        self.issues, self.tokens = token, {token}

    def add(self, name, kind, operations):
        versions = self.keys.setdefault(name, [])
        versions.append(Version(kind, set(operations), f"{name}{len(versions)}"))
        return versions[-1]

    def count(self, operation):
        """Return how often an operation was asked for."""
        return sum(operation in asked.path for asked in self.http.asked)

    def answer(self, asked):
        path = urlsplit(asked.path).path.strip("/").split("/")
        if "login." in asked.headers["Host"]:
            return self._token_service(path, asked)
        if asked.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self._challenge()
        if self.failure:
            return self.failure
        try:
            answer = self._operate(asked, *path[1:])
        except Refusal as refusal:
            return error(*refusal.args)
        return Answer(200, json.dumps(answer).encode())

    def _challenge(self):
        challenge = (
            f'Bearer authorization="{self.authority}/tenant", '
            f'resource="https://vault.localhost:{self.http.port}"'
        )
        answer = error(401, "Unauthorized", message="AKV10000: Request is missing a token.")
        return answer._replace(headers=(("WWW-Authenticate", challenge),))

    def _token_service(self, path, asked):
        if path[-1] == "openid-configuration":
            names = {
                "token_endpoint": f"{self.authority}/tenant/oauth2/v2.0/token",
                "authorization_endpoint": f"{self.authority}/tenant/oauth2/v2.0/authorize",
                "issuer": f"{self.authority}/tenant/v2.0",
            }
            return Answer(200, json.dumps(names).encode())
        fields = parse_qs(asked.body.decode())
        if self.issues is None or fields.get("client_secret") != [SECRET]:
            refusal = {"error": "invalid_client", "error_description": "AADSTS7000215: no"}
            return Answer(401, json.dumps(refusal).encode())
        given = {"token_type": "Bearer", "expires_in": 3600, "access_token": self.issues}
        return Answer(200, json.dumps(given).encode())

    def _operate(self, asked, name, version="", operation="get"):
        needed = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey"}.get(operation, operation)
        if needed not in self.permissions:
            raise Refusal(403, "Forbidden", "ForbiddenByRbac")
        found = [each for each in self.keys.get(name, ()) if version in ("", each.name)]
        if not found:
            raise Refusal(404, "KeyNotFound", None, f"A key with (name/id) {name} was not found")
        key = found[-1]
        kid = f"{self.url}/keys/{name}/{key.name}"
        if operation == "get":
            answer = key.bundle(kid)
        else:
            self._check(key, needed)
            made = key.operate(operation, json.loads(asked.body))
            answer = {"kid": kid, **{part: _text(value) for part, value in made.items()}}
        if self.tampering:
            self.tampering(operation, answer)
        return answer

    def _check(self, key, operation):
        if operation not in key.operations:
            raise Refusal(403, "Forbidden", "KeyOperationForbidden")
        if not key.enabled and operation in REFUSED_WHEN_DISABLED:
            raise Refusal(403, "Forbidden", "KeyDisabled")


def _server_context(directory, authorities):
    """Return the TLS context of the server; write the certificate that its clients trust."""
    key, name = ec.generate_private_key(ec.SECP256R1()), "vault.localhost"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{name}")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    authorities.write_bytes(pem)
    both = directory / "server.pem"
    both.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


def _integer(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _text(value):
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class GivenToken:
    """A credential that returns what it is told to, and keeps nothing."""

    def __init__(self, given):
        self._given = given

    def get_token(self, *scopes, **options):
        token = self._given()
        if token is None:
            raise CredentialUnavailableError(message="no managed identity was found")
        return AccessToken(token, int(time.time()) + 3600)


_current = []
_TOKEN = "ENVELOPE_TEST_AZURE_TOKEN"


def credential():
    """What `credential` names in these tests, and in programs that they start."""
    if _current:
        vault = _current[-1]
        return GivenToken(lambda: vault.issues)
    return GivenToken(lambda: os.environ[_TOKEN])


def secret_credential():
    """Return the credential of an application, of azure-identity."""
    return ClientSecretCredential(
        "tenant",
        "application",
        SECRET,
        authority=_current[-1].authority,
        disable_instance_discovery=True,
        retry_total=0,
    )


class AzureVault(Service):
    """A vault for the contract.

    Args:
        kind: of the key, and `operations`, which it permits.
    """

    def __init__(self, directory, environment, kind, operations):
        self.vault = Vault(directory)
        self.key = self.vault.add("root", kind, operations)
        self._kind, self._operations, self._made = kind, operations, []
        environment.setenv("REQUESTS_CA_BUNDLE", str(self.vault.authorities))
        self.environment = {_TOKEN: self.vault.issues}
        _current.append(self.vault)

    @property
    def secrets(self):
        return (*self.vault.tokens, SECRET)

    def entry(self):
        options = {
            "key_id": f"{self.vault.url}/keys/root",
            "credential": f"{__name__}.credential",
        }
        return {
            "BACKEND": "envelope_fields.root_keys.azure.AzureKeyVaultRootKey",
            "OPTIONS": options,
        }

    def root_key(self, name="root", **options):
        options = {"credential": f"{__name__}.credential", **options}
        made = AzureKeyVaultRootKey(key_id=f"{self.vault.url}/keys/{name}", **options)
        self._made.append(made)
        return made

    def another_key(self):
        self.vault.add("another", self._kind, self._operations)
        return self.root_key("another")

    def unknown_key(self):
        return self.root_key("unknown")

    @contextmanager
    def fault(self, name):
        with ExitStack() as undone:
            if FAULTS[name] is RootKeyUnavailable:
                for made in self._made:  # otherwise they wait long, for machines that are busy
                    undone.callback(made.close)
                    undone.callback(setattr, made, "_timeout", made._timeout)
                    made._timeout = 0.05
                    made.close()
            undone.enter_context(getattr(self, f"_{name}")())
            yield

    def restart(self):
        with self.vault.http.stopped():
            pass

    def close(self):
        self.vault.http.stop()
        _current.remove(self.vault)

    @contextmanager
    def _key_disabled(self):
        self.key.enabled = False
        try:
            yield
        finally:
            self.key.enabled = True

    @contextmanager
    def _right_revoked(self):
        self.vault.permissions.clear()
        try:
            yield
        finally:
            self.vault.permissions.update(ALL)

    @contextmanager
    def failing(self, answer):
        self.vault.failure = answer
        try:
            yield
        finally:
            self.vault.failure = None

    def _throttled(self):
        answer = error(429, "Throttled")
        return self.failing(answer._replace(headers=(("Retry-After", "3600"),)))

    def _timeout(self):
        return self.vault.http.breaking(self.vault.http.hang)

    def _connection_reset(self):
        return self.vault.http.breaking(self.vault.http.reset)

    def _unreachable(self):
        return self.vault.http.stopped()

    @contextmanager
    def _credentials_expired(self):
        """The vault accepts no token that a credential gets."""
        accepted, self.vault.tokens = self.vault.tokens, set()
        try:
            yield
        finally:
            self.vault.tokens = accepted

    @contextmanager
    def _credentials_missing(self):
        issued, self.vault.issues = self.vault.issues, None
        try:
            with self._credentials_expired():
                yield
        finally:
            self.vault.issues = issued


def _on_loopback(ask):
    def getaddrinfo(host, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        local = isinstance(name, str) and name.endswith(".vault.localhost")
        return ask("127.0.0.1" if local else host, *arguments, **options)

    return getaddrinfo


# Names of vaults have to be below the name that their challenge gives, so 127.0.0.1 has none.
socket.getaddrinfo = _on_loopback(socket.getaddrinfo)
