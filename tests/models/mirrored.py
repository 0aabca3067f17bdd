"""A model with seventeen encrypted fields, declared in every way, and its mirror in clear.

Each has a child with a table of its own, and a proxy. They are in registries of their own; tests
make the tables, and have pickles find the models by `find_models()`.
"""

from types import SimpleNamespace

from django.apps import apps
from django.db import models

from envelope_fields import fields
from envelope_fields.fields import BlindIndexField, EncryptedQuerySet, EncryptedTextField
from tests.models.tables import Registry

ENCRYPTED = [
    *("early", "text", "char", "data", "amount", "day", "at", "flag", "size", "bound", "bound2"),
    *("email", "code", "first", "last", "keyed", "conv"),
]
PLAIN = ["num", "owner"]
ROW = [*ENCRYPTED, *PLAIN, "name"]
CHILD = [*ROW, "extra", "more", "ward"]
BOUND_TO = {"early": ["owner"], "bound": ["owner"], "bound2": ["owner", "num"], "extra": ["ward"]}
SEARCH_KEY = "mirrored-search"


def by_owner(row):
    return f"mirrored-{(row.owner or 0) % 2}"


def _made(label, is_encrypted):
    registry = Registry(label)

    def model(name, /, bases=(models.Model,), *, proxy=False, **attributes):
        options = {"app_label": label, "apps": registry, "proxy": proxy}
        attributes |= {"__module__": __name__, "Meta": type("Meta", (), options)}
        kind = type(name, bases, attributes)
        kind.__qualname__ = f"{label}_{name}"
        globals()[kind.__qualname__] = kind  # where pickle looks for it
        return kind

    def field(name, ours=None, **options):
        if is_encrypted:
            return getattr(fields, f"Encrypted{name}")(**options, **(ours or {}))
        return getattr(models, name)(**options)

    def by(*names):
        return {"bind_to": names}

    unique = {} if is_encrypted else {"unique": True}  # an encrypted one is by its index
    row = model(
        "Row",
        early=field("TextField", by("owner"), blank=True, default=""),
        name=models.CharField(max_length=30, unique=True),
        num=models.IntegerField(null=True),
        owner=models.IntegerField(default=0),
        text=field("TextField", blank=True, default=""),
        char=field("CharField", max_length=20, null=True),
        data=field("JSONField", default=dict),
        amount=field("DecimalField", max_digits=9, decimal_places=2, null=True),
        day=field("DateField", null=True),
        at=field("DateTimeField", null=True),
        flag=field("BooleanField", null=True),
        size=field("IntegerField", null=True),
        bound=field("TextField", by("owner"), default="b"),
        bound2=field("JSONField", by("owner", "num"), null=True),
        email=field("EmailField", null=True),
        code=field("CharField", max_length=20, null=True, **unique),
        first=field("CharField", max_length=20, default="f"),
        last=field("CharField", max_length=20, default="l"),
        keyed=field("TextField", {"key": by_owner}, default="k"),
        parent=models.ForeignKey(
            "self", models.SET_NULL, null=True, related_name="kids", db_constraint=False
        ),
        **(_indexed() if is_encrypted else {"conv": models.TextField(null=True)}),
    )  # fmt: skip
    child = model(
        "Child",
        (row,),
        extra=field("TextField", by("ward"), default="x"),
        ward=models.CharField(max_length=5, default="w"),
        more=field("JSONField", null=True),
    )
    proxy = model("Proxy", (row,), proxy=True)
    return SimpleNamespace(registry=registry, row=row, child=child, proxy=proxy)


def _indexed():
    return {
        "email_index": BlindIndexField("email", normalizer="email", key=SEARCH_KEY),
        "code_index": BlindIndexField("code", unique=True, key=SEARCH_KEY),
        "name_index": BlindIndexField("first", "last", key=SEARCH_KEY),
        "conv_clear": models.TextField(null=True),
        "conv": EncryptedTextField(null=True, converts="conv_clear"),
        "conv_index": BlindIndexField("conv", key=SEARCH_KEY),
        "objects": EncryptedQuerySet.as_manager(),
    }


ENVELOPES = _made("mirrored", is_encrypted=True)
IN_CLEAR = _made("mirrors", is_encrypted=False)


def find_models(monkeypatch):
    """Have pickles and fixtures find these models, which are of no application."""
    find = apps.get_model
    found = {each.registry.label: each.registry for each in (ENVELOPES, IN_CLEAR)}

    def get_model(app_label, model_name=None, require_ready=True):
        registry = found.get(app_label.partition(".")[0])
        if registry is None:
            return find(app_label, model_name, require_ready)
        return registry.get_model(app_label, model_name)

    monkeypatch.setattr(apps, "get_model", get_model)
