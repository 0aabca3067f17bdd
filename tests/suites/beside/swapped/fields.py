"""Encrypted fields in the place of those that a model of another package declares."""

from django.apps import apps
from django.db.models import UniqueConstraint
from django.db.models.signals import class_prepared

# What the declaration of a field says of its values, whatever their column is.
KEPT = ("blank", "editable", "help_text", "max_length", "null")


def swapped(label):
    """Have a model be made with other fields than it declares: those that a function returns.

    It returns a class of encrypted fields by the name of each, or a blind index, which is new. Our
    fields are imported when models are, and not before.

    Args:
        label: `app_label.Model`.
    """

    def connect(chosen):
        def prepared(*, sender, **_):
            # Models of a migration have the same label, and what the migration says.
            if sender._meta.label == label and sender._meta.apps is apps:
                fields = chosen()
                for name, made in fields.items():
                    _put(sender, name, made)
                _index_constraints(sender, fields)

        class_prepared.connect(prepared, weak=False, dispatch_uid=f"swapped.{label}")
        return chosen

    return connect


def _put(model, name, made):
    model.add_to_class(name, _instead(model, name, made) if isinstance(made, type) else made)


def _instead(model, name, field_class):
    """Return an encrypted field for a plain one, and take that out of its model."""
    (plain,) = (each for each in model._meta.local_fields if each.name == name)
    model._meta.local_fields.remove(plain)
    delattr(model, plain.attname)
    made = field_class(
        plain._verbose_name,
        default=plain.default,
        error_messages=plain._error_messages,
        validators=plain._validators,
        **{option: getattr(plain, option) for option in KEPT},
    )
    made.creation_counter = plain.creation_counter  # which orders the fields of a form
    return made


def _index_constraints(model, names):
    """Have what keeps encrypted values unique be over their indexes."""
    from envelope_fields.fields import IndexedUnique

    options = model._meta
    plain = [set_of for set_of in options.unique_together if names.keys().isdisjoint(set_of)]
    together = [set_of for set_of in options.unique_together if set_of not in plain]
    options.unique_together = tuple(plain)
    options.constraints = [
        *(_indexed(each, names) for each in options.constraints),
        *(IndexedUnique(fields=each, name="_".join(["unique", *each])) for each in together),
    ]
    vars(options).pop("total_unique_constraints", None)


def _indexed(constraint, names):
    from envelope_fields.fields import IndexedUnique

    if not isinstance(constraint, UniqueConstraint) or names.keys().isdisjoint(constraint.fields):
        return constraint
    return IndexedUnique(
        fields=constraint.fields, name=constraint.name, condition=constraint.condition
    )
