"""What a declaration refers to: the columns behind names, paths and expressions."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from django.apps import AppConfig, apps as installed_apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Model, Q
from django.db.models.constants import LOOKUP_SEP
from django.db.models.lookups import IsNull

from envelope_fields.fields import EncryptedFieldMixin

AppConfigs = Iterable[AppConfig] | None


def checked_models(app_configs: AppConfigs) -> list[type[Model]]:
    """Return the models of the applications that are checked; None are all."""
    if app_configs is None:
        return list(installed_apps.get_models())
    return list(chain.from_iterable(app.get_models() for app in app_configs))


def all_models(app_configs: AppConfigs) -> list[type[Model]]:
    """Return the models of the whole project, whichever applications are checked."""
    registry = next((app.apps for app in app_configs or ()), None) or installed_apps
    return list(registry.get_models())


def encrypted_fields(models: Iterable[type[Model]]) -> Iterator[Any]:
    """Yield each encrypted field once, from the model that owns the column."""
    for model in models:
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedFieldMixin):
                yield field


def encrypted_field(model: type[Model], path: str) -> Any | None:
    """Return the encrypted field that a path like `patient__notes` comes upon, or None."""
    options = model._meta
    for name in path.split(LOOKUP_SEP):
        try:
            field: Any = options.pk if name == "pk" else options.get_field(name)
        except FieldDoesNotExist:  # a transform, or Django's to report
            return None
        if isinstance(field, EncryptedFieldMixin):
            return field
        relations = getattr(field, "path_infos", None)
        if not relations:
            return None
        options = relations[-1].to_opts
    return None


def encrypted_among(model: type[Model], declared: Any) -> list[Any]:
    """Return the encrypted fields that names, expressions or conditions read, each once."""
    found = (encrypted_field(model, path) for path in chain.from_iterable(map(paths, declared)))
    return list(dict.fromkeys(field for field in found if field is not None))


def paths(declared: Any) -> Iterator[str]:
    """Yield the paths of the columns that a name, `F`, `Q` or other expression reads.

    What only asks whether there is a value is left out: `isnull` works on an encrypted column.
    """
    if isinstance(declared, str):
        yield declared.removeprefix("-")
    elif isinstance(declared, F):
        yield declared.name  # type: ignore[attr-defined]  # not in the stubs
    elif isinstance(declared, Q):
        for child in declared.children:
            yield from _condition(child)
    elif hasattr(declared, "get_source_expressions") and not isinstance(declared, IsNull):
        for source in declared.get_source_expressions():
            yield from paths(source)


def _condition(child: Any) -> Iterator[str]:
    if not isinstance(child, tuple):
        yield from paths(child)
        return
    path, value = child
    if value is not None and not path.endswith(f"{LOOKUP_SEP}isnull"):
        yield path
    if not isinstance(value, str):
        yield from paths(value)
