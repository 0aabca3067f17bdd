"""A model for each package that is installed, with one encrypted text."""

from __future__ import annotations

from django.db import models

from bench.peers.packages import PACKAGES

MODELS: dict[str, type[models.Model]] = {
    package.distribution: type(
        package.model, (models.Model,), {"__module__": __name__, "value": package.field()}
    )
    for package in PACKAGES
    if package.is_installed()
}
