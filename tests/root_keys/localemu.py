"""A root key in AWS KMS, against LocalEmu; test_aws_localemu.py runs these tests."""

import os
import subprocess
from contextlib import contextmanager

import boto3
import pytest

from envelope_fields.exceptions import RootKeyRefused
from envelope_fields.root_keys.aws import AwsKmsRootKey
from tests.root_keys.aws_service import OTHER_REGION, REGION, answers, id_of, stop
from tests.root_keys.contract import CONTEXT, MATERIAL, RootKeyContract, material
from tests.root_keys.services import FAULTS, Service
from tests.waiting import until

URL = "http://127.0.0.1:4566"  # a port that is free, since nothing else is in this network


class LocalEmu(Service):
    without = {
        fault: "LocalEmu does not fail so; microburst, before moto, does"
        for fault in FAULTS
        if fault != "key_disabled"
    }

    def __init__(self, home):
        self._patch = pytest.MonkeyPatch()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self._patch.setenv(name, "localemu")
        self._process = subprocess.Popen(
            [os.environ["ENVELOPE_TEST_LOCALEMU"], "start", "--port", "4566"],
            cwd=home,
            env={**os.environ, "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: answers(f"{URL}/_localemu/health"))
            self.admin = boto3.client("kms", region_name=REGION, endpoint_url=URL)
            self.key_arn = self.new_key()
        except BaseException:
            self.close()
            raise

    def new_key(self, **options):
        return self.admin.create_key(**options)["KeyMetadata"]["Arn"]

    def options(self, **options):
        return {"key_id": self.key_arn, "endpoint_url": URL, **options}

    def root_key(self, **options):
        return AwsKmsRootKey(**self.options(**options))

    def entry(self):
        return {
            "BACKEND": "envelope_fields.root_keys.aws.AwsKmsRootKey",
            "OPTIONS": self.options(),
        }

    def another_key(self):
        return self.root_key(key_id=self.new_key())

    def unknown_key(self):
        unknown = "00000000-0000-0000-0000-000000000000"
        return self.root_key(key_id=self.key_arn.replace(id_of(self.key_arn), unknown))

    @contextmanager
    def fault(self, name):
        assert name == "key_disabled"
        self.admin.disable_key(KeyId=self.key_arn)
        try:
            yield
        finally:
            self.admin.enable_key(KeyId=self.key_arn)

    def close(self):
        stop(self._process)
        self._patch.undo()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = LocalEmu(tmp_path_factory.mktemp("localemu"))
    yield service
    service.close()


class TestContract(RootKeyContract):
    pass


class TestAnswers:
    def test_of_a_replica(self, service):
        key_arn = service.new_key(MultiRegion=True)
        service.admin.replicate_key(KeyId=key_arn, ReplicaRegion=OTHER_REGION)
        wrapped = service.root_key(key_id=key_arn).wrap(material(), CONTEXT).material
        replica = service.root_key(key_id=key_arn.replace(REGION, OTHER_REGION))
        assert replica.unwrap(wrapped, CONTEXT) == MATERIAL

    def test_of_another_key(self, service):
        wrapped = service.root_key().wrap(material(), CONTEXT).material
        with pytest.raises(RootKeyRefused, match="another key wrapped this"):
            service.another_key().unwrap(wrapped, CONTEXT)

    def test_of_an_alias(self, service):
        name = f"alias/clinic-{id_of(service.key_arn)}"
        service.admin.create_alias(AliasName=name, TargetKeyId=service.key_arn)
        root_key = service.root_key(key_id=name, region=REGION)
        wrapped = root_key.wrap(material(), CONTEXT)
        assert wrapped.wrapping_key_id == service.key_arn
        assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL

    def test_of_a_key_that_is_being_deleted(self, service):
        key_arn = service.new_key()
        root_key = service.root_key(key_id=key_arn)
        wrapped = root_key.wrap(material(), CONTEXT).material
        service.admin.schedule_key_deletion(KeyId=key_arn, PendingWindowInDays=7)
        for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check):
            with pytest.raises(RootKeyRefused, match="Cancel its deletion"):
                use()

    @pytest.mark.parametrize(
        ("spec", "usage"),
        [("HMAC_256", "GENERATE_VERIFY_MAC"), ("ECC_NIST_P256", "SIGN_VERIFY")],
    )
    def test_of_keys_of_another_kind(self, service, spec, usage):
        root_key = service.root_key(key_id=service.new_key(KeySpec=spec, KeyUsage=usage))
        with pytest.raises(RootKeyRefused, match="symmetric key"):
            root_key.check()
