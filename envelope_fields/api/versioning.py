"""The version of the API: the name of a namespace around it, and the first where none says so."""

from __future__ import annotations

import re
from typing import Any

from django.urls import reverse
from rest_framework.exceptions import NotFound
from rest_framework.versioning import NamespaceVersioning

V1 = "v1"
_VERSION = re.compile(r"v\d+")


class ByNamespace(NamespaceVersioning):
    """Takes `include("envelope_fields.api.urls", namespace="v1")` for version 1, and none, too."""

    default_version = V1
    allowed_versions = (V1,)

    def determine_version(self, request: Any, *args: Any, **kwargs: Any) -> str:
        named = [name for name in _namespaces(request) if _VERSION.fullmatch(name)]
        if any(name not in self.allowed_versions for name in named):
            raise NotFound("There is no such version of this API.")
        return named[-1] if named else V1


def url_of(request: Any, name: str, **kwargs: Any) -> str:
    """Return the address of a view of the API, where the project has put it."""
    path = reverse(":".join([*_namespaces(request), name]), kwargs=kwargs)
    return str(request.build_absolute_uri(path))


def _namespaces(request: Any) -> list[str]:
    match = getattr(request, "resolver_match", None)
    return list(match.namespaces) if match else []
