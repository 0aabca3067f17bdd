"""The options of a root key in Vault, checked before anything is asked."""

import os
import re
from ipaddress import ip_address
from math import isfinite
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from envelope_fields.root_keys.vault.login import (
    SERVICE_ACCOUNT_TOKEN,
    AppRole,
    GivenToken,
    Kubernetes,
    Login,
)
from envelope_fields.root_keys.vault.session import Server

# Names are parts of paths: with `../` in one, what is wrapped would go to another engine.
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
# No user and password, no query: nothing secret, and nothing to which paths cannot be added.
_URL: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
)
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*/?")
# What it stands for in the options, and what goes with it.
_PARTNERS: Final = {
    "token_env": (),
    "token_file": (),
    "role_id": ("secret_id_file", "auth_mount_point"),
    "kubernetes_role": ("kubernetes_token_file", "auth_mount_point"),
}


def server(url: Any, namespace: Any, ca_file: Any, timeout: Any) -> Server:
    """Return where Vault is.

    Raises:
        TypeError, ValueError: an option is wrong; as everywhere here.
    """
    if namespace is not None:
        _matching("namespace", namespace, _NAMESPACE)
    if ca_file is not None:
        _text("ca_file", ca_file, str | os.PathLike)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError("timeout is a number of seconds")
    if not (isfinite(timeout) and timeout > 0):
        raise ValueError("timeout is a number of seconds above 0")
    return Server(_url(url), namespace, ca_file, timeout)


def key_name(key: Any) -> str:
    """Return the name of a transit key."""
    return _matching("key", key, _KEY)


def path(name: str, value: Any) -> str:
    """Return where an engine, or a login method, is mounted."""
    return _matching(name, value, _PATH)


def login(**options: Any) -> Login:
    """Return the way to a token that the options name, of which most are None."""
    given = {name: value for name, value in options.items() if value is not None}
    ways = given.keys() & _PARTNERS.keys()
    if len(ways) != 1:
        raise TypeError(f"give exactly one of the options {', '.join(_PARTNERS)}")
    [way] = ways
    for name in given.keys() - {way, *_PARTNERS[way]}:
        raise TypeError(f"the option {name} does not go with {way}")
    for name, value in given.items():
        _text(name, value, str | os.PathLike if name.endswith("_file") else str)
    return _login(way, given)


def _login(way: str, given: dict[str, Any]) -> Login:
    if way == "role_id":
        if "secret_id_file" not in given:
            raise TypeError("role_id needs secret_id_file")
        mounted_at = path("auth_mount_point", given.get("auth_mount_point", "approle"))
        return AppRole(given["role_id"], Path(given["secret_id_file"]), mounted_at)
    if way == "kubernetes_role":
        mounted_at = path("auth_mount_point", given.get("auth_mount_point", "kubernetes"))
        token_file = Path(given.get("kubernetes_token_file", SERVICE_ACCOUNT_TOKEN))
        return Kubernetes(given["kubernetes_role"], token_file, mounted_at)
    if way == "token_file":
        return GivenToken(None, Path(given["token_file"]))
    return GivenToken(given["token_env"], None)


def _url(url: Any) -> str:
    _text("url", url)
    if not _URL.fullmatch(url):
        raise ValueError("url is an address such as https://vault.example.com:8200")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("url begins with https: what is wrapped is sent there")
    return str(url).rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _matching(name: str, value: Any, pattern: re.Pattern[str]) -> str:
    _text(name, value)
    if not pattern.fullmatch(value):
        raise ValueError(
            f"{name} has other characters than letters, digits, - and _"
            f"{'' if pattern is _KEY else ', with / between names'}, or is too long"
        )
    return str(value)


def _text(name: str, value: Any, kinds: Any = str) -> None:
    if not isinstance(value, kinds) or not os.fspath(value):
        raise TypeError(f"{name} is text, and not empty")
