"""Ways in which values are on their way when something fails: for reports of any kind."""

from contextlib import contextmanager
from unittest.mock import patch

from django.db import IntegrityError
from django.db.models import Q
from django.db.models.sql.compiler import SQLInsertCompiler, SQLUpdateCompiler
from rest_framework.generics import CreateAPIView, UpdateAPIView
from rest_framework.serializers import ModelSerializer

SECRET = "diabetes mellitus since '97"
IN_JSON = "hæmophilia ünd mehr"
SEEN = "an ordinary title"


def ways(model, text, data):
    """Return what writes and looks for `SECRET` and `IN_JSON`, by its name.

    Args:
        model: with a title, and two encrypted fields.
        text, data: the names of these, the second one of JSON.
    """
    rows = model.objects
    values = {text: SECRET, data: [IN_JSON]}
    inner = {text: SECRET, data: {"of": {IN_JSON: 1}}}
    return {
        "create": lambda: rows.create(title=SEEN, **values),
        "get_or_create": lambda: rows.get_or_create(title="x", defaults=inner),
        "update_or_create": lambda: rows.update_or_create(title=SEEN, defaults=inner),
        "bulk_create": lambda: rows.bulk_create([model(title=SEEN, **values)]),
        "save": lambda: model(title=SEEN, **values).save(),
        "update": lambda: rows.update(title=SEEN, **values),
        "filter": lambda: list(rows.filter(title=SEEN, **values)),
        "filter by Q": lambda: list(rows.filter(Q(title=SEEN) | Q(**{f"{text}__in": [SECRET]}))),
    }


def views(model, text, data):
    """Return views of Django REST framework that create and update rows."""
    meta = type("Meta", (), {"model": model, "fields": ("title", text, data)})
    common = {
        "authentication_classes": (),
        "permission_classes": (),
        "queryset": model.objects.all(),
        "serializer_class": type("NoteSerializer", (ModelSerializer,), {"Meta": meta}),
    }
    return [type(view.__name__, (view,), common) for view in (CreateAPIView, UpdateAPIView)]


@contextmanager
def nothing_written(model):
    """Have every statement fail that writes a row of a model."""

    def failing(original):
        def execute_sql(self, *args, **kwargs):
            if self.query.get_meta().model is model:
                raise IntegrityError("no")
            return original(self, *args, **kwargs)

        return execute_sql

    insert, update = SQLInsertCompiler.execute_sql, SQLUpdateCompiler.execute_sql
    with (
        patch.object(SQLInsertCompiler, "execute_sql", failing(insert)),
        patch.object(SQLUpdateCompiler, "execute_sql", failing(update)),
    ):
        yield
