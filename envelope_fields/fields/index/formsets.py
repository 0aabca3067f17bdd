"""Objects of one formset that would have the same in a unique index.

Django compares what is posted, and values that are not the same may have the same normal form.
"""

from collections.abc import Iterator
from functools import wraps
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.models import BaseModelFormSet

from envelope_fields.fields.index.uniqueness import IndexedUnique


def register() -> None:
    """Have formsets of models compare by blind indexes, too."""
    validate = BaseModelFormSet.validate_unique
    if hasattr(validate, "__wrapped__"):
        return

    @wraps(validate)
    def validate_unique(self: Any) -> None:
        errors: list[Any] = []
        try:
            validate(self)
        except ValidationError as error:
            errors += error.error_list
        errors += dict.fromkeys(_duplicates(self))
        if errors:
            raise ValidationError(errors)

    setattr(BaseModelFormSet, "validate_unique", validate_unique)  # noqa: B010 - not ours


def _duplicates(formset: Any) -> Iterator[str]:
    """Refuse each form whose object would be the same as that of one before it."""
    seen = set()
    for form in formset.forms:
        if form in formset.deleted_forms or not form.is_valid():
            continue
        for model, constraint in _constraints(form):
            row = constraint.row(model, form.instance, formset.unique_fields)
            if row is None:
                continue
            if (constraint.name, row) in seen:
                yield _refused(formset, form, constraint.asked_for(model))
            seen.add((constraint.name, row))


def _constraints(form: Any) -> Iterator[tuple[Any, IndexedUnique]]:
    excluded = form._get_validation_exclusions()
    for model, constraints in form.instance.get_constraints():
        for each in constraints:
            is_total = isinstance(each, IndexedUnique) and each.condition is None
            if is_total and excluded.isdisjoint(each.asked_for(model)):
                yield model, each


def _refused(formset: Any, form: Any, names: list[str]) -> str:
    message = formset.get_form_error()
    form._errors[NON_FIELD_ERRORS] = form.error_class([message], renderer=form.renderer)
    for name in names:  # it is not valid, and Django takes it out, too
        form.cleaned_data.pop(name, None)
    return str(formset.get_unique_error_message(names))
