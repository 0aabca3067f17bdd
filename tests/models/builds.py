"""A model as successive deployments of a project declare it, on one table.

`FIRST` has the first index alone; `BOTH` has the second, too, which replaces it; `SECOND` has that
alone. `OTHERWISE` is as `BOTH`, with another normaliser.
"""

from django.apps.registry import Apps
from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedEmailField, EncryptedQuerySet

LABEL, LABEL_2 = "tests.replaced.email_index", "tests.replaced.email_index_2"


def build(**indexes):
    """Return the model of a deployment that has these indexes."""
    meta = type("Meta", (), {"apps": Apps(["tests"]), "app_label": "tests"})
    body = {
        "__module__": __name__,
        "Meta": meta,
        "name": models.CharField(max_length=20, blank=True),
        "email": EncryptedEmailField(null=True, blank=True),
        "objects": EncryptedQuerySet.as_manager(),
        **indexes,
    }
    return type("Replaced", (models.Model,), body)


def index(normalizer="email", unique=True, **options):
    return BlindIndexField("email", normalizer=normalizer, unique=unique, **options)


FIRST = build(email_index=index())
BOTH = build(email_index=index(), email_index_2=index(replaces="email_index"))
SECOND = build(email_index_2=index())
OTHERWISE = build(
    email_index=index("exact"), email_index_2=index("casefold", replaces="email_index")
)
