"""`Idempotency-Key`, by which a start that is sent again is told of the first run.

A String of structured fields, as draft-ietf-httpapi-idempotency-key-header has it; or the same
without its quotes, as many clients send it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from envelope_fields.policy import current_principal
from envelope_fields.jobs.dispatch import NOT_REPEATED, IdempotencyKey

HEADER = "Idempotency-Key"
LONGEST = 200
PATTERN = rf'\A(?:"(?:[ !#-\[\]-~]|\\["\\]){{1,{LONGEST}}}"|[A-Za-z0-9._:/+=@-]{{1,{LONGEST}}})\Z'
_PATTERN = re.compile(PATTERN)
_ESCAPED = re.compile(r"\\(.)")


def idempotency_key(request: Any, asked: Mapping[str, Any]) -> IdempotencyKey:
    """Return the key that a request has, for what it asks for.

    Raises:
        ValidationError: it is none.
    """
    given = request.headers.get(HEADER)
    if given is None:
        return NOT_REPEATED
    if not _PATTERN.match(given):
        raise ValidationError(
            {HEADER: [f'Write it as "deploy-1742", with at most {LONGEST} characters of ASCII.']}
        )
    name = _ESCAPED.sub(r"\1", given[1:-1]) if given.startswith('"') else given
    return IdempotencyKey.of(current_principal(), name, asked)
