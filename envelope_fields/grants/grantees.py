"""The users and groups that grants name."""

from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from envelope_fields.models import KeyGrant
from envelope_fields.policy import users


class Grantee(NamedTuple):
    """A user or group, named as grants name them."""

    type: str
    id: str


def grantee_of(to: Any) -> Grantee:
    """Return how grants name a user or group.

    Args:
        to: a saved user or group.

    Raises:
        TypeError: it is neither.
        ValidationError: its row is not in the database any more.
    """
    for model in _models():
        if isinstance(to, model) and to.pk is not None:
            if not _rows(model).filter(pk=to.pk).exists():
                what = _("There is no %(kind)s %(name)s any more.")
                named = {"kind": to._meta.verbose_name, "name": name_of(to)}
                raise ValidationError({"principal_id": what % named})
            return Grantee(model._meta.label_lower, str(to.pk))
    raise TypeError(f"{type(to).__name__} is neither a saved user nor a group that users are in")


def named_user(name: str) -> Any | None:
    """Return the user of this very name, as for the login; None where there is none."""
    model: Any = get_user_model()
    return _named(model, model.USERNAME_FIELD, name)


def named_group(name: str) -> Any | None:
    """Return the group of this very name, if users are in groups; None where there is none."""
    model = users.group_model()
    return None if model is None else _named(model, "name", name)


def named_grantee(kind: str, name: str) -> Any:
    """Return the user or group of a name.

    Args:
        kind: `user` or `group`.
        name: as for the login, or of the group.

    Raises:
        ValidationError: there is none.
    """
    row = named_group(name) if kind == "group" else named_user(name)
    if row is None:
        what = _("There is no user of this name.")
        if kind == "group":
            what = _("There is no group of this name.")
        raise ValidationError({kind: what})
    return row


def _named(model: type[Model], column: str, name: str) -> Any | None:
    # Some databases find one that differs in case; and other columns may be encrypted.
    rows = _rows(model).filter(**{column: name}).only("pk", *_columns(model))
    return next((row for row in rows if getattr(row, column) == name), None)


def rows_of(grantees: set[Grantee]) -> dict[Grantee, Any]:
    """Return the users and groups that are there, by their names."""
    found = {}
    for model in _models():
        ids = [grantee.id for grantee in grantees if grantee.type == model._meta.label_lower]
        keys = [key for key in (_primary_key(model, text) for text in ids) if key is not None]
        for row in _rows(model).filter(pk__in=keys).only(*_columns(model)):
            found[Grantee(model._meta.label_lower, str(row.pk))] = row
    return found


def name_of(row: Any) -> str:
    """Return the name of a user or group for people, without a look at what may be encrypted."""
    if row is None:
        return ""
    return str(row.get_username() if isinstance(row, get_user_model()) else row)


def is_effective(row: Any) -> bool:
    """Whether a grant to this user or group is of use to any active user."""
    model = get_user_model()
    if row is None or isinstance(row, model):
        return bool(row and row.is_active)
    members = _rows(model).filter(groups=row.pk)
    if users.is_column(model, "is_active"):
        return members.filter(is_active=True).exists()
    return any(user.is_active for user in members)


def are_effective(rows: dict[Grantee, Any]) -> dict[Grantee, bool]:
    """Say of users and groups what `is_effective` does, with one query for all groups."""
    model = get_user_model()
    groups = [row.pk for row in rows.values() if not isinstance(row, model)]
    if not groups or not users.is_column(model, "is_active"):
        return {grantee: is_effective(row) for grantee, row in rows.items()}
    members = _rows(model).filter(groups__in=groups, is_active=True)
    with_members = set(members.values_list("groups", flat=True))
    return {
        grantee: is_effective(row) if isinstance(row, model) else row.pk in with_members
        for grantee, row in rows.items()
    }


def granted_to(grantee: Grantee) -> Q:
    """Return the condition for the grants of one grantee.

    Look at them once more: a database may compare without case, or without spaces at the end.
    """
    return Q(principal_type=grantee.type, principal_id=grantee.id)


def grantee(grant: KeyGrant) -> Grantee:
    """Return whom a grant names."""
    return Grantee(grant.principal_type, grant.principal_id)


def _models() -> list[type[Model]]:
    groups = users.group_model()
    return [get_user_model(), *([groups] if groups else [])]


def _rows(model: type[Model]) -> QuerySet[Any]:
    return QuerySet(model, using=router.db_for_write(model)).order_by()


def _columns(model: type[Model]) -> list[str]:
    """Return what is needed of a row; the rest may be encrypted."""
    wanted = (getattr(model, "USERNAME_FIELD", "name"), "is_active")
    return ["pk", *(name for name in wanted if users.is_column(model, name))]


def _primary_key(model: type[Model], text: str) -> Any:
    try:
        return model._meta.pk.to_python(text)
    except ValidationError:
        return None
