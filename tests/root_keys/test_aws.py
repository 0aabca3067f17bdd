"""A root key in AWS KMS: what it asks, and what it makes of the answers."""

import json
import os
import subprocess
import sys
import threading
import time
from base64 import b64encode
from contextlib import contextmanager

import pytest

pytest.importorskip("boto3", reason="boto3 is in the environment of `make root-keys`")
pytest.importorskip("moto", reason="moto is in the environment of `make root-keys`")

import boto3
from botocore.credentials import RefreshableCredentials

from envelope_fields import keyring
from envelope_fields.conf.backends import load
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.keyring import wrapping
from envelope_fields.lifecycle import rewrap_master_keys
from envelope_fields.models import MasterKeyVersion
from envelope_fields.root_keys import MayNotUnwrap, RootKey, aws
from envelope_fields.root_keys.aws import AwsKmsRootKey
from envelope_fields.root_keys.aws.errors import CredentialsUnavailable, MayNotWrap
from tests.docs.pages import ROOT, Page
from tests.models import Note
from tests.root_keys.aws_service import (
    ACCESS_KEY,
    IDENTITY,
    OTHER_REGION,
    REGION,
    SECRET,
    AwsService,
    id_of,
)
from tests.root_keys.contract import (
    CONTEXT,
    MATERIAL,
    SHOWN,
    RootKeyContract,
    forked,
    material,
    says_nothing_secret,
)
from tests.root_keys.garbage import garbage_server, http
from tests.root_keys.outages import Outages
from tests.root_keys.strict_kms import ACCOUNT
from tests.waiting import until

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY}"
MULTI_REGION = "mrk-1234abcd12ab34cd56ef1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/clinic"


@pytest.fixture(scope="module")
def service():
    service = AwsService()
    yield service
    service.close()


@pytest.fixture
def made(service):
    """Make root keys, which are closed at the end."""
    keys = []

    def make(**options):
        keys.append(service.root_key(**options))
        return keys[-1]

    yield make
    for key in keys:
        key.close()


@pytest.fixture
def asked(service):
    """What is asked during the test, as the strict layer sees it."""
    service.strict.requests.clear()
    return service.strict.requests


def operations(asked):
    return [operation for operation, *_ in asked]


def wrap(root_key):
    return root_key.wrap(material(), CONTEXT)


class TestContract(RootKeyContract):
    pass


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"key_id": KEY}, {"key_id": ARN}, {"key_id": "alias/clinic"}, {"key_id": MULTI_REGION},
            {"key_id": f"arn:aws-cn:kms:cn-north-1:{ACCOUNT}:alias/a/b_c-1"},
            {"key_id": ARN, "region": REGION},
            {"key_id": MULTI_REGION, "region": REGION, "fallback_regions": [OTHER_REGION]},
            {"key_id": KEY, "endpoint_url": "http://localhost:4566", "timeout": 1},
            {"key_id": KEY, "role_arn": ROLE, "session": "mysite.aws.session"},
            {"key_id": KEY, "use_fips_endpoint": True},
        ],
    )  # fmt: skip
    def test_good_ones(self, options):
        assert options["key_id"] in repr(AwsKmsRootKey(**options))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key_id": 5}, "key_id is text"),
            ({"key_id": "clinic"}, "neither the id nor the ARN"),
            ({"key_id": f"key/{KEY}"}, "neither the id nor the ARN"),
            ({"key_id": ARN.replace("key/", "")}, "neither the id nor the ARN"),
            ({"key_id": ARN + "\n"}, "neither the id nor the ARN"),
            ({"key_id": ARN.replace(":kms:", ":s3:")}, "neither the id nor the ARN"),
            ({"key_id": "alias/aws/s3"}, "a key that AWS manages"),
            ({"key_id": ARN, "region": OTHER_REGION}, f"is in {REGION}"),
            ({"key_id": KEY, "region": "Frankfurt"}, "not the name of a region"),
            ({"key_id": KEY, "region": 1}, "region is text"),
            ({"key_id": ARN, "fallback_regions": [OTHER_REGION]}, "multi-Region key alone"),
            ({"key_id": "alias/a", "fallback_regions": [OTHER_REGION]}, "multi-Region key alone"),
            ({"key_id": MULTI_REGION, "fallback_regions": OTHER_REGION}, "list of names"),
            ({"key_id": MULTI_REGION, "fallback_regions": [1]}, "list of names"),
            ({"key_id": MULTI_REGION, "fallback_regions": None}, "list of names"),
            (
                {"key_id": MULTI_REGION, "region": REGION, "fallback_regions": [REGION]},
                "a region twice",
            ),
            (
                {"key_id": MULTI_REGION, "fallback_regions": [REGION],
                 "endpoint_url": "https://vpce.example"},
                "write {region}",
            ),
            ({"key_id": KEY, "endpoint_url": 5}, "endpoint_url is text"),
            ({"key_id": KEY, "endpoint_url": "kms.example"}, "begins with https"),
            ({"key_id": KEY, "endpoint_url": "http://kms.example"}, "unencrypted"),
            ({"key_id": KEY, "endpoint_url": "http://127.0.0.1.example"}, "unencrypted"),
            (
                {"key_id": KEY, "endpoint_url": "https://kms.example", "use_fips_endpoint": True},
                "leave out use_fips_endpoint",
            ),
            ({"key_id": KEY, "role_arn": "clinic"}, "not the ARN of a role"),
            ({"key_id": KEY, "session": "session"}, "not the dotted path"),
            ({"key_id": KEY, "session": boto3.session.Session}, "session is text"),
            ({"key_id": KEY, "timeout": 0}, "number of seconds"),
            ({"key_id": KEY, "timeout": True}, "number of seconds"),
            ({"key_id": KEY, "timeout": "5"}, "number of seconds"),
            ({}, "key_id"),
            ({"key_id": KEY, "aws_secret_access_key": SECRET}, "no option"),
        ],
    )  # fmt: skip
    def test_bad_ones(self, options, message):
        """As the settings load them: a wrong kind is a wrong value to the project."""
        with pytest.raises(ValueError, match=message) as caught:
            load("envelope_fields.root_keys.aws.AwsKmsRootKey", options, RootKey)
        assert SECRET not in str(caught.value)

    def test_without_boto3(self):
        """One line that names the extra."""
        code = (
            "import sys; sys.modules['boto3'] = None\n"
            "from envelope_fields.conf.backends import load\n"
            "from envelope_fields.root_keys import RootKey\n"
            "try: load('envelope_fields.root_keys.aws.AwsKmsRootKey', {}, RootKey)\n"
            "except ValueError as error: print(error)\n"
        )
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        [line] = shown.stdout.decode().splitlines()
        assert 'pip install "django-envelope-fields[aws]"' in line

    def test_the_fips_endpoint(self, made):
        root_key = made(use_fips_endpoint=True, endpoint_url=None)
        url = root_key._clients.of(REGION).meta.endpoint_url
        assert url == f"https://kms-fips.{REGION}.amazonaws.com"

    def test_an_endpoint_of_the_environment_is_encrypted_too(self, made, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
        root_key = made(endpoint_url=None)
        for use in (lambda: wrap(root_key), root_key.check):
            with pytest.raises(ValueError, match="takes master keys unencrypted"):
                use()

    def test_a_fips_endpoint_beside_one_of_the_environment(self, made, service, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", service.url)
        with pytest.raises(ValueError, match="leave out one"):
            made(endpoint_url=None, use_fips_endpoint=True).check()


class TestRequests:
    def test_a_wrap_and_an_unwrap_are_one_each(self, made, service, asked):
        root_key = made()
        wrapped = wrap(root_key)
        assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL
        assert operations(asked) == ["Encrypt", "Decrypt"]
        for _, region, access_key, parameters in asked:
            assert (region, access_key) == (REGION, ACCESS_KEY)
            assert parameters["KeyId"] == service.key_arn
            assert parameters["EncryptionContext"] == CONTEXT.pairs()
        assert set(asked[0][3]) == {"KeyId", "Plaintext", "EncryptionContext"}
        assert set(asked[1][3]) == {"KeyId", "CiphertextBlob", "EncryptionContext"}

    def test_by_id_in_a_region(self, made, service, asked, monkeypatch):
        wrapped = wrap(made(key_id=id_of(service.key_arn), region=REGION))
        assert wrapped.wrapping_key_id == service.key_arn
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        of_the_session = made(key_id=id_of(service.key_arn))
        assert of_the_session.unwrap(wrapped.material, CONTEXT) == MATERIAL
        assert {region for _, region, *_ in asked} == {REGION}

    def test_no_region(self, made, service):
        root_key = made(key_id=id_of(service.key_arn))
        for use in (lambda: wrap(root_key), root_key.check):
            with pytest.raises(ValueError, match="specify a region"):
                use()

    def test_the_answer_says_which_material(self, made, service, settings):
        """Kept with each wrap, so that what was wrapped before a rotation can be told apart."""
        key_arn = service.new_key()
        root_key = made(key_id=key_arn)
        before = wrap(root_key)
        assert before.wrapping_key_id == key_arn
        first = root_key.unwrap_identified(before.material, CONTEXT).wrapping_key_id
        assert first.startswith(f"{key_arn}#")
        assert len(first) == len(key_arn) + 65
        service.admin.rotate_key_on_demand(KeyId=id_of(key_arn))
        assert root_key.unwrap_identified(before.material, CONTEXT).wrapping_key_id == first
        entry = service.entry()
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {"kms": {**entry, "OPTIONS": {**entry["OPTIONS"], "key_id": key_arn}}}
        }
        after = wrapping.wrap("kms", material(), CONTEXT)
        assert after.is_opened
        assert after.wrapping_key_id.startswith(f"{key_arn}#")
        assert after.wrapping_key_id != first

    def test_once_lost_is_asked_again(self, made, service, asked):
        root_key = made()
        wrapped = wrap(root_key)
        for rule in ({"reset": True}, {"error": {"code": "KMSInternalException", "status": 500}}):
            with service.rules({"service": "kms", "times": 1, **rule}):
                assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL

    def test_no_answer_takes_no_longer_than_three_attempts(self, made, service):
        wrapped = wrap(made())
        root_key = made(timeout=0.5)
        with service.rules({"service": "kms", "timeout_ms": 60_000}):
            began = time.monotonic()
            with pytest.raises(RootKeyUnavailable, match="ReadTimeoutError"):
                root_key.unwrap(wrapped.material, CONTEXT)
        assert time.monotonic() - began < 30, "and not for the minute that the answer takes"


class TestAliases:
    @pytest.fixture
    def alias(self, service):
        key_arn = service.new_key()
        name = f"alias/clinic-{id_of(key_arn)}"
        service.admin.create_alias(AliasName=name, TargetKeyId=id_of(key_arn))
        return name, key_arn

    def test_is_resolved_once(self, made, service, alias, asked):
        name, key_arn = alias
        root_key = made(key_id=name, region=REGION)
        wrapped = wrap(root_key)
        assert wrapped.wrapping_key_id == key_arn
        service.admin.update_alias(AliasName=name, TargetKeyId=id_of(service.new_key()))
        assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL
        root_key.refresh()
        assert root_key.unwrap(wrap(root_key).material, CONTEXT) == MATERIAL
        named = [parameters["KeyId"] for *_, parameters in asked]
        assert named == [name, key_arn, key_arn, key_arn]

    def test_is_resolved_by_an_unwrap_as_well(self, made, service, alias, asked):
        name, key_arn = alias
        wrapped = wrap(made(key_id=key_arn))
        root_key = made(key_id=f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}")
        for _ in range(2):
            assert root_key.unwrap(wrapped.material, CONTEXT) == MATERIAL
        assert asked[-1][3]["KeyId"] == key_arn

    def test_that_names_another_key_by_now(self, made, service, alias):
        """Where the process begins after that, the message says what to do."""
        name, key_arn = alias
        wrapped = wrap(made(key_id=name, region=REGION))
        service.admin.update_alias(AliasName=name, TargetKeyId=id_of(service.new_key()))
        with pytest.raises(RootKeyRefused, match="another key wrapped this") as caught:
            made(key_id=name, region=REGION).unwrap(wrapped.material, CONTEXT)
        assert not isinstance(caught.value, WrappedKeyAltered)
        assert made(key_id=key_arn).unwrap(wrapped.material, CONTEXT) == MATERIAL


@pytest.fixture(scope="module")
def used(service):
    """A root key, and what it wrapped; one for all tests of errors."""
    root_key = service.root_key()
    yield root_key, wrap(root_key).material
    root_key.close()


class TestErrors:
    """Sorted by code, as microburst sends them: in the form that AWS has them."""

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("KeyUnavailableException", RootKeyUnavailable),
            ("DependencyTimeoutException", RootKeyUnavailable),
            ("KMSInternalException", RootKeyUnavailable),
            ("ThrottlingException", RootKeyUnavailable),
            ("LimitExceededException", RootKeyUnavailable),
            ("ExpiredTokenException", CredentialsUnavailable),
            ("UnrecognizedClientException", CredentialsUnavailable),
            ("InvalidClientTokenId", CredentialsUnavailable),
            ("SignatureDoesNotMatch", CredentialsUnavailable),
            ("InvalidSignatureException", CredentialsUnavailable),
            ("RequestExpired", CredentialsUnavailable),
            ("DisabledException", RootKeyRefused),
            ("KMSInvalidStateException", RootKeyRefused),
            ("NotFoundException", RootKeyRefused),
            ("InvalidKeyUsageException", RootKeyRefused),
            ("InvalidGrantTokenException", RootKeyRefused),
            ("IncorrectKeyException", RootKeyRefused),
            ("AccessDeniedException", MayNotUnwrap),
            ("InvalidCiphertextException", WrappedKeyAltered),
            ("OptInRequired", RootKeyUnavailable),
            ("ValidationException", RootKeyUnavailable),
            ("BrandNewException", RootKeyUnavailable),
        ],
    )
    def test_codes(self, used, service, caplog, code, expected):
        root_key, wrapped = used
        rule = {"service": "kms", "error": {"code": code, "message": "why not"}}
        with service.rules(rule), pytest.raises(expected) as caught:
            root_key.unwrap(wrapped, CONTEXT)
        assert type(caught.value) is expected
        assert service.key_arn in str(caught.value)
        assert REGION in str(caught.value)
        is_listed = code not in ("OptInRequired", "ValidationException", "BrandNewException")
        logged = [each for each in caplog.records if each.name == "envelope_fields.root_keys"]
        assert bool(logged) is not is_listed
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    def test_5xx_without_a_code(self, made, service):
        root_key = made()
        rule = {"service": "kms", "error": {"code": "503", "status": 503}}
        with service.rules(rule), pytest.raises(RootKeyUnavailable):
            wrap(root_key)

    def test_a_denial_of_encrypt(self, made, service):
        with service.policy(allow("kms:Decrypt")), pytest.raises(MayNotWrap, match="kms:Encrypt"):
            wrap(made())


def allow(*actions, **condition):
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {**statement, "Condition": condition} if condition else statement


class TestCheck:
    def test_is_two_dry_runs(self, made, service, asked):
        made().check()
        assert operations(asked) == ["Encrypt", "Decrypt"]
        assert all(parameters["DryRun"] for *_, parameters in asked)
        assert asked[1][3]["DryRunModifiers"] == ["IGNORE_CIPHERTEXT"]

    def test_satisfies_conditions_on_the_context(self, made, service):
        condition = {
            "StringEquals": {"kms:EncryptionContext:usage": "encrypt_decrypt"},
            "ForAllValues:StringEquals": {
                "kms:EncryptionContextKeys": ["master_key", "version_id", "number", "usage"]
            },
        }
        with service.policy(allow("kms:Encrypt", "kms:Decrypt", **condition)):
            made().check()

    @pytest.mark.parametrize(
        ("allowed", "expected", "message"),
        [
            (["kms:Encrypt"], MayNotUnwrap, "kms:Decrypt is not allowed"),
            (["kms:Decrypt"], MayNotWrap, "kms:Encrypt is not allowed"),
            ([], RootKeyRefused, "kms:Encrypt is not allowed.*Nor is kms:Decrypt"),
        ],
    )
    def test_says_which_right_is_missing(self, made, service, allowed, expected, message):
        with service.policy(allow(*allowed)), pytest.raises(expected, match=message) as caught:
            made().check()
        assert type(caught.value) is expected
        assert IDENTITY in str(caught.value), "whom AWS refuses"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, "symmetric key"),
            ({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}, "symmetric key"),
            ({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}, "symmetric key"),
        ],
    )
    def test_finds_keys_of_another_kind(self, made, service, options, message):
        root_key = made(key_id=service.new_key(**options))
        with pytest.raises(RootKeyRefused, match=message):
            root_key.check()

    def test_finds_a_key_that_is_disabled(self, made, service):
        key_arn = service.new_key()
        service.admin.disable_key(KeyId=id_of(key_arn))
        with pytest.raises(RootKeyRefused, match=r"disabled\. Enable it"):
            made(key_id=key_arn).check()

    def test_finds_a_key_that_is_being_deleted(self, made, service):
        key_arn = service.new_key()
        service.admin.schedule_key_deletion(KeyId=id_of(key_arn), PendingWindowInDays=7)
        with pytest.raises(RootKeyRefused, match="Cancel its deletion"):
            made(key_id=key_arn).check()

    @pytest.mark.parametrize(
        "options",
        [
            {"key_id": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY}"},
            {"key_id": KEY, "region": REGION},
            {"key_id": "alias/of-none", "region": REGION},
        ],
    )
    def test_finds_a_wrong_key(self, made, options):
        with pytest.raises(RootKeyRefused, match="Correct key_id or region"):
            made(**options).check()

    def test_finds_a_wrong_region(self, made, service):
        with pytest.raises(RootKeyRefused, match=f"in {OTHER_REGION}: no such key"):
            made(key_id=id_of(service.key_arn), region=OTHER_REGION).check()

    def test_finds_a_region_that_does_not_exist(self, made):
        with pytest.raises(RootKeyUnavailable, match=r"in eu-central-7.*See that the region"):
            made(key_id=KEY, region="eu-central-7", endpoint_url="http://127.0.0.1:1").check()

    def test_where_dry_runs_are_not_known(self, made, service):
        """As in moto itself."""
        made(endpoint_url=f"http://127.0.0.1:{service.strict.moto_port}").check()

    def test_by_the_settings(self, service, settings):
        from django.core.exceptions import ImproperlyConfigured

        entry = service.entry()
        entry["OPTIONS"]["session"] = "tests.no_such.module"
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"kms": entry}}
        with pytest.raises(ImproperlyConfigured, match=r"ROOT_KEYS.*kms.*cannot be imported"):
            wrapping.check_root_key("kms")


DOCUMENTED = Page(ROOT / "docs" / "how-to" / "root-key-in-aws.md")


class TestDocumentedPolicies:
    """The least privileges of the documentation are enough, and allow nothing else."""

    @pytest.fixture(params=["key policy", "IAM policy"])
    def policed(self, request, made, service, monkeypatch):
        """A root key of the role, under one of the policies."""
        key_policy, iam_policy = (json.loads(text) for text in _policies())
        key_arn = service.new_key()
        monkeypatch.setitem(service.strict.roles, ROLE, IDENTITY)
        if request.param == "key policy":
            service.admin.put_key_policy(
                KeyId=id_of(key_arn), PolicyName="default", Policy=json.dumps(key_policy)
            )
        else:
            iam_policy["Statement"][0]["Resource"] = key_arn
            monkeypatch.setitem(service.strict.policies, ROLE, iam_policy)
        return made(key_id=key_arn, role_arn=ROLE)

    def test_are_enough(self, policed):
        policed.check()
        for usage in ("encrypt_decrypt", "generate_verify_mac"):
            context = CONTEXT._replace(usage=usage)
            wrapped = policed.wrap(material(), context).material
            assert policed.unwrap(wrapped, context) == MATERIAL
        assert policed.current_wrapping_key_id()

    @pytest.mark.parametrize(
        "pairs",
        [{}, {"usage": "encrypt_decrypt"}, {**CONTEXT.pairs(), "another": "name"},
         {**CONTEXT.pairs(), "usage": "another"}],
    )  # fmt: skip
    def test_are_for_master_keys_alone(self, policed, pairs):
        wrapped = wrap(policed).material
        client = policed._clients.of(REGION)
        key_arn = policed._key.in_region(REGION)
        for operation, given in (
            (client.encrypt, {"Plaintext": b"a"}), (client.decrypt, {"CiphertextBlob": wrapped})
        ):  # fmt: skip
            with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
                operation(KeyId=key_arn, EncryptionContext=pairs, **given)

    def test_are_for_the_role_alone(self, policed, made, service):
        """Of the key policy; by IAM, others are what their own policies allow."""
        wrapped = wrap(policed).material
        other = made(key_id=policed._key.given)
        policy = service.strict.moto(
            REGION, "GetKeyPolicy", KeyId=id_of(policed._key.given), PolicyName="default"
        )["Policy"]
        if f"{ACCOUNT}:root" in policy:
            assert other.unwrap(wrapped, CONTEXT) == MATERIAL
        else:
            with pytest.raises(MayNotUnwrap):
                other.unwrap(wrapped, CONTEXT)
            with pytest.raises(MayNotWrap):
                wrap(other)


def _policies():
    blocks = [block.text for block in DOCUMENTED.blocks if block.language == "json"]
    assert len(blocks) == 3, "two policies and an event"
    return [text.replace("111122223333", ACCOUNT) for text in blocks[:2]]


class TestWrappingAlone:
    """An identity that may encrypt makes versions, which another one opens."""

    def test_it(self, made, service, settings):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"kms": service.entry()}}
        with service.policy(allow("kms:Encrypt")):
            assert made().current_wrapping_key_id() is None, "only Decrypt says it"
            made = wrapping.wrap("kms", material(), CONTEXT)
            assert not made.is_opened
            assert made.wrapping_key_id == service.key_arn
            with pytest.raises(MayNotUnwrap, match="kms:Decrypt is not allowed"):
                wrapping.unwrap("kms", made.material, CONTEXT)
        opened, identified = wrapping.unwrap_identified("kms", made.material, CONTEXT)
        assert opened == MATERIAL
        assert identified.startswith(f"{service.key_arn}#")


@pytest.fixture(scope="module")
def key_arn(service):
    """A multi-Region key, in two of them."""
    key_arn = service.new_key(MultiRegion=True)
    service.admin.replicate_key(KeyId=id_of(key_arn), ReplicaRegion=OTHER_REGION)
    return key_arn


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_master_keys_move_there_and_back(service, settings):
    note = Note.objects.create(text="kept", data=None)
    local = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": local, "kms": service.entry()}}
    for name in ("kms", "default"):
        done = rewrap_master_keys(name)
        assert not done.refused
        version = MasterKeyVersion.objects.get(master_key__alias="default")
        assert version.root_key == name
        assert version.wrapping_key_id.startswith(f"{service.key_arn}#") is (name == "kms")
        keyring.evict()
        assert Note.objects.get(pk=note.pk).text == "kept"


class TestFallbackRegions:
    @pytest.fixture
    def options(self, service, key_arn):
        url = f"{service.url}?{{region}}"
        return {"key_id": key_arn, "fallback_regions": [OTHER_REGION], "endpoint_url": url}

    @contextmanager
    def silent(self, service, region=REGION):
        with service.rules({"service": "kms", "region": region, "reset": True}):
            yield

    @pytest.mark.parametrize("by", ["arn", "id"])
    def test_the_next_is_asked_where_one_does_not_answer(
        self, made, service, key_arn, options, asked, by
    ):
        if by == "id":
            options = {**options, "key_id": id_of(key_arn), "region": REGION}
        root_key = made(**options)
        before = wrap(root_key)
        asked.clear()
        with self.silent(service):
            assert root_key.unwrap(before.material, CONTEXT) == MATERIAL
            during = wrap(root_key)
            identified = root_key.unwrap_identified(during.material, CONTEXT).wrapping_key_id
        assert {region for _, region, *_ in asked} == {OTHER_REGION}
        assert during.wrapping_key_id == before.wrapping_key_id == key_arn
        assert identified.startswith(f"{key_arn}#"), "it is the same material"
        assert made(key_id=key_arn).unwrap(during.material, CONTEXT) == MATERIAL

    def test_one_that_did_not_answer_is_asked_last_for_a_minute(
        self, made, service, options, asked, monkeypatch
    ):
        root_key = made(**options)
        wrapped = wrap(root_key).material
        now = time.monotonic()
        monkeypatch.setattr(aws, "monotonic", lambda: now)
        with self.silent(service):
            root_key.unwrap(wrapped, CONTEXT)
        asked.clear()
        root_key.unwrap(wrapped, CONTEXT)
        with self.silent(service, OTHER_REGION):
            assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        now += aws.SILENT_SECONDS + 1
        root_key.unwrap(wrapped, CONTEXT)
        assert [region for _, region, *_ in asked] == [OTHER_REGION, REGION, REGION]

    def test_what_the_first_refuses_is_refused(self, made, service, key_arn, options, asked):
        root_key = made(**options)
        wrapped = wrap(root_key).material
        service.admin.disable_key(KeyId=id_of(key_arn))
        try:
            asked.clear()
            with pytest.raises(RootKeyRefused, match="disabled"):
                root_key.unwrap(wrapped, CONTEXT)
            assert {region for _, region, *_ in asked} == {REGION}
        finally:
            service.admin.enable_key(KeyId=id_of(key_arn))

    def test_what_another_refuses_says_nothing_of_the_first(
        self, made, service, key_arn, options, caplog
    ):
        root_key = made(**options)
        wrapped = wrap(root_key).material
        service.admin_elsewhere.disable_key(KeyId=id_of(key_arn))
        try:
            for _ in range(2):  # also where the first is asked last
                with self.silent(service), pytest.raises(RootKeyUnavailable, match=REGION):
                    root_key.unwrap(wrapped, CONTEXT)
            assert f"in {OTHER_REGION}: the key is disabled" in caplog.text
        finally:
            service.admin_elsewhere.enable_key(KeyId=id_of(key_arn))

    def test_our_credentials_are_the_same_everywhere(self, made, service, options, asked):
        root_key = made(**options)
        with service.fault("credentials_expired"), pytest.raises(CredentialsUnavailable):
            wrap(root_key)
        assert {region for _, region, *_ in asked} == {REGION}

    def test_check_asks_each(self, made, service, options, asked):
        root_key = made(**options)
        root_key.check()
        assert [region for _, region, *_ in asked] == [REGION] * 2 + [OTHER_REGION] * 2
        with self.silent(service, OTHER_REGION), pytest.raises(RootKeyUnavailable):
            root_key.check()

    def test_check_finds_a_replica_that_is_not_there(self, made, service, options):
        key_arn = service.new_key(MultiRegion=True)
        with pytest.raises(RootKeyRefused, match=f"in {OTHER_REGION}: no such key"):
            made(**{**options, "key_id": key_arn}).check()


class TestRoles:
    @pytest.fixture(autouse=True)
    def _roles(self, service, monkeypatch):
        monkeypatch.setitem(service.strict.roles, ROLE, IDENTITY)
        service.strict.policies.clear()

    def test_is_assumed_once_and_shown_in_the_log(self, made, service, asked):
        root_key = made(role_arn=ROLE)
        assert root_key.unwrap(wrap(root_key).material, CONTEXT) == MATERIAL
        assert operations(asked) == ["AssumeRole", "Encrypt", "Decrypt"]
        assert asked[0][2] == ACCESS_KEY
        assert asked[0][3]["RoleArn"] == ROLE
        name = asked[0][3]["RoleSessionName"]
        assert name.startswith("envelope_fields@")
        access_key = asked[1][2]
        assert access_key != ACCESS_KEY
        assert service.strict.identities[access_key].endswith(f"assumed-role/clinic/{name}")

    def test_logs_show_nothing_of_its_credentials(self, made, service, caplog):
        service.strict.issued.clear()
        caplog.set_level("DEBUG")
        wrap(made(role_arn=ROLE))
        assert len(service.strict.issued) == 2
        for secret in (*service.strict.issued, SECRET, *SHOWN):
            assert secret not in caplog.text

    def test_logs_of_other_clients_are_as_before(self, service, caplog):
        caplog.set_level("DEBUG")
        service.admin.list_keys()
        assert "Response body" in caplog.text

    def test_is_assumed_again_before_it_expires(self, made, service, asked, monkeypatch):
        """The last minutes of credentials are not waited for."""
        monkeypatch.setattr(service.strict, "lifetime", 300)
        root_key = made(role_arn=ROLE)
        wrap(root_key), wrap(root_key)
        assert operations(asked).count("AssumeRole") > 1
        asked.clear()
        monkeypatch.setattr(service.strict, "lifetime", 3600)
        wrap(root_key), wrap(root_key)
        assert operations(asked) == ["AssumeRole", "Encrypt", "Encrypt"]

    def test_is_assumed_again_where_it_is_not_accepted_any_more(self, made, service, asked):
        root_key = made(role_arn=ROLE)
        wrapped = wrap(root_key).material
        service.strict.expired.add(asked[-1][2])
        asked.clear()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        assert operations(asked) == ["Decrypt", "AssumeRole", "Decrypt"]

    def test_is_taken_away(self, made, service, asked):
        """Unavailable, and no refusal of the key: what is held stays in use for a while."""
        root_key = made(role_arn=ROLE)
        wrapped = wrap(root_key).material
        service.strict.expired.add(asked[-1][2])
        service.strict.roles[ROLE] = "another"
        with pytest.raises(CredentialsUnavailable, match="AssumeRole answers AccessDenied"):
            root_key.unwrap(wrapped, CONTEXT)
        with pytest.raises(ValueError, match="Correct role_arn"):
            root_key.check()
        service.strict.roles[ROLE] = IDENTITY
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    def test_without_credentials_to_assume_it_with(self, made, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(CredentialsUnavailable, match="NoCredentialsError"):
            wrap(made(role_arn=ROLE))

    def test_of_a_session(self, made, asked):
        root_key = made(role_arn=ROLE, session=f"{__name__}.a_session")
        assert root_key.unwrap(wrap(root_key).material, CONTEXT) == MATERIAL
        assert operations(asked) == ["AssumeRole", "Encrypt", "Decrypt"]


made_sessions = []


def a_session():
    made_sessions.append(boto3.session.Session())
    return made_sessions[-1]


def not_a_session():
    return boto3


def failing_session():
    raise RuntimeError(f"with {SECRET} in it")


def waiting_session():
    waiting.entered.set()
    assert waiting.leave.wait(60)
    return a_session()


class waiting:
    entered, leave = threading.Event(), threading.Event()


class TestCredentials:
    @pytest.fixture(autouse=True)
    def _begin(self):
        made_sessions.clear()
        waiting.entered.clear()
        waiting.leave.clear()

    def test_a_session_is_begun_once(self, made):
        root_key = made(session=f"{__name__}.a_session")
        assert made_sessions == []
        wrap(root_key), wrap(root_key)
        assert len(made_sessions) == 1
        root_key.refresh()
        wrap(root_key)
        assert len(made_sessions) == 2

    def test_a_session_is_begun_anew_where_its_credentials_are_not_accepted(
        self, made, service, monkeypatch
    ):
        """As after the rotation of an access key."""
        root_key = made(session=f"{__name__}.a_session")
        wrap(root_key)
        monkeypatch.delitem(service.strict.identities, ACCESS_KEY)
        monkeypatch.setitem(service.strict.identities, "AKIAENVELOPEFIELDS02", IDENTITY)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVELOPEFIELDS02")
        wrap(root_key)
        assert len(made_sessions) == 2

    def test_threads_begin_one_session_anew(self, made, service, monkeypatch):
        root_key = made(session=f"{__name__}.a_session", timeout=10)
        wrapped = wrap(root_key).material
        monkeypatch.delitem(service.strict.identities, ACCESS_KEY)
        monkeypatch.setitem(service.strict.identities, "AKIAENVELOPEFIELDS02", IDENTITY)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVELOPEFIELDS02")
        in_threads(8, lambda: root_key.unwrap(wrapped, CONTEXT))
        assert len(made_sessions) == 2

    def test_credentials_that_renew_themselves_are_never_frozen(self, made, service, monkeypatch):
        issued = []

        def refresh():
            issued.append(1)
            keys = {"access_key": ACCESS_KEY, "secret_key": SECRET, "token": "t"}
            return {**keys, "expiry_time": f"{2000 + len(issued)}-01-01T00:00:00Z"}

        refresh_at = {"refresh_using": refresh, "method": "test"}
        renewed = RefreshableCredentials.create_from_metadata(refresh(), **refresh_at)
        monkeypatch.setattr(boto3.session.Session, "get_credentials", lambda self: renewed)
        monkeypatch.setattr("botocore.session.Session.get_credentials", lambda self: renewed)
        root_key = made()
        for number in range(2, 5):
            # What expired in 2001 is renewed each time.
            with pytest.raises(CredentialsUnavailable):
                wrap(root_key)
            assert len(issued) >= number

    @pytest.mark.parametrize(
        ("factory", "message"),
        [
            ("tests.no_such.module", "cannot be imported"),
            (f"{__name__}.no_such_function", "cannot be imported"),
            (f"{__name__}.not_a_session", "returns no boto3.session.Session"),
        ],
    )
    def test_wrong_factories(self, made, factory, message):
        root_key = made(session=factory)
        for use in (lambda: wrap(root_key), root_key.check):
            with pytest.raises(ValueError, match=message):
                use()

    def test_a_factory_that_fails(self, made, caplog):
        root_key = made(session=f"{__name__}.failing_session")
        with pytest.raises(RootKeyUnavailable, match="RuntimeError") as caught:
            wrap(root_key)
        assert SECRET not in str(caught.value) + caplog.text

    @pytest.mark.parametrize(
        "environment",
        [
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            {"AWS_SECRET_ACCESS_KEY": None},
            {"AWS_PROFILE": "no-such-profile"},
            {
                "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None,
                "AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/token",
            },
        ],
        ids=["none", "half", "profile", "token"],
    )  # fmt: skip
    def test_there_are_none_and_then_some(self, made, monkeypatch, environment):
        """Ours to mend; and nothing has to be restarted then."""
        root_key = made()
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                if value is None:
                    patch.delenv(name)
                else:
                    patch.setenv(name, value)
            for use in (lambda: wrap(root_key), root_key.check):
                with pytest.raises(CredentialsUnavailable):
                    use()
        assert root_key.unwrap(wrap(root_key).material, CONTEXT) == MATERIAL

    def test_a_program_that_gives_none(self, made, monkeypatch, tmp_path, caplog):
        config = tmp_path / "config"
        config.write_text(f"[profile clinic]\ncredential_process = sh -c 'echo {SECRET}'\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "clinic")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(RootKeyUnavailable) as caught:
            wrap(made())
        assert SECRET not in str(caught.value) + caplog.text

    def test_others_do_not_wait_without_end_for_a_session(self, made):
        root_key = made(session=f"{__name__}.waiting_session", timeout=0.1)
        first = threading.Thread(target=lambda: root_key._clients.of(REGION))
        first.start()
        assert waiting.entered.wait(60)
        with pytest.raises(RootKeyUnavailable, match="another thread"):
            wrap(root_key)
        root_key.close()  # does not wait, either
        waiting.leave.set()
        first.join(60)

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_fork_while_another_thread_begins_a_session(self, made):
        root_key = made(session=f"{__name__}.waiting_session", timeout=10)
        first = threading.Thread(target=lambda: wrap(root_key))
        first.start()
        assert waiting.entered.wait(60)

        def use_in_child():
            waiting.leave.set()
            root_key.after_fork()
            assert root_key.unwrap(wrap(root_key).material, CONTEXT) == MATERIAL

        child = forked(use_in_child)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        waiting.leave.set()
        first.join(60)


def answer(**fields):
    return http(200, json.dumps(fields).encode())


OPENED = b64encode(MATERIAL).decode()
HTML = b"<!doctype html><title>Please log in</title>"


@pytest.fixture(scope="module")
def garbled(service):
    """A root key, and the server that it asks; one for all, since to make a client takes long."""
    with garbage_server() as server:
        root_key = service.root_key(key_id=ARN, endpoint_url=server.url)
        yield root_key, server
        root_key.close()


class TestGarbage:
    """What stands in the service's place, such as a proxy, says nothing of the key."""

    @pytest.fixture
    def root_key(self, garbled):
        return garbled[0]

    @pytest.fixture
    def server(self, garbled):
        return garbled[1]

    @pytest.mark.parametrize(
        "given",
        [
            http(200, HTML),
            http(200, b""),
            http(200, b"{}"),
            http(200, b"[]"),
            http(200, b'"Plaintext"'),
            http(200, b'{"Plaintext": '),
            answer(KeyId=ARN),
            answer(Plaintext=OPENED),
            answer(Plaintext=OPENED, KeyId=5),
            answer(Plaintext=OPENED, KeyId="alias/clinic"),
            answer(Plaintext=OPENED, KeyId=ARN[:-1] + "0"),
            answer(Plaintext=None, KeyId=ARN),
            answer(Plaintext="not base64", KeyId=ARN),
            answer(Plaintext=[OPENED], KeyId=ARN),
            http(302, b"", "Location: http://127.0.0.1/"),
            http(307, b"", "Location: http://127.0.0.1/"),
            http(400, b'{"__type": 5}'),
            http(400, b'{"__type": "DryRunOperationException"}'),
            http(400, b'{"__type": "not a code"}'),
            http(400, HTML),
            http(401, HTML),
            http(403, HTML),
            http(404, HTML),
            http(407, HTML),
            http(502, HTML),
            http(200, b"{}").replace(b"Length: 2", b"Length: 200"),
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"",
        ],
        ids=lambda given: given[9:12].decode() + given[-24:].decode("ascii", "replace").strip(),
    )
    def test_it_is_unavailable(self, root_key, server, given, caplog):
        server.answer = given
        for use in (lambda: root_key.unwrap(b"wrapped", CONTEXT), lambda: wrap(root_key)):
            with pytest.raises(RootKeyUnavailable) as caught:
                use()
            says_nothing_secret(caught.value, NO_SECRETS)
        for shown in SHOWN:
            assert shown not in caplog.text

    @pytest.mark.parametrize(
        "code", ["AccessDeniedException", "NotFoundException", "BrandNewException"]
    )
    def test_it_shows_us_what_we_sent(self, root_key, server, code, caplog):
        def echo(body):
            content = {"__type": code, "message": body.decode()}
            return [http(400, json.dumps(content).encode())]

        server.answer = echo
        with pytest.raises(EnvelopeError) as caught:
            wrap(root_key)
        says_nothing_secret(caught.value, NO_SECRETS)
        assert not any(shown in caplog.text for shown in SHOWN)
        assert OPENED.encode() in server.asked[-1], "it was sent"

    @pytest.mark.parametrize("length", [1, 31, 33, 64])
    def test_another_length_is_altered(self, root_key, server, length):
        server.answer = answer(Plaintext=b64encode(bytes(length)).decode(), KeyId=ARN)
        with pytest.raises(WrappedKeyAltered, match="not the material"):
            root_key.unwrap(b"wrapped", CONTEXT)

    @pytest.mark.parametrize("material_id", [None, 5, "x" * 10_000])
    def test_an_id_of_material_that_is_none(self, root_key, server, material_id):
        server.answer = answer(Plaintext=OPENED, KeyId=ARN, KeyMaterialId=material_id)
        opened = root_key.unwrap_identified(b"wrapped", CONTEXT)
        assert opened.material == MATERIAL
        assert opened.wrapping_key_id == ARN

    def test_in_pieces(self, root_key, server):
        whole = answer(Plaintext=OPENED, KeyId=ARN)
        server.answer = lambda _: [whole[:10], whole[10:60], whole[60:]]
        assert root_key.unwrap(b"wrapped", CONTEXT) == MATERIAL

    def test_https_before_a_server_without(self, made, service):
        root_key = made(endpoint_url=service.url.replace("http:", "https:"))
        with pytest.raises(RootKeyUnavailable, match="SSLError"):
            wrap(root_key)


class NO_SECRETS:
    secrets = ()


def in_threads(number, use):
    """Run something in several threads at once; raise the first error."""
    errors = []

    def run():
        try:
            use()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]


class TestAtOnce:
    def test_two_close_while_others_use_it(self, made):
        root_key = made(timeout=10)
        wrapped = wrap(root_key).material
        closed, done = [], threading.Event()

        def close():
            while not done.is_set():
                root_key.close()
                root_key.refresh()
                closed.append(1)
                done.wait(0.005)

        closing = [threading.Thread(target=close) for _ in range(2)]
        for thread in closing:
            thread.start()
        try:
            in_threads(4, lambda: [root_key.unwrap(wrapped, CONTEXT) for _ in range(5)])
        finally:
            done.set()
            for thread in closing:
                thread.join(60)
        assert len(closed) > 1

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_fork_in_the_middle_of_a_call(self, made, service, asked):
        root_key = made(timeout=10)
        wrapped = wrap(root_key).material
        asked.clear()
        with service.rules({"service": "kms", "times": 1, "latency": 300}):
            calling = threading.Thread(target=lambda: root_key.unwrap(wrapped, CONTEXT))
            calling.start()
            until(lambda: calling.is_alive())

            def use_in_child():
                root_key.after_fork()
                assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL

            child = forked(use_in_child)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            calling.join(60)
        assert operations(asked) == ["Decrypt", "Decrypt"]


@contextmanager
def scheduled_for_deletion(service):
    key_id = id_of(service.key_arn)
    service.admin.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    yield
    service.admin.cancel_key_deletion(KeyId=key_id)
    service.admin.enable_key(KeyId=key_id)


HAPPENS = {
    "the service limits requests": lambda service: service.fault("throttled"),
    "our credentials have expired, are missing, or are not accepted": (
        lambda service: service.fault("credentials_expired")
    ),
    "the right to decrypt was taken away": lambda service: service.fault("right_revoked"),
    "the service's key is disabled": lambda service: service.fault("key_disabled"),
    "the service's key is scheduled for deletion": scheduled_for_deletion,
}


class TestOutages(Outages):
    @pytest.mark.parametrize("row", HAPPENS)
    def test_what_happens(self, row, service, note, clock):
        self.see(row, HAPPENS[row](service), note, clock)
