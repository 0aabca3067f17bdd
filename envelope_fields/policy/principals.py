"""On whose behalf a key is used: a user, anonymous, or the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, named as rows name them.

    Attributes:
        type: `application`, `anonymous`, `nobody`, or the lower-cased label of the user model.
        id: the user's primary key as text.
        name: for people to read; decides nothing.
    """

    type: str
    id: str = ""
    name: str = field(default="", compare=False)
    key: str = field(init=False, repr=False, compare=False)  # type and id as one, quick to hash

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.type}:{self.id}")

    def __str__(self) -> str:
        # A name with line breaks makes no lines of its own, as in logs.
        named = self.name if self.name.isprintable() else repr(self.name)
        return f"{self.type} {self.id}".strip() + (f" ({named})" if named else "")


APPLICATION = Principal("application")
ANONYMOUS = Principal("anonymous")
NOBODY = Principal("nobody")  # in denials alone: code that nobody was bound to


def principal_of(actor: Any) -> Principal:
    """Return the principal that a user is; a principal is itself.

    Args:
        actor: a saved user, `AnonymousUser`, or a principal such as `APPLICATION`.

    Raises:
        TypeError: anything else, such as None or the user of another model.
    """
    if isinstance(actor, Principal):
        return actor
    if getattr(actor, "is_anonymous", False) is True:
        return ANONYMOUS
    if _is_user(actor) and actor.pk is not None:
        # Of a proxy or a child, too: one person has one name.
        return Principal(get_user_model()._meta.label_lower, str(actor.pk), actor.get_username())
    raise TypeError(
        f"{type(actor).__name__} is neither a saved user nor envelope_fields.policy.APPLICATION"
    )


def _is_user(actor: Any) -> bool:
    return apps.is_installed("django.contrib.auth") and isinstance(actor, get_user_model())
