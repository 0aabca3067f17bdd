"""Contexts: the values of one model, or of one field, that a grant is limited to."""

from __future__ import annotations

from collections.abc import Collection

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model
from django.utils.translation import gettext as _

from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.policy import Action

# What is done to the value of a field; everything else has no place.
PLACED = frozenset({Action.ENCRYPT, Action.DECRYPT})


def checked_context(context: str, actions: Collection[Action]) -> str:
    """Return a context as places are named: lower-cased, and of the model that owns the column.

    Args:
        context: `app.model` or `app.model.field`; empty is everywhere.
        actions: what the grant allows there.

    Raises:
        ValidationError: there is no such model or encrypted field, or an action has no place.
    """
    if not context:
        return ""
    placeless = sorted(set(actions) - PLACED)
    if placeless:
        what = _(
            "In a context there are only encrypt and decrypt, not %(action)s. Make another grant "
            "for it, without a context."
        )
        raise ValidationError({"context": what % {"action": placeless[0]}})
    app_label, model_name, *names = [*context.split(".", 2), ""][:3]
    model = _model(app_label, model_name, context)
    return _field_place(model, names[0], context) if names[0] else _model_place(model)


def _model(app_label: str, name: str, context: str) -> type[Model]:
    try:
        return apps.get_model(app_label, name)
    except (LookupError, ValueError):
        what = _("There is no model %(context)r: a context is app.model or app.model.field.")
        raise ValidationError({"context": what % {"context": context}}) from None


def _field_place(model: type[Model], name: str, context: str) -> str:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, EncryptedFieldMixin):
        what = _("%(context)r is not an encrypted field.")
        raise ValidationError({"context": what % {"context": context}})
    return field.place


def _model_place(model: type[Model]) -> str:
    owner = model._meta.concrete_model or model
    if not any(isinstance(field, EncryptedFieldMixin) for field in owner._meta.local_fields):
        what = _("%(model)s has no encrypted field of its own.")
        raise ValidationError({"context": what % {"model": owner._meta.label}})
    return owner._meta.label_lower
