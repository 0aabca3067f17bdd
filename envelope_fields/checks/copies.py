"""What other packages keep: rows of keys, values in clear, and texts of objects that have one."""

from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db.models import Model

from envelope_fields.checks.models import (
    AppConfigs,
    checked_models,
    encrypted_among,
    encrypted_fields,
)
from envelope_fields.checks.packages import installed
from envelope_fields.checks.tables import key_models
from envelope_fields.checks.views import read_by
from envelope_fields.models import MasterKey


def check_copies_of_keys(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Look for packages that keep rows of keys: states that are not asked anew, wraps that stay."""
    rows = [model for model in key_models() if model is MasterKey or _has_wraps(model)]
    return [
        Warning(
            f"{package.name} keeps rows of keys in {package.kept_in}: "
            f"{', '.join(model._meta.label for model in copied)}.",
            hint=f"{package.leave_out} A wrap that is kept outlives the destruction of its key, "
            "and a state that is cached is not that of the database.",
            id="envelope_fields.W073",
        )
        for package in installed()
        if package.leave_out and (copied := [each for each in rows if package.copies(each, None)])
    ]


def _has_wraps(model: type[Model]) -> bool:
    return any(field.name == "wrapped_material" for field in model._meta.fields)


def check_copies_of_values(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Look for packages that keep values of encrypted fields in clear."""
    return [
        Warning(
            f"{package.name} keeps values of {', '.join(copied)} in clear, in {package.kept_in}.",
            hint=package.leave_out_field,
            obj=model,
            id="envelope_fields.W072",
        )
        for package in installed()
        if package.leave_out_field
        for model in checked_models(app_configs)
        if (copied := [each for each in _encrypted(model) if package.copies(model, each)])
    ]


def check_texts(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Look for packages that keep the text of an object, where that has an encrypted value."""
    return [
        Warning(
            f"'__str__' of {model._meta.label} reads the encrypted field {field}, and "
            f"{package.name} keeps that text in clear, in {package.text_in}.",
            hint="Have '__str__' return something else.",
            obj=model,
            id="envelope_fields.W047",
        )
        for package in installed()
        for model in checked_models(app_configs)
        if package.keeps_text and package.keeps_text(model)
        for field in encrypted_among(model, read_by(model, "__str__", set()))
    ]


def _encrypted(model: type[Model]) -> list[str]:
    return [field.name for field in encrypted_fields([model])]
