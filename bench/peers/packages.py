"""The other packages: how each is set up and its text field declared.

Each gets one static key, as its documentation shows.
"""

from __future__ import annotations

import os
from base64 import b64encode, b85encode, urlsafe_b64encode
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import Field, TextField

AnyField = Field  # generic in the stubs only


class Package(NamedTuple):
    """A package that has an encrypted text field."""

    distribution: str
    field: Callable[[], AnyField]
    settings: Callable[[Path], dict[str, Any]]  # given a directory for files

    @property
    def model(self) -> str:
        """The name of the model whose field is the package's."""
        return self.distribution.title().replace("-", "")

    def is_installed(self) -> bool:
        try:
            distribution(self.distribution)
        except PackageNotFoundError:
            return False
        return True


def _field(module: str, name: str) -> Callable[[], AnyField]:
    return lambda: getattr(import_module(module), name)()


def _wrapped_text_field() -> AnyField:
    return import_module("django_cryptography.fields").encrypt(TextField())


def _tink_settings(directory: Path) -> dict[str, Any]:
    import tink
    from tink import aead, json_proto_keyset_format, secret_key_access

    aead.register()
    handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
    keyset = directory / "tink.json"
    keyset.write_text(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN))
    return {"TINK_FIELDS_CONFIG": {"default": {"path": str(keyset), "cleartext": True}}}


def _nacl_settings(_: Path) -> dict[str, Any]:
    return {"NACL_FIELDS_KEY": b85encode(os.urandom(32)).decode()}


def _field_encryption_settings(_: Path) -> dict[str, Any]:
    key = urlsafe_b64encode(os.urandom(32)).decode()
    return {"DATA_PROTECTION_KEYS": {"v1": key}, "DATA_PROTECTION_ACTIVE_KEY_ID": "v1"}


def _cryptography_settings(_: Path) -> dict[str, Any]:
    return {"CRYPTOGRAPHY_KEY": b64encode(os.urandom(32)).decode()}


def _fernet_settings(_: Path) -> dict[str, Any]:
    return {"FERNET_KEYS": [b64encode(os.urandom(32)).decode()]}


PACKAGES = (
    Package(
        "django-tink-fields",
        _field("tink_fields.fields", "EncryptedTextField"),
        _tink_settings,
    ),
    Package(
        "django-nacl-fields",
        _field("nacl_encrypted_fields.fields", "NaClTextField"),
        _nacl_settings,
    ),
    Package(
        "django-field-encryption",
        _field("django_field_encryption.fields", "EncryptedTextField"),
        _field_encryption_settings,
    ),
    Package("django-cryptography-5", _wrapped_text_field, _cryptography_settings),
    Package(
        "django-fernet-fields-v2",
        _field("fernet_fields.fields", "EncryptedTextField"),
        _fernet_settings,
    ),
)
