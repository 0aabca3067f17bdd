"""A root key in AWS KMS, which is asked by boto3."""

import logging
import re
from collections.abc import Sequence
from time import monotonic
from typing import Any, ClassVar, Final

try:
    import boto3  # noqa: F401
except ImportError as error:
    raise ImportError(
        'a root key in AWS KMS needs boto3: pip install "django-envelope-fields[aws]"'
    ) from error

from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys import base
from envelope_fields.root_keys.aws import errors
from envelope_fields.root_keys.aws.sessions import Clients, unlogged
from envelope_fields.root_keys.options import WrongSetting

SILENT_SECONDS: Final = 60  # for which a region that did not answer is asked last
CIPHERTEXT_BYTES: Final = 6144  # at most, in KMS Decrypt
MATERIAL_ID_LENGTH: Final = 64
WOULD_SUCCEED: Final = "DryRunOperation"
_ANSWERS: Final = {"encrypt": "CiphertextBlob", "decrypt": "Plaintext"}

_ARN: Final = r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:"
_ID: Final = r"(?:(?P<multi_region>mrk-[0-9a-f]{32})|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_ALIAS: Final = r"(?P<alias>alias/[A-Za-z0-9/_-]+)"
_KEY_ARN: Final = re.compile(f"{_ARN}key/{_ID}")
_FORMS: Final = (_KEY_ARN, re.compile(_ID), *map(re.compile, (f"{_ARN}{_ALIAS}", _ALIAS)))
_REGION: Final = re.compile(r"[a-z]+(?:-[a-z]+)+-[0-9]+")

_Answer = dict[str, Any]
_logger = logging.getLogger("envelope_fields.root_keys")


class AwsKmsRootKey(base.RootKey):
    """Wraps by Encrypt under a symmetric key in AWS KMS, and unwraps by Decrypt under the same.

    The encryption context is `context.pairs()`, which CloudTrail shows. What wrapped is named
    `<ARN>#<KeyMaterialId>`. Credentials come from boto3's chain, and are renewed by it.

    Args:
        key_id: the id or the ARN of a key, or of an alias: the key that this names when it is used
            first is used by this process until it ends.
        region: of the key; by default that of its ARN, or the session's.
        fallback_regions: more regions of a multi-Region key (`mrk-…`): where one does not answer,
            the next is asked.
        endpoint_url: what is asked in place of the region's endpoint, such as a VPC endpoint;
            `{region}` in it is replaced.
        role_arn: a role to assume; CloudTrail shows its session as `envelope_fields@<host>`.
        session: the dotted path of a function that returns a `boto3.session.Session`. It is called
            again where the credentials are no longer accepted.
        use_fips_endpoint: whether the region's FIPS endpoint is asked.
        timeout: seconds for the answer to an attempt, of which there are two in each region; to
            connect takes half of that at most.
    """

    asks_service: ClassVar = True

    def __init__(
        self,
        *,
        key_id: str,
        region: str | None = None,
        fallback_regions: Sequence[str] = (),
        endpoint_url: str | None = None,
        role_arn: str | None = None,
        session: str | None = None,
        use_fips_endpoint: bool = False,
        timeout: float = 5.0,
    ) -> None:
        self._key = KeyName(key_id, region, fallback_regions)
        self._clients = Clients(
            endpoint_url=endpoint_url,
            role_arn=role_arn,
            session=session,
            use_fips_endpoint=use_fips_endpoint,
            timeout=timeout,
        )
        if fallback_regions and endpoint_url and "{region}" not in endpoint_url:
            raise ValueError("endpoint_url is of one region: write {region} in place of its name")
        self._silent_until: dict[str | None, float] = {}

    def __repr__(self) -> str:
        return f"<AwsKmsRootKey {self._key}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> base.Wrapped:
        plaintext = KeyBuffer(material)  # error reports show the variables of each frame
        try:
            answer = self._ask("encrypt", Plaintext=plaintext, EncryptionContext=context.pairs())
        finally:
            wipe(plaintext)
        return base.Wrapped(answer["CiphertextBlob"], self._key.arn(answer["KeyId"]))

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        return self.unwrap_identified(wrapped, context).material

    def unwrap_identified(self, wrapped: bytes, context: KeyVersionContext) -> base.Unwrapped:
        if not 0 < len(wrapped) <= CIPHERTEXT_BYTES:
            raise WrappedKeyAltered("this master key version was not wrapped by AWS KMS")
        pairs = context.pairs()
        answer = self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=pairs)
        material = KeyBuffer(answer.pop("Plaintext"))
        if len(material) != base.MATERIAL_BYTES:
            wipe(material)
            raise WrappedKeyAltered("what AWS KMS opened is not the material of a master key")
        material_id = answer.get("KeyMaterialId")
        if not isinstance(material_id, str) or len(material_id) != MATERIAL_ID_LENGTH:
            return base.Unwrapped(material, self._key.arn(answer["KeyId"]))
        return base.Unwrapped(material, f"{self._key.arn(answer['KeyId'])}#{material_id}")

    def check(self) -> None:
        for region in self._key.regions:
            self._check(region)

    def current_wrapping_key_id(self) -> str | None:
        try:
            opened = self.unwrap_identified(base.wrap_probe(self).material, base.PROBE)
        except base.MayNotUnwrap:
            return None
        wipe(opened.material)
        return opened.wrapping_key_id

    def close(self) -> None:
        self._clients.close()

    def after_fork(self) -> None:
        self._clients.after_fork()

    def _ask(self, operation: str, **parameters: Any) -> _Answer:
        """Ask one region after the other, until one answers.

        What the first region says counts. The others are asked because it does not answer, and a
        replica has policies and a state of its own, which say nothing about the key as a whole.
        """
        home = self._key.regions[0]
        problems = {}
        for region in self._in_order():
            answer = self._answer(region, operation, parameters)
            if isinstance(answer, dict):
                return answer
            problems[region] = answer
            if isinstance(answer, errors.CredentialsUnavailable):
                raise answer
            if isinstance(answer, RootKeyUnavailable):
                self._silent_until[region] = monotonic() + SILENT_SECONDS
            elif region == home:
                raise answer
            if len(self._key.regions) > 1:
                _logger.warning("%s", answer)
        raise problems[home]

    def _in_order(self) -> list[str | None]:
        now = monotonic()
        return sorted(self._key.regions, key=lambda each: self._silent_until.get(each, now) > now)

    def _answer(
        self, region: str | None, operation: str, parameters: _Answer
    ) -> _Answer | Exception:
        """Return an answer, or what to raise; asked twice where our credentials may be old."""
        client, answer = self._attempt(region, operation, parameters)
        if isinstance(answer, errors.CredentialsUnavailable):
            self._clients.renew(client)
            _, answer = self._attempt(region, operation, parameters)
        return answer

    def _attempt(
        self, region: str | None, operation: str, parameters: _Answer
    ) -> tuple[Any, _Answer | Exception]:
        """Return also the client that was used, or None where there was none.

        Errors are returned, since error reports show the variables of each frame of a traceback,
        and boto3's hold material.
        """
        client = None
        try:
            with unlogged():
                client = self._clients.of(region)
                answer = getattr(client, operation)(KeyId=self._key.in_region(region), **parameters)
        except Exception as error:
            if "DryRun" in parameters and errors.code_of(error) == WOULD_SUCCEED:
                return client, {}
            return client, errors.sorted_error(error, self._where(region))
        if answer.get(_ANSWERS[operation]) and self._key.is_answered_by(
            answer.get("KeyId"), region
        ):
            return client, answer
        return client, errors.unlisted(f"half an answer to {operation}", self._where(region))

    def _where(self, region: str | None) -> str:
        return f"AWS KMS key {self._key} in {region or 'the region of the session'}"

    def _check(self, region: str | None) -> None:
        asked = {"EncryptionContext": base.PROBE.pairs(), "DryRun": True}
        encrypted = self._answer(
            region, "encrypt", {"Plaintext": bytes(base.MATERIAL_BYTES), **asked}
        )
        if isinstance(encrypted, Exception) and not isinstance(encrypted, errors.MayNotWrap):
            raise _in_check(encrypted)
        decrypted = self._answer(region, "decrypt", {**_to_decrypt(encrypted), **asked})
        if isinstance(encrypted, errors.MayNotWrap) and isinstance(decrypted, base.MayNotUnwrap):
            raise RootKeyRefused(f"{encrypted}. Nor is kms:Decrypt")
        for answer in (encrypted, decrypted):
            if isinstance(answer, Exception):
                raise _in_check(answer)


def _to_decrypt(encrypted: _Answer | Exception) -> _Answer:
    """Return what a dry run of Decrypt decrypts: nothing, where that of Encrypt gave nothing."""
    if isinstance(encrypted, dict) and encrypted:  # the service does not know dry runs
        return {"CiphertextBlob": encrypted["CiphertextBlob"]}
    return {"DryRunModifiers": ["IGNORE_CIPHERTEXT"]}


def _in_check(problem: Exception) -> Exception:
    return WrongSetting(str(problem)) if isinstance(problem, errors.RoleUnavailable) else problem


class KeyName:
    """Names a key for requests: once an answer has said its ARN, by that.

    So an alias is resolved once, and names the same key until the process ends.

    Args:
        key_id: the id or the ARN of a key, or of an alias.
        region: of the key, or None for that of its ARN, or the session's.
        fallback_regions: more regions of a multi-Region key.

    Attributes:
        regions: in which the key is asked, the first of them first; None is the session's.
    """

    def __init__(self, key_id: str, region: str | None, fallback_regions: Sequence[str]) -> None:
        if not isinstance(region, str | None):
            raise TypeError("region is text")
        parts = _parts(key_id)
        in_arn = parts.get("region")
        if region is not None and in_arn not in (None, region):
            raise ValueError(f"region is {region!r}, and the key_id {key_id} is in {in_arn}")
        self.regions = (region or in_arn, *_fallback_regions(fallback_regions))
        for each in self.regions:
            if each is not None and not _REGION.fullmatch(each):
                raise ValueError(f"{each!r} is not the name of a region, such as eu-central-1")
        if len(set(self.regions)) < len(self.regions):
            raise ValueError("region and fallback_regions name a region twice")
        if fallback_regions and not parts.get("multi_region"):
            raise ValueError(
                f"fallback_regions is for a multi-Region key alone, and key_id is {key_id}: name "
                "one whose id begins with mrk-, by its id or its ARN, or leave out fallback_regions"
            )
        self.given = key_id
        self._arns: dict[str | None, str] = {}
        if in_arn and not parts.get("alias"):
            self._arns = {
                region: key_id.replace(f":{in_arn}:", f":{region}:") for region in self.regions
            }

    def __str__(self) -> str:
        return self.given

    def in_region(self, region: str | None) -> str:
        """Return the KeyId of a request to a region."""
        return self._arns.get(region, self.given)

    def arn(self, answered: str) -> str:
        """Return the ARN by which the key is kept: in its first region, whichever answered."""
        return self._arns.get(self.regions[0], answered)

    def is_answered_by(self, arn: Any, region: str | None) -> bool:
        """Return whether an answer is of this key, and keep its ARN, the first of each region."""
        if not isinstance(arn, str) or not _KEY_ARN.fullmatch(arn):
            return False
        return self._arns.setdefault(region, arn) == arn


def _parts(key_id: Any) -> dict[str, str | None]:
    if not isinstance(key_id, str):
        raise TypeError("key_id is text")
    for form in _FORMS:
        if found := form.fullmatch(key_id):
            break
    else:
        raise ValueError(
            f"key_id is {key_id!r}, and neither the id nor the ARN of a key or an alias in AWS KMS"
        )
    parts = found.groupdict()
    if (parts.get("alias") or "").startswith("alias/aws/"):
        raise ValueError(f"key_id is {key_id}, a key that AWS manages: make one of your own")
    return parts


def _fallback_regions(regions: Any) -> tuple[str, ...]:
    if not isinstance(regions, list | tuple) or not all(isinstance(each, str) for each in regions):
        raise TypeError("fallback_regions is a list of names of regions")
    return tuple(regions)
