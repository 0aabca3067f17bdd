"""The users and groups that grants name, and how grants are listed and shown with their names."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Model, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.keys import Key, found_key
from envelope_fields.lifecycle.representation import as_text
from envelope_fields.models import KeyGrant
from envelope_fields.policy import users


class Grantee(NamedTuple):
    """A user or group, named as grants name them."""

    type: str
    id: str

    def columns(self) -> dict[str, str]:
        """Return what the grants of the grantee have in their columns.

        Look at them once more: a database may compare without case, or without spaces at the end.
        """
        return {"principal_type": self.type, "principal_id": self.id}


def grantee_of(to: Any) -> Grantee:
    """Return how grants name a saved user or group.

    Raises:
        TypeError: it is neither.
        ValidationError: its row is not in the database any more.
    """
    named = named_by(to)
    if named is None:
        raise TypeError(
            f"{type(to).__name__} is neither a saved user nor a group that users are in"
        )
    if not rows_of({named}):
        what = _("There is no %(kind)s %(name)s any more.")
        words = {"kind": to._meta.verbose_name, "name": name_of(to)}
        raise ValidationError({"principal_id": what % words})
    return named


def named_by(row: Any) -> Grantee | None:
    """Return how grants name a row; None where it is neither a saved user nor a group."""
    for model in models():
        if isinstance(row, model) and row.pk is not None:
            return Grantee(model._meta.label_lower, str(row.pk))
    return None


def named_user(name: str) -> Any | None:
    """Return the user of this very name, as for the login; None where there is none."""
    model: Any = get_user_model()
    return _named(model, model.USERNAME_FIELD, name)


def named_group(name: str) -> Any | None:
    """Return the group of this very name, if users are in groups; None where there is none."""
    model = users.group_model()
    return None if model is None else _named(model, "name", name)


def named_grantee(kind: str, name: str) -> Any:
    """Return the `user` or `group` of a name, as `kind` says which.

    Raises:
        ValidationError: there is none.
    """
    if kind == "group":
        row, what = named_group(name), _("There is no group of this name.")
    else:
        row, what = named_user(name), _("There is no user of this name.")
    if row is None:
        raise ValidationError({kind: what})
    return row


def _named(model: type[Model], column: str, name: str) -> Any | None:
    # Some databases find one that differs in case; and other columns may be encrypted.
    rows = _rows(model).filter(**{column: name}).only("pk", *_columns(model))
    return next((row for row in rows if getattr(row, column) == name), None)


def rows_of(grantees: set[Grantee]) -> dict[Grantee, Any]:
    """Return the users and groups that are there, by their names."""
    found = {}
    for model in models():
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


def grantee(grant: KeyGrant) -> Grantee:
    """Return whom a grant names."""
    return Grantee(grant.principal_type, grant.principal_id)


def models() -> list[type[Model]]:
    """Return the models whose rows grants name: that of users, and that of groups."""
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


# -- Grants, for the admin, the API, commands and the audit trail ---------------------------------


@dataclass(frozen=True)
class ListedGrant:
    """A grant, and what is known of its grantee.

    Attributes:
        grant: its row, with its master key.
        name: the name of the user or group; empty where there is none any more.
        void: why it is of no use: `expired`, `gone` or `inactive` (a group without an active user,
            too); empty where it is.
    """

    grant: KeyGrant
    name: str
    void: str


def list_grants(key: Key | None = None, to: Any = None) -> list[ListedGrant]:
    """Return the grants on a key, or of a user or group, or all of them.

    Args:
        key: a master key, its id or its alias; None is every key.
        to: a user or group; None is all of them.

    Raises:
        MasterKeyNotFound: there is no such key.
        TypeError, ValidationError: `to` is neither a user nor a group, or is gone.
    """
    rows = stored_grants()
    if key is not None:
        rows = rows.filter(master_key=found_key(rows.db, key))
    named = None if to is None else grantee_of(to)
    if named is not None:
        rows = rows.filter(**named.columns())
    found = rows.order_by("master_key__alias", "pk")
    return described([row for row in found if named in (None, grantee(row))])


def stored_grants() -> QuerySet[KeyGrant]:
    """Return all rows of grants, with their keys."""
    return KeyGrant.objects.using(configuration().database).select_related("master_key")


def described(grants: list[KeyGrant]) -> list[ListedGrant]:
    """Return rows of grants with what is known of their grantees."""
    known = rows_of({grantee(row) for row in grants})
    effective = are_effective(known)
    return [
        ListedGrant(row, name_of(known.get(grantee(row))), _void(row, known, effective))
        for row in grants
    ]


def _void(grant: KeyGrant, known: dict[Grantee, Any], effective: dict[Grantee, bool]) -> str:
    named = grantee(grant)
    if named not in known:
        return "gone"
    if not effective[named]:
        return "inactive"
    if grant.expires_at is not None and grant.expires_at <= timezone.now():
        return "expired"
    return ""


def grant_content(listed: ListedGrant) -> dict[str, Any]:
    """Return a grant as plain data, and what is known of its grantee."""
    grant = listed.grant
    return {
        "grant": grant.pk,
        "key": grant.master_key.alias,
        "key_id": str(grant.master_key_id),
        "principal_type": grant.principal_type,
        "principal_id": grant.principal_id,
        "name": listed.name,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": grant.expires_at,
        "void": listed.void,
    }


def grantee_text(listed: ListedGrant) -> str:
    """Name the grantee of a grant, with what they are."""
    return f"{listed.grant.principal_type} {listed.name or listed.grant.principal_id}"


def event_content(grant: KeyGrant, name: str) -> dict[str, Any]:
    """Return a grant as an event has it, with the name of its grantee; empty if that is deleted."""
    grantee = f"{grant.principal_type} {grant.principal_id}"
    return {
        "grant": grant.pk,
        "principal": f"{grantee} ({name})" if name else grantee,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": as_text(grant.expires_at),
    }
