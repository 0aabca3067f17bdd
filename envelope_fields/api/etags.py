"""ETags, by which one operator is told that another was faster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from django.utils.http import parse_etags

from envelope_fields.api.refusals import PreconditionFailed
from envelope_fields.lifecycle import expecting
from envelope_fields.models import MasterKey


def etag_of(content: Mapping[str, Any]) -> str:
    """Return the ETag of what is told."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f'"{sha256(text.encode()).hexdigest()[:32]}"'


@contextmanager
def as_seen(request: Any, key: MasterKey, now: Callable[[], str]) -> Iterator[None]:
    """Have an act inside done only if the client has seen what it changes; `If-Match` says what.

    Args:
        request: of the client.
        key: the key that is locked by the act.
        now: returns, under the lock, the ETag of what is changed; or how it begins, where the
            rest of it changes with more than what operators do.

    Raises:
        PreconditionFailed: from the act, which then does nothing.
    """
    given = request.headers.get("If-Match")
    if given is None:
        yield
        return
    # What compresses an answer on its way makes its tag a weak one (RFC 9110, 8.8.3).
    seen = [tag.removeprefix("W/") for tag in parse_etags(given)]

    def check(row: MasterKey) -> None:
        if row.pk != key.pk or seen == ["*"]:
            return
        begins = now()
        if not any(tag.startswith(begins) for tag in seen):
            raise PreconditionFailed

    with expecting(check):
        yield
