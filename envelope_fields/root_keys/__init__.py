"""Root keys wrap master keys and live outside the database. One backend a module, or a folder."""

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.root_keys.base import MayNotUnwrap, RootKey, Unwrapped, Wrapped

__all__ = ["KeyVersionContext", "MayNotUnwrap", "RootKey", "Unwrapped", "Wrapped"]
