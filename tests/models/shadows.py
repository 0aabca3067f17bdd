"""Models that copy the fields of another one, as those of histories do."""

import copy

from django.db import models


def shadow_of(model, *names):
    """Return a model with copies of some fields of another one, of which none is unique."""
    fields = {"__module__": model.__module__}
    for field in model._meta.local_fields:
        if field.name in names:
            copied = copy.copy(field)
            copied._unique = copied.unique = False
            copied.db_index = copied.serialize = True
            fields[field.name] = copied
    meta = type("Meta", (), {"app_label": "tests", "apps": model._meta.apps})
    return type(f"{model.__name__}History", (models.Model,), {**fields, "Meta": meta})
