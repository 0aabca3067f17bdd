"""The key as the settings name it, and its ARN in each region."""

import re
from collections.abc import Sequence
from typing import Any, Final

_ARN: Final = r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:"
_ID: Final = r"(?:(?P<multi_region>mrk-[0-9a-f]{32})|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_ALIAS: Final = r"(?P<alias>alias/[A-Za-z0-9/_-]+)"
_KEY_ARN: Final = re.compile(f"{_ARN}key/{_ID}")
_FORMS: Final = (_KEY_ARN, re.compile(_ID), *map(re.compile, (f"{_ARN}{_ALIAS}", _ALIAS)))
_REGION: Final = re.compile(r"[a-z]+(?:-[a-z]+)+-[0-9]+")


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
