"""A thin layer before moto that answers where moto does not as AWS does.

It looks at credentials, policies, states and usages, knows DryRun, and keeps apart the materials
of a key that was rotated. What is left it gives to moto, which does not look at these.
"""

import json
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

ACCOUNT = "123456789012"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")
_MATERIAL = "strict-kms:material"  # what moto binds beside the encryption context


class Refusal(Exception):
    """An error as AWS answers it: its code and a message."""


class StrictKms(ThreadingHTTPServer):
    """Serves KMS's Encrypt, Decrypt and DescribeKey, and STS's AssumeRole, on loopback.

    Attributes:
        identities: who has which access key: ARNs by access key id. Others are not known.
        policies: what an identity may do; one without a policy may do all.
        expired: access key ids that were temporary.
        roles: ARNs of roles, and the ARN of who may assume each.
        lifetime: seconds for which temporary credentials say that they are good.
        issued: secret parts of temporary credentials.
        requests: what was asked: operation, region, access key id, and the parameters.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, moto_port, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.moto_port = moto_port
        self.identities, self.policies, self.expired, self.roles = {}, {}, set(), {}
        self.lifetime, self.issued, self.requests = 3600, [], []

    @property
    def port(self):
        return self.server_address[1]

    def start(self):
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def moto(self, region, operation, **parameters):
        """Ask moto, which looks at no signature; raise what it refuses."""
        scope = f"AWS4-HMAC-SHA256 Credential=moto/20300101/{region}/kms/aws4_request, "
        headers = {
            "Authorization": f"{scope}SignedHeaders=host, Signature=00",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"TrentService.{operation}",
        }
        status, answer = self.forward("POST", "/", json.dumps(parameters), headers)
        answer = json.loads(answer)
        if status != 200:
            raise Refusal(answer["__type"], answer.get("message") or answer.get("Message", ""))
        return answer

    def forward(self, method, path, body, headers):
        connection = HTTPConnection("127.0.0.1", self.moto_port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def authenticated(self, access_key):
        if access_key in self.expired:
            raise Refusal(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        if access_key not in self.identities:
            raise Refusal(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        return self.identities[access_key]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        access_key, region, service = _SCOPE.search(self.headers["Authorization"]).groups()
        try:
            if service == "sts":
                self._answer(200, _assume_role(self.server, access_key, body, dict(self.headers)))
                return
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            parameters = json.loads(body)
            self.server.requests.append((operation, region, access_key, parameters))
            identity = self.server.authenticated(access_key)
            answer = OPERATIONS[operation](_Call(self.server, identity, region, parameters))
            self._answer(200, json.dumps(answer).encode())
        except Refusal as refusal:
            code, message = refusal.args
            content = json.dumps({"__type": code, "message": message})
            if service == "sts":
                content = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
            self._answer(403 if service == "sts" else 400, content.encode())

    def _answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Call:
    """A request to KMS by an identity, in a region."""

    def __init__(self, server, identity, region, parameters):
        self.server, self.identity, self.region = server, identity, region
        self.parameters = parameters
        self.context = parameters.get("EncryptionContext") or {}

    def moto(self, operation, **parameters):
        return self.server.moto(self.region, operation, **parameters)

    def key(self, operation):
        """Return the metadata of the key that is named, where it may be used for an operation."""
        key_id = self.parameters["KeyId"]
        if key_id.startswith("arn:") and key_id.split(":")[3] != self.region:
            raise Refusal("NotFoundException", f"Invalid arn {key_id.split(':')[3]}")
        key = self.moto("DescribeKey", KeyId=key_id)["KeyMetadata"]
        policy = json.loads(
            self.moto("GetKeyPolicy", KeyId=key["KeyId"], PolicyName="default")["Policy"]
        )
        self._authorize(f"kms:{operation}", key, policy)
        if sum(len(name) + len(value) for name, value in self.context.items()) > 8192:
            raise Refusal("ValidationException", "EncryptionContext is too long")
        state = key["KeyState"]
        if state == "Disabled":
            raise Refusal("DisabledException", f"{key['Arn']} is disabled.")
        if state != "Enabled":
            raise Refusal("KMSInvalidStateException", f"{key['Arn']} is pending deletion.")
        usage = key["KeyUsage"] or "ENCRYPT_DECRYPT"
        if (key["KeySpec"], usage) != ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"):
            raise Refusal(
                "InvalidKeyUsageException",
                f"{key['Arn']} key usage is {usage} which is not valid for {operation}.",
            )
        return key

    def _authorize(self, action, key, key_policy):
        facts = {
            "kms:EncryptionContextKeys": list(self.context),
            **{f"kms:EncryptionContext:{name}": [value] for name, value in self.context.items()},
        }
        policies = self.server.policies
        own = policies.get(self.identity) or policies.get(_role_of(self.identity), ALL)
        by_key = effects(key_policy, self.identity, action, key["Arn"], facts)
        by_account = effects(key_policy, ROOT, action, key["Arn"], facts)
        by_itself = effects(own, None, action, key["Arn"], facts)
        allowed = "Allow" in by_key or ("Allow" in by_account and "Allow" in by_itself)
        if not allowed or "Deny" in by_key | by_itself:
            raise Refusal(
                "AccessDeniedException",
                f"User: {self.identity} is not authorized to perform: {action} on resource: "
                f"{key['Arn']} because no policy allows the {action} action",
            )

    def another(self, key_id):
        """Return what is said of bytes that another key wrapped, or none."""
        try:
            self.moto("DescribeKey", KeyId=key_id.decode("ascii", "replace"))
        except Refusal:
            return Refusal("InvalidCiphertextException", "")
        return Refusal("IncorrectKeyException", "The key ID in the request does not identify it")

    def material(self, key):
        """Return the number of the material of a key: how often it was rotated."""
        return len(self.moto("ListKeyRotations", KeyId=key["KeyId"])["Rotations"])


ALL = {"Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}


def effects(policy, principal, action, resource, facts):
    """Return the effects of the statements of a policy that apply; principal None is its owner."""
    found = set()
    for statement in policy["Statement"]:
        named = statement.get("Principal", {})
        principals = ["*"] if named == "*" else _list(named.get("AWS", []))
        if (
            (principal is None or {"*", principal, _role_of(principal)} & {*principals})
            and any(fnmatchcase(action, each) for each in _list(statement["Action"]))
            and any(fnmatchcase(resource, each) for each in _list(statement["Resource"]))
            and all(
                _holds(operator, wanted, facts.get(name, []))
                for operator, conditions in statement.get("Condition", {}).items()
                for name, wanted in conditions.items()
            )
        ):
            found.add(statement["Effect"])
    return found


def _role_of(principal):
    """Return the ARN of the role whose session a principal is: policies name either."""
    return re.sub(r":sts:(.*):assumed-role/([^/]+)/.*", r":iam:\1:role/\2", principal)


def _holds(operator, wanted, values):
    quantifier, _, kind = operator.rpartition(":")
    if kind == "Null":
        return str(not values).lower() == wanted
    matches = {
        "StringEquals": lambda value, pattern: value == pattern,
        "StringLike": fnmatchcase,
    }[kind]
    each = [any(matches(value, pattern) for pattern in _list(wanted)) for value in values]
    if quantifier == "ForAllValues":
        return all(each)
    return any(each)


def _list(value):
    return value if isinstance(value, list) else [value]


def _encrypt(call):
    key = call.key("Encrypt")
    if call.parameters.get("DryRun"):
        raise Refusal("DryRunOperationException", "The request would have succeeded")
    number = call.material(key)
    answer = call.moto(
        "Encrypt",
        KeyId=key["KeyId"],
        Plaintext=call.parameters["Plaintext"],
        EncryptionContext={**call.context, _MATERIAL: str(number)},
    )
    blob = bytes([number]) + b64decode(answer["CiphertextBlob"])
    return {**answer, "CiphertextBlob": b64encode(blob).decode()}


def _decrypt(call):
    key = call.key("Decrypt")
    if call.parameters.get("DryRun") and call.parameters.get("DryRunModifiers"):
        raise Refusal("DryRunOperationException", "The request would have succeeded")
    blob = b64decode(call.parameters["CiphertextBlob"])
    number, wrapped_by = blob[0], blob[1:37]
    if wrapped_by != key["KeyId"].encode():
        raise call.another(wrapped_by)
    answer = call.moto(
        "Decrypt",
        KeyId=key["KeyId"],
        CiphertextBlob=b64encode(blob[1:]).decode(),
        EncryptionContext={**call.context, _MATERIAL: str(number)},
    )
    if call.parameters.get("DryRun"):
        raise Refusal("DryRunOperationException", "The request would have succeeded")
    material_id = sha256(f"{key['KeyId']}:{number}".encode()).hexdigest()
    return {**answer, "KeyMaterialId": material_id}


def _describe(call):
    call.key("DescribeKey")
    return call.moto("DescribeKey", KeyId=call.parameters["KeyId"])


OPERATIONS = {"Encrypt": _encrypt, "Decrypt": _decrypt, "DescribeKey": _describe}


def _assume_role(server, access_key, body, headers):
    """Have moto give the credentials of a role to those whom it trusts, and know them."""
    identity = server.authenticated(access_key)
    asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    server.requests.append((asked["Action"], None, access_key, asked))
    role, session = asked["RoleArn"], asked["RoleSessionName"]
    if server.roles.get(role) != identity:
        raise Refusal("AccessDenied", f"{identity} is not authorized to perform: sts:AssumeRole")
    _, answer = server.forward("POST", "/", body, headers)
    issued = re.search(rb"<AccessKeyId>(\w+)</AccessKeyId>", answer)[1].decode()
    for part in (b"SecretAccessKey", b"SessionToken"):
        server.issued.append(re.search(rb"<%s>([^<]+)<" % part, answer)[1].decode())
    name = role.partition("role/")[2]
    server.identities[issued] = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"
    expiry = f"{datetime.now(UTC) + timedelta(seconds=server.lifetime):%Y-%m-%dT%H:%M:%SZ}"
    return re.sub(rb"(?<=<Expiration>)[^<]+", expiry.encode(), answer)
