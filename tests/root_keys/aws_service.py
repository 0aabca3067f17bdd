"""AWS KMS for the tests: microburst, which makes faults, before the strict layer and moto."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache

import boto3
import pytest
import requests
from botocore.loaders import create_loader

from envelope_fields.root_keys.aws import AwsKmsRootKey
from tests.root_keys.services import Service, reserved_port
from tests.root_keys.strict_kms import ACCOUNT, StrictKms
from tests.waiting import until

REGION = "eu-central-1"
OTHER_REGION = "eu-west-1"
ACCESS_KEY = "AKIAENVELOPEFIELDS01"
SECRET = "a-secret-access-key-of-the-tests"
IDENTITY = f"arn:aws:iam::{ACCOUNT}:user/clinic"
TIMEOUT = 1.0  # seconds; of two attempts, and four calls that wait for it

_MICROBURST = {
    "throttled": {"error": {"code": "ThrottlingException"}},
    "timeout": {"timeout_ms": 60_000},
    "connection_reset": {"reset": True},
}


class AwsService(Service):
    """Started with a key, `key_arn`; `strict` is the layer, `admin` a client that nothing stops."""

    secrets = (SECRET,)

    def __init__(self):
        self._patch = pytest.MonkeyPatch()
        self._set_environment()
        self._moto, moto_port = started("-m", "tests.root_keys.moto_server")
        until(lambda: answers(f"http://127.0.0.1:{moto_port}/moto-api/data.json"))
        self.strict = StrictKms(moto_port).start()
        self.strict.identities[ACCESS_KEY] = IDENTITY
        self._microburst, self._port = self._started_microburst()
        self.url = f"http://127.0.0.1:{self._port}"
        self.environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        self._patch.setenv("AWS_ENDPOINT_URL_STS", self.url)
        self.admin = self._admin(moto_port, REGION)
        self.admin_elsewhere = self._admin(moto_port, OTHER_REGION)
        self.key_arn = self.new_key()

    def _set_environment(self):
        # Or each of hundreds of sessions reads what botocore knows of AWS, and that takes longest.
        self._patch.setattr("botocore.session.create_loader", cache(create_loader))
        for name in os.environ:
            if name.startswith("AWS_"):
                self._patch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            self._patch.setenv(name, value)

    def _admin(self, port, region):
        return boto3.session.Session().client(
            "kms", region_name=region, endpoint_url=f"http://127.0.0.1:{port}"
        )

    def _started_microburst(self, port=None):
        program = ("-m", "tests.root_keys.microburst_server", str(self.strict.port))
        process, port = started(*program, port=port)
        until(lambda: answers(f"http://127.0.0.1:{port}/_microburst/health"))
        return process, port

    def new_key(self, **options):
        return self.admin.create_key(**options)["KeyMetadata"]["Arn"]

    def options(self, **options):
        return {"key_id": self.key_arn, "endpoint_url": self.url, "timeout": TIMEOUT, **options}

    def root_key(self, **options):
        return AwsKmsRootKey(**self.options(**options))

    def patient_root_key(self):
        return self.root_key(timeout=10)

    def entry(self):
        return {
            "BACKEND": "envelope_fields.root_keys.aws.AwsKmsRootKey",
            "OPTIONS": self.options(timeout=5),
        }

    def another_key(self):
        return self.root_key(key_id=self.new_key())

    def unknown_key(self):
        key_id = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"
        return self.root_key(key_id=key_id)

    @contextmanager
    def rules(self, *rules):
        """Have microburst do something inside."""
        url = f"{self.url}/_microburst/rules"
        requests.post(url, json=list(rules), timeout=10).raise_for_status()
        try:
            yield
        finally:
            requests.post(url, json=[], timeout=10).raise_for_status()

    @contextmanager
    def fault(self, name):
        if name in _MICROBURST:
            with self.rules({"service": "kms", **_MICROBURST[name]}):
                yield
        else:
            with getattr(self, f"_{name}")():
                yield

    @contextmanager
    def _key_disabled(self):
        self.admin.disable_key(KeyId=id_of(self.key_arn))
        try:
            yield
        finally:
            self.admin.enable_key(KeyId=id_of(self.key_arn))

    @contextmanager
    def _right_revoked(self):
        with self.policy({"Effect": "Deny", "Action": "kms:*", "Resource": "*"}):
            yield

    @contextmanager
    def policy(self, *statements):
        """Have the identity of the tests under a policy of these statements."""
        self.strict.policies[IDENTITY] = {"Statement": list(statements)}
        try:
            yield
        finally:
            del self.strict.policies[IDENTITY]

    @contextmanager
    def _unreachable(self):
        stop(self._microburst)
        try:
            yield
        finally:
            self._microburst, _ = self._started_microburst(self._port)

    @contextmanager
    def _credentials_expired(self):
        self.strict.expired.add(ACCESS_KEY)
        try:
            yield
        finally:
            self.strict.expired.clear()

    @contextmanager
    def _credentials_missing(self):
        """An access key that was deleted, and none in its place."""
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("AWS_ACCESS_KEY_ID")
            patch.delitem(self.strict.identities, ACCESS_KEY)
            yield

    def restart(self):
        stop(self._microburst)
        self._microburst, _ = self._started_microburst(self._port)

    def close(self):
        stop(self._microburst)
        self.strict.shutdown()
        self.strict.server_close()
        stop(self._moto)
        self._patch.undo()


def id_of(arn):
    """Return the id of a key; most of moto's operations take no ARN."""
    return arn.rpartition("/")[2]


def started(*program, port=None):
    """Start a Python program that takes a port of loopback as its last argument; return both."""
    port = port or reserved_port()
    command = [sys.executable, *program, str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, **quiet), port


def answers(url):
    try:
        return requests.get(url, timeout=10).ok
    except requests.ConnectionError:
        return False


def stop(process):
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
