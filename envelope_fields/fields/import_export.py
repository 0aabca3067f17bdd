"""django-import-export: masks are dots in exports, and dots leave the value of a row alone.

The column of a blind index is empty, and nothing is imported of it: it follows from its field.

Its widgets would write nothing for what is not a number or date, which is NULL when it is imported,
and read any text as a boolean.
"""

from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models.constants import LOOKUP_SEP
from django.utils.module_loading import import_string

from envelope_fields.fields.index import BlindIndexField
from envelope_fields.fields.masks import Mask, is_dots
from envelope_fields.fields.patches import extend
from envelope_fields.fields.validation import refuse


def register() -> None:
    """Have the columns of all resources know masks, where the project has installed it."""
    column = import_string("import_export.fields.Field")
    extend(column, "export", _exporting_dots)
    extend(column, "save", _leaving_values)


def _exporting_dots(export: Any) -> Any:
    def exported(self: Any, instance: Any, **kwargs: Any) -> Any:
        field = _field_in(self, instance)
        if isinstance(field, BlindIndexField):
            return ""
        # Of other columns, nothing is asked: they may call a method.
        value = self.get_value(instance) if hasattr(field, "to_plaintext") else None
        return str(value) if isinstance(value, Mask) else export(self, instance, **kwargs)

    return exported


def _leaving_values(save: Any) -> Any:
    def saved(self: Any, instance: Any, row: Any, *args: Any, **kwargs: Any) -> None:
        field = None if self.readonly else _field_in(self, instance)
        if isinstance(field, BlindIndexField):
            return
        if not getattr(field, "masks", False) or not is_dots(row.get(self.column_name)):
            save(self, instance, row, *args, **kwargs)
        elif not isinstance(self.get_value(instance), Mask):  # the user may read it, or it is new
            refuse(field, row[self.column_name])

    return saved


def _field_in(column: Any, instance: Any) -> Any:
    """Return the field of a model whose values a column has, or None."""
    model, field = type(instance), None
    try:
        for name in column.attribute.split(LOOKUP_SEP):
            field = model._meta.get_field(name)
            model = field.related_model
    except (AttributeError, FieldDoesNotExist):  # it is made of something else
        return None
    return field
