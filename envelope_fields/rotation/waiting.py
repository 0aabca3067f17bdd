"""Which keys have values that a run would move."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from envelope_fields.census import census
from envelope_fields.census.versions import KeyVersion, key_versions
from envelope_fields.conf import configuration
from envelope_fields.models import MasterKey
from envelope_fields.rotation.scope import Scope, declared_columns


def keys_with_work(kind: str, fields: Iterable[str] = (), database: str = "") -> list[MasterKey]:
    """Return the keys that have values for a run of this kind to look at, by alias.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a column could not be counted.
    """
    columns = {
        (str(column), column.database): column for column in declared_columns(fields, database)
    }
    versions = _by_key()
    found = set()
    for row in census(database=database or None):
        column = columns.get((f"{row.model}.{row.field}", row.database))
        if column is None or row.version is None:
            continue
        of_key = versions[row.version.key_id]
        if row.version_id in Scope(kind, of_key).version_ids(column):
            found.add(row.version.key_id)
    keys = MasterKey.objects.using(configuration().database).filter(pk__in=found)
    return list(keys.order_by("alias", "pk"))


def _by_key() -> dict[UUID, list[KeyVersion]]:
    versions = defaultdict(list)
    for version in key_versions():
        versions[version.key_id].append(version)
    return versions
