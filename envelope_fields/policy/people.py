"""Users as the database has them now: whether they are there and active, and their groups.

Their rows may be in another database than keys, so what is known of them is asked of theirs; and
only columns that the policy needs, since the others may be encrypted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import router
from django.db.models import Field, Model, QuerySet

from envelope_fields.models import key_changes
from envelope_fields.policy.acting import acting_as
from envelope_fields.policy.principals import APPLICATION, Principal


class Person(NamedTuple):
    """What the policy knows of a user."""

    is_active: bool
    is_superuser: bool
    groups: tuple[str, ...]


ABSENT = Person(is_active=False, is_superuser=False, groups=())


def person(principal: Principal) -> Person:
    """Return the user that a principal is; `ABSENT` if there is none."""
    if not apps.is_installed("django.contrib.auth"):
        return ABSENT
    model = get_user_model()
    if principal.type != model._meta.label_lower:
        return ABSENT
    # From where they are written: a replica may not have heard yet that somebody has left.
    users: QuerySet[Any] = QuerySet(model, using=router.db_for_write(model))
    try:
        return _read(model, users.filter(pk=principal.id))
    except (ValueError, ValidationError):  # not the text of a primary key
        return ABSENT


def uncommitted() -> bool:
    """Whether this thread has changed users in a transaction that may still be rolled back."""
    if not key_changes.any_people_uncommitted():
        return False
    return key_changes.people_uncommitted(router.db_for_write(get_user_model()))


def group_model() -> type[Model] | None:
    """Return the model of the groups that users are in, or None where they are in none."""
    if not apps.is_installed("django.contrib.auth"):
        return None
    try:
        related: Any = get_user_model()._meta.get_field("groups").related_model
    except FieldDoesNotExist:
        return None
    return related if isinstance(related, type) else None


def _read(model: type[Model], users: QuerySet[Any]) -> Person:
    columns = [name for name in ("is_active", "is_superuser") if is_column(model, name)]
    groups = ["groups"] if group_model() else []
    # Without the model's order: groups have one, too.
    rows = list(users.order_by().values_list(*(columns or ["pk"]), *groups))
    if not rows:
        return ABSENT
    known = dict(zip(columns, rows[0], strict=False))
    return Person(
        is_active=known["is_active"] if columns[:1] == ["is_active"] else _says_active(users),
        is_superuser=known.get("is_superuser", False),
        groups=tuple(str(row[-1]) for row in rows if row[-1] is not None) if groups else (),
    )


def is_column(model: type[Model], name: str) -> bool:
    """Whether a model keeps this in a column."""
    try:
        return isinstance(model._meta.get_field(name), Field)
    except FieldDoesNotExist:
        return False


def _says_active(users: QuerySet[Any]) -> bool:
    """Ask a user whose model has no column for it; AbstractBaseUser says yes."""
    with acting_as(APPLICATION):  # the user may have encrypted fields
        return all(getattr(user, "is_active", True) for user in users)
