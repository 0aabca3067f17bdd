"""Tables of models that are in a registry of their own, while the tests of a module run."""

import functools
from contextlib import contextmanager

import pytest
from django.apps.registry import Apps
from django.db import connections


class Registry(Apps):
    """A registry of the models of one application that is not installed, with their relations."""

    def __init__(self, label):
        super().__init__()
        self.label = label

    @functools.cache  # noqa: B019 - as Django's own, which is told when a model is made
    def get_models(self, *args, **kwargs):
        return list(self.all_models[self.label].values())

    def get_model(self, app_label, model_name=None, require_ready=True):
        name = app_label.split(".")[1] if model_name is None else model_name
        return self.all_models[self.label][name.lower()]


@contextmanager
def made(models, django_db_blocker, databases=("default",)):
    """Make the tables of models, and drop them; a test without a database has none meanwhile."""
    with django_db_blocker.unblock():
        for alias in databases:
            with connections[alias].schema_editor() as editor:
                for model in models:
                    editor.create_model(model)
    try:
        yield
    finally:
        with django_db_blocker.unblock():
            for alias in databases:
                with connections[alias].schema_editor() as editor:
                    for model in reversed(models):
                        editor.delete_model(model)


def tables_of(models, *databases):
    """Return a fixture that makes the tables of models, and drops them after those of a module.

    Args:
        models: a registry of them, or the models themselves.
        *databases: the aliases of others beside the default one.
    """

    @pytest.fixture(scope="module", autouse=True)
    def tables(django_db_setup, django_db_blocker):
        found = models.get_models() if isinstance(models, Apps) else models
        found = [each for each in found if not each._meta.proxy]
        with made(found, django_db_blocker, ("default", *databases)):
            yield

    return tables
