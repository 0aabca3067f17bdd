"""Further wraps of key versions, by root keys beside that of their rows."""

from collections import defaultdict
from collections.abc import Sequence

from envelope_fields.conf import configuration
from envelope_fields.keyring.rows import Wrap, explained
from envelope_fields.models import OVERWRITTEN, FurtherWrap

_VERSIONS_AT_ONCE = 500  # in a query


def further_wraps(version_id: bytes) -> list[Wrap]:
    """Return the further wraps of a version, the first that was made first; errors as below."""
    return further_wraps_of([version_id]).get(version_id, [])


def further_wraps_of(version_ids: Sequence[bytes]) -> dict[bytes, list[Wrap]]:
    """Return the further wraps of versions, by their ids; those that have none are left out.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    using = configuration().database
    with explained(using):
        return _read(using, version_ids)


def _read(using: str, version_ids: Sequence[bytes]) -> dict[bytes, list[Wrap]]:
    wraps, found = FurtherWrap.objects.using(using), defaultdict(list)
    there = wraps.exclude(wrapped_material=OVERWRITTEN).order_by("pk")
    columns = there.values_list("version_id", *Wrap._fields)
    for start in range(0, len(version_ids), _VERSIONS_AT_ONCE):
        ids = version_ids[start : start + _VERSIONS_AT_ONCE]
        for version_id, root_key, material, wrapping_key_id in columns.filter(version_id__in=ids):
            found[bytes(version_id)].append(Wrap(root_key, bytes(material), wrapping_key_id))
    return dict(found)
