"""Grants: who may do what with a master key, handed out and taken away (KMS: CreateGrant).

`grantees` are the users and groups that grants name, and show grants with their names. Users and
groups that are deleted take their grants with them. Otherwise a user who is given the same primary
key later would have them.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import router, transaction
from django.db.models import Model
from django.db.models.signals import post_delete
from django.utils import timezone
from django.utils.translation import gettext as _

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.databases.base import as_django_has_it
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, MasterKeyUnusable
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.grants import grantees
from envelope_fields.grants.grantees import Grantee, ListedGrant, grantee, list_grants
from envelope_fields.lifecycle.context import key_transaction, locked_key, locking
from envelope_fields.lifecycle.keys import Key
from envelope_fields.models import KeyGrant, KeyState, MasterKey
from envelope_fields.policy import UNBOUND, Action, Principal, current_principal, require
from envelope_fields.policy.users import models_of

__all__ = ["LastGrant", "ListedGrant", "grant", "list_grants", "revoke"]

# What is done to the value of a field, and can be limited to a context.
LIMITED = frozenset({Action.ENCRYPT, Action.DECRYPT})
_UID = "envelope_fields.grants"


class LastGrant(EnvelopeError):
    """Without this grant, only the application could hand out rights on the key."""


def grant(
    key: Key,
    to: Any,
    actions: Iterable[Action | str],
    *,
    context: str = "",
    expires_at: datetime | None = None,
    actor: Any = None,
) -> KeyGrant:
    """Let a user, or the users of a group, do something with a master key (KMS: CreateGrant).

    It holds at once in this process, in others within `KEY_CACHE_SECONDS`. The same grant again is
    the one that is there.

    Args:
        key: a master key, its id or its alias.
        to: a saved user or group.
        actions: an `Action` or more, or their names.
        context: `app.model` or `app.model.field`, to limit encrypt and decrypt to values of it.
        expires_at: when it ends; None is never.
        actor: the user on whose behalf this is done, who needs `manage_grants` on the key; None is
            the principal of the request, or the application.

    Raises:
        ValidationError: an unknown action or context, or a time that is over.
        TypeError: `to` is neither a user nor a group; `context` or `expires_at` is of another type.
        KeyAccessDenied: the actor may not.
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is destroyed.
    """
    named = _checked_actions(actions)
    path = _checked_context(context, named)
    end = _checked_time(expires_at)
    named_grantee = grantees.grantee_of(to)
    with locking(key) as (using, row, _version):
        principal = require(Action.MANAGE_GRANTS, row, actor, using=using)
        if row.state == KeyState.DESTROYED:
            raise MasterKeyUnusable(f"The master key {row} is destroyed and cannot be used.")
        columns = {**named_grantee.columns(), "context": path, "expires_at": end}
        for there in row.grants.using(using).filter(**columns):
            if set(there.actions) == set(named) and grantee(there) == named_grantee:
                return there
        made = KeyGrant(master_key=row, actions=[str(action) for action in named], **columns)
        made.save(using=using, force_insert=True)
        audit.record(
            "create_grant",
            actor=principal,
            using=using,
            key=row,
            after=grantees.event_content(made, grantees.name_of(to)),
        )
    return made


def revoke(grant: KeyGrant, *, actor: Any = None, override: str | None = None) -> None:
    """Take a grant away (KMS: RevokeGrant).

    It ends at once in this process, in others within `KEY_CACHE_SECONDS`. Doing it twice does
    nothing.

    Args:
        grant: its row.
        actor: the user on whose behalf this is done, who needs `manage_grants` on the key; None is
            the principal of the request, or the application.
        override: the alias of the key, to take away the last grant that can manage its grants:
            after that, only the application can.

    Raises:
        KeyAccessDenied: the actor may not.
        LastGrant: it is the last one that can manage grants, and `override` does not name the key.
        MasterKeyNotFound: there is no such key.
        TypeError: it is no grant.
    """
    if not isinstance(grant, KeyGrant):
        raise TypeError(f"{type(grant).__name__} is not a KeyGrant, as grant() returns it")
    with key_transaction() as using:
        key = locked_key(using, grant.master_key_id)
        principal = require(Action.MANAGE_GRANTS, key, actor, using=using)
        row = key.grants.using(using).filter(pk=grant.pk).first()
        if row is None:
            return
        if override != str(key) and _is_last(row, key, using):
            raise LastGrant(
                f"No other grantee can manage the grants on the master key {key} for as long. "
                "Grant manage_grants to another user or group first; or name the key on purpose: "
                f"override={str(key)!r}, or --override."
            )
        to = grantees.rows_of({grantee(row)}).get(grantee(row))
        before = grantees.event_content(row, grantees.name_of(to))
        if key.grants.using(using).filter(pk=row.pk).delete()[0]:  # or its grantee was deleted
            audit.record("revoke_grant", actor=principal, using=using, key=key, before=before)


def _is_last(grant: KeyGrant, key: MasterKey, using: str) -> bool:
    """Whether no other grantee could manage grants for as long as this one lasts."""
    if key.state == KeyState.DESTROYED:
        return False
    managing = [row for row in key.grants.using(using) if _manages(row)]
    if grant.pk not in {row.pk for row in managing}:
        return False
    lasting = [row for row in managing if _lasts_as_long(row, grant)]
    known = grantees.rows_of({grantee(row) for row in lasting})
    effective = {row.pk for row in lasting if grantees.is_effective(known.get(grantee(row)))}
    return effective == {grant.pk}


def _lasts_as_long(row: KeyGrant, grant: KeyGrant) -> bool:
    if row.expires_at is None or grant.expires_at is None:
        return row.expires_at is None
    return row.expires_at >= grant.expires_at


def _manages(grant: KeyGrant) -> bool:
    unexpired = grant.expires_at is None or grant.expires_at > timezone.now()
    listed = grant.actions if isinstance(grant.actions, list) else []
    return unexpired and not grant.context and Action.MANAGE_GRANTS in listed


def _checked_actions(actions: Iterable[Action | str]) -> list[Action]:
    """Return actions in the order of `Action`, each once."""
    given = [actions] if isinstance(actions, str) else list(actions)
    unknown = [action for action in given if action not in set(Action)]
    if unknown or not given:
        what = (
            _("There is no action %(action)r.") % {"action": unknown[0]}
            if unknown
            else _("Name at least one action.")
        )
        valid = _("Valid: %(actions)s.") % {"actions": ", ".join(Action)}
        raise ValidationError({"actions": f"{what} {valid}"})
    return [action for action in Action if action in given]


def _checked_time(expires_at: datetime | None) -> datetime | None:
    if expires_at is None:
        return None
    if not isinstance(expires_at, datetime):
        raise TypeError(
            f"expires_at is {type(expires_at).__name__}, not datetime: "
            "timezone.now() + timedelta(days=7)"
        )
    try:
        if timezone.is_aware(expires_at):
            expires_at.astimezone(UTC)  # as which it is stored
    except OverflowError:
        raise ValidationError({"expires_at": _("This time is too far away.")}) from None
    now = timezone.now()
    if timezone.is_naive(now):  # USE_TZ = False
        expires_at = as_django_has_it(expires_at) if expires_at.tzinfo else expires_at
    elif timezone.is_naive(expires_at):
        raise ValidationError({"expires_at": _("A time without a time zone: use timezone.now().")})
    if expires_at <= now:
        raise ValidationError({"expires_at": _("This time is over.")})
    return expires_at


def _checked_context(context: str, actions: Collection[Action]) -> str:
    """Return a context as fields are named: lower-cased, and of the model that owns the column."""
    if not context:
        return ""
    if not isinstance(context, str):
        raise TypeError(
            f"context is {type(context).__name__}, not str: 'app.model' or 'app.model.field'"
        )
    unlimited = sorted(set(actions) - LIMITED)
    if unlimited:
        what = _(
            "In a context there are only encrypt and decrypt, not %(action)s. Make another grant "
            "for it, without a context."
        )
        raise ValidationError({"context": what % {"action": unlimited[0]}})
    app_label, model_name, *names = [*context.split(".", 2), ""][:3]
    model = _model(app_label, model_name, context)
    return _field_path(model, names[0], context) if names[0] else _model_path(model)


def _model(app_label: str, name: str, context: str) -> type[Model]:
    try:
        return apps.get_model(app_label, name)
    except (LookupError, ValueError):
        what = _("There is no model %(context)r: a context is app.model or app.model.field.")
        raise ValidationError({"context": what % {"context": context}}) from None


def _field_path(model: type[Model], name: str, context: str) -> str:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, EncryptedFieldMixin):
        what = _("%(context)r is not an encrypted field.")
        raise ValidationError({"context": what % {"context": context}})
    return field.field_path


def _model_path(model: type[Model]) -> str:
    owner = model._meta.concrete_model or model
    if not any(isinstance(field, EncryptedFieldMixin) for field in owner._meta.local_fields):
        what = _("%(model)s has no encrypted field of its own.")
        raise ValidationError({"context": what % {"model": owner._meta.label}})
    return owner._meta.label_lower


def connect() -> None:
    """Listen for users and groups that are deleted, once the models are there."""
    if apps.is_installed("django.contrib.auth"):
        for model in grantees.models():
            for each in models_of(model):
                post_delete.connect(_deleted, sender=each, dispatch_uid=_UID)


def _deleted(*, instance: Model, using: str, **_: Any) -> None:
    deleted = grantees.named_by(instance)
    if deleted is None:
        return
    remove = partial(_remove, deleted, grantees.name_of(instance))
    if using == router.db_for_write(type(instance)):
        remove()
    else:  # a copy, or the same row by another alias of its database: that shows when it is gone
        gone = partial(grantees.rows_of, {deleted})
        transaction.on_commit(lambda: gone() or remove(), using=using)


def _remove(deleted: Grantee, name: str) -> None:
    """Remove the grants of a grantee, also a last one, which is void."""
    using = configuration().database
    rows = grantees.stored_grants().filter(**deleted.columns())
    with audit.act(using):
        # All of them before the first event: `revoke` locks one before the head of the trail, too.
        named = [grant for grant in rows.order_by("pk") if grantee(grant) == deleted]
        all_grants = KeyGrant.objects.using(using)
        gone = [grant for grant in named if all_grants.filter(pk=grant.pk).delete()[0]]
        for grant in gone:
            before = grantees.event_content(grant, name)
            audit.record(
                "revoke_grant", actor=_actor(), using=using, key=grant.master_key, before=before
            )


def _actor() -> Principal:
    try:
        return current_principal()
    except KeyAccessDenied:
        return UNBOUND  # to delete a user takes no key; the event says what is known
