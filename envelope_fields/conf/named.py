"""Settings of other packages, which a declaration names and never holds."""

import os
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_ENVIRONMENT = "env:"
_NAME = re.compile(r"[A-Z][A-Z0-9_]*|env:[A-Za-z_][A-Za-z0-9_]*").fullmatch


class NamedSetting:
    """The name of a setting, or of an environment variable as `env:NAME`; None is never set.

    It is read when it is needed, and its value is shown nowhere.

    Raises:
        TypeError: it is not a name. That it may be a key is why the error does not show it.
    """

    __slots__ = ("name",)

    def __init__(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(
                "name a setting, such as 'FERNET_KEYS', or an environment variable, such as "
                f"'env:FERNET_KEYS', and not a value: this is of the type {type(name).__name__}."
            )
        if name is not None and not _NAME(name):
            del name  # error reports show variables
            raise TypeError(
                "name a setting in capital letters, such as 'FERNET_KEYS', or an environment "
                "variable, such as 'env:FERNET_KEYS'. This is neither: is it a key itself? Then "
                "move it into the settings, and take another, since the code has it."
            )
        self.name = name

    def value(self, default: Any = None) -> Any:
        """Return the value as it is now, or the default where it is not set."""
        if self._variable:
            return os.environ.get(self._variable, default)
        return default if self.name is None else getattr(settings, self.name, default)

    @property
    def _variable(self) -> str:
        """The name of the environment variable, where it is one."""
        name = self.name or ""
        return name.removeprefix(_ENVIRONMENT) if name.startswith(_ENVIRONMENT) else ""

    def values(self) -> list[Any]:
        """Return one or several values as a list; those of a variable have commas between them."""
        found = self.value()
        if found is None:
            return []
        if isinstance(found, str) and self._variable:
            return [each.strip() for each in found.split(",") if each.strip()]
        return list(found) if isinstance(found, list | tuple) else [found]

    def is_true(self, default: bool) -> bool:
        """Return whether it is switched on."""
        found = self.value(default)
        if isinstance(found, str):
            return found.lower() in ("1", "true", "yes", "on")
        return bool(found)

    def required(self) -> Any:
        """Return the value.

        Raises:
            ImproperlyConfigured: it is not set.
        """
        found = self.value()
        if found is None:
            raise ImproperlyConfigured(f"{self} is not set, and values are to be read with it.")
        return found

    def __str__(self) -> str:
        if self._variable:
            return f"the environment variable {self._variable}"
        return f"the setting {self.name}"

    def __repr__(self) -> str:
        return f"<NamedSetting {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedSetting) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def as_bytes(value: Any) -> bytes:
    """Return a key or salt of a setting as bytes: text as UTF-8."""
    return value if isinstance(value, bytes) else str(value).encode()
