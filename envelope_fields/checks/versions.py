"""Stored master key versions, against the root keys that wrap them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, OuterRef, Q, QuerySet

from envelope_fields import keyring
from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.settings import unreachable
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused, RootKeyUnavailable
from envelope_fields.keyring.further_wraps import further_wraps_of
from envelope_fields.models import OVERWRITTEN, FurtherWrap, KeyState, MasterKeyVersion

VERSIONS_TRIED = 100  # for each root key, the newest: each may take a request to a server
VERSIONS_NAMED = 5


@dataclass(slots=True)
class _Wrapped:
    """What a root key wraps.

    Attributes:
        version_ids: of the versions, newest first.
        others: those of them that another root key wraps as well.
    """

    version_ids: list[bytes] = field(default_factory=list)
    others: set[bytes] = field(default_factory=set)


def check_stored_versions(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Have each root key open the newest master key versions that it wrapped."""
    using = keys_database(databases)
    if using is None:
        return []
    return [
        message
        for root_key, wrapped in sorted(_wrapped(using).items())
        for message in _opened(root_key, wrapped)
    ]


def check_further_wraps(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for versions that further root keys are to wrap, and do not."""
    using = keys_database(databases, FurtherWrap)
    if using is None:
        return []
    wraps = FurtherWrap.objects.using(using).filter(version_id=OuterRef("version_id"))
    there = wraps.exclude(wrapped_material=OVERWRITTEN)
    messages: list[CheckMessage] = []
    for root_key, further in configuration().further_root_keys.items():
        versions = _needed(using).filter(root_key=root_key)
        for name in further:
            missing = versions.filter(~Q(Exists(there.filter(root_key=name)))).count()
            if missing:
                messages.append(_missing(root_key, name, missing))
    return messages


def _missing(root_key: str, further: str, number: int) -> CheckMessage:
    return Warning(
        f"{number} master key version(s) under the root key {root_key!r} are not wrapped by "
        f"{further!r}, which its entry says.",
        hint="Where the first is lost, so are they. Run `python manage.py rewrap_master_keys`.",
        id="envelope_fields.W005",
    )


def _needed(using: str) -> QuerySet[MasterKeyVersion]:
    """Return the versions that can still be needed, newest first."""
    versions = MasterKeyVersion.objects.using(using).exclude(state=KeyState.DESTROYED)
    return versions.exclude(master_key__state=KeyState.DESTROYED).order_by("-pk")


def _wrapped(using: str) -> dict[str, _Wrapped]:
    """Return what each root key wraps."""
    stored = _needed(using).values_list("root_key", "version_id")
    own = {bytes(version_id): root_key for root_key, version_id in stored}
    further = further_wraps_of(list(own))
    found: dict[str, _Wrapped] = defaultdict(_Wrapped)
    for version_id, root_key in own.items():
        root_keys = {root_key, *(wrap.root_key for wrap in further.get(version_id, ()))}
        for each in root_keys:
            found[each].version_ids.append(version_id)
            if len(root_keys) > 1:
                found[each].others.add(version_id)
    return found


def _opened(root_key: str, wrapped: _Wrapped) -> Iterator[CheckMessage]:
    tried, refused = wrapped.version_ids[:VERSIONS_TRIED], []
    for version_id in tried:
        try:
            keyring.check_wrap(version_id, root_key)
        except RootKeyRefused:
            refused.append(version_id)
        except RootKeyUnavailable as error:
            yield unreachable(root_key, error)
            break
        except ImproperlyConfigured as error:  # then it opens none of them
            yield from _misconfigured(root_key, wrapped, error)
            break
    if refused:
        yield from _refused(root_key, wrapped, refused, len(tried))


def _misconfigured(
    root_key: str, wrapped: _Wrapped, error: ImproperlyConfigured
) -> Iterator[CheckMessage]:
    tried = wrapped.version_ids[:VERSIONS_TRIED]
    opened = {each for each in tried if each in wrapped.others and _is_opened(each)}
    others = wrapped.others if opened else set()
    lost = [each for each in wrapped.version_ids if each not in (opened or others)]
    if opened:
        yield _opened_by_others(root_key, list(opened), f" {error}")
    if lost:
        yield Error(
            f"{len(lost)} stored master key version(s) cannot be opened. {error}",
            hint="Values under them can be neither read nor written until it is back.",
            id="envelope_fields.E004",
        )


def _refused(
    root_key: str, wrapped: _Wrapped, refused: list[bytes], tried: int
) -> Iterator[CheckMessage]:
    opened = [each for each in refused if each in wrapped.others and _is_opened(each)]
    lost = [each for each in refused if each not in opened]
    if opened:
        yield _opened_by_others(root_key, opened)
    if lost:
        others = (
            " If it is lost, take it out of the settings: others open what they wrap, too."
            if wrapped.others.intersection(lost)
            else ""
        )
        yield Error(
            f"The root key {root_key!r} does not open {len(lost)} of the {tried} newest "
            f"master key versions that it is said to have wrapped: {_named(lost)}.",
            hint=(
                "Values under them cannot be read. Set the root key that wrapped them; if it is "
                "the right one, the rows were altered: restore them from a backup of the keys."
                f"{others}"
            ),
            id="envelope_fields.E005",
        )


def _opened_by_others(root_key: str, version_ids: list[bytes], reason: str = "") -> CheckMessage:
    return Warning(
        f"The root key {root_key!r} does not open master key versions that other root keys open: "
        f"{_named(version_ids)}.{reason}",
        hint=(
            "Values under them can be read, as long as these are there. Correct the root key, or "
            "take it out of the settings, and run `python manage.py rewrap_master_keys`."
        ),
        id="envelope_fields.W004",
    )


def _is_opened(version_id: bytes) -> bool:
    """Whether any root key opens a version."""
    try:
        keyring.check_version(version_id)
    except (EnvelopeError, ImproperlyConfigured):
        return False
    return True


def _named(version_ids: list[bytes]) -> str:
    names = ", ".join(version_id.hex() for version_id in version_ids[:VERSIONS_NAMED])
    more = len(version_ids) - VERSIONS_NAMED
    return f"{names} and {more} more" if more > 0 else names
