"""Starts that are sent twice, because an answer was lost: the second is told of the first run.

What such a start is known by is in the row of its run: it is made in the same transaction, is
there as long as the run is, and takes no room of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from envelope_fields.conf import configuration
from envelope_fields.crypto.context import encode
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import RotationRun
from envelope_fields.policy import Principal

_DOMAIN = b"rotation-start-v1"


class IdempotencyKeyReused(EnvelopeError):
    """Something else was started with the same idempotency key; `run` is what it started."""

    def __init__(self, run: RotationRun) -> None:
        super().__init__(
            f"The rotation {run.pk} was started with this idempotency key, and something else was "
            "asked for then. Take a new key for a new start."
        )
        self.run = run


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What a client calls one start, as the row of its run has it.

    Attributes:
        token: a digest of the name, and of whose it is; None if it has none. Databases do not
            agree on which texts are the same.
        digest: of what is asked for.
    """

    token: str | None
    digest: str

    @classmethod
    def of(cls, principal: Principal, name: str, asked: Mapping[str, Any]) -> IdempotencyKey:
        """Return the key of a principal's start.

        Args:
            principal: who starts. Others may use the same name for something else.
            name: what they call it.
            asked: what they ask for; text, numbers, None, lists and dictionaries of these.
        """
        whose = [principal.type.encode(), principal.id.encode(), name.encode()]
        text = json.dumps(asked, sort_keys=True)
        return cls(_digest(encode([_DOMAIN, *whose])), _digest(text.encode()))

    def first_run(self) -> RotationRun | None:
        """Return the run that was started with it, if there is one.

        Raises:
            IdempotencyKeyReused: it is not what is asked for now.
        """
        if self.token is None:
            return None
        runs = RotationRun.objects.using(configuration().database).select_related("master_key")
        run = runs.filter(start_token=self.token).first()
        if run is not None and run.start_digest != self.digest:
            raise IdempotencyKeyReused(run)
        return run


NOT_REPEATED = IdempotencyKey(None, "")


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()
