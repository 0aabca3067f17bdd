"""What the options of a root key in Vault may be; nothing is asked."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")

from envelope_fields.root_keys.vault import VaultTransitRootKey

GOOD = {"url": "https://vault.example.com:8200", "key": "clinic", "token_env": "A_TOKEN"}
WAYS = [
    {"token_env": "A_TOKEN"},
    {"token_file": "/run/token"},
    {"token_file": Path("/run/token")},
    {"role_id": "an-id", "secret_id_file": "/run/secret-id"},
    {"role_id": "an-id", "secret_id_file": "/run/secret-id", "auth_mount_point": "apps/web"},
    {"kubernetes_role": "web"},
    {"kubernetes_role": "web", "kubernetes_token_file": "/run/token", "auth_mount_point": "k8s"},
]
NO_WAYS = [
    {},
    {"token_env": "A_TOKEN", "token_file": "/run/token"},
    {"token_env": ""},
    {"token_env": 5},
    {"token_file": b"/run/token"},
    {"role_id": "an-id"},
    {"secret_id_file": "/run/secret-id"},
    {"role_id": "an-id", "secret_id_file": "/run/secret-id", "token_env": "A_TOKEN"},
    {"token_env": "A_TOKEN", "secret_id_file": "/run/secret-id"},
    {"token_env": "A_TOKEN", "auth_mount_point": "approle"},
    {"kubernetes_token_file": "/run/token"},
    {"kubernetes_role": "web", "secret_id_file": "/run/secret-id"},
]
# A key's name is a part of a path, and so are the others.
TRICKS = [
    "",
    "a/b",
    "../secret/x",
    "..",
    ".",
    "a.b",
    "a b",
    "a%2fb",
    "a?b",
    "a#b",
    "ä",
    "a\n",
    "\na",
]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_a_token(way):
    options = {key: value for key, value in GOOD.items() if key != "token_env"}
    assert "clinic" in repr(VaultTransitRootKey(**options, **way))


@pytest.mark.parametrize("way", NO_WAYS)
def test_not_one_way_to_a_token(way):
    options = {key: value for key, value in GOOD.items() if key != "token_env"}
    with pytest.raises(TypeError, match=r"token_env|secret_id_file|auth_mount_point|token_file"):
        VaultTransitRootKey(**options, **way)


@pytest.mark.parametrize("name", [*TRICKS, "a" * 201])
def test_names_that_are_not_one_name(name):
    with pytest.raises((TypeError, ValueError), match="key "):
        VaultTransitRootKey(**{**GOOD, "key": name})


@pytest.mark.parametrize("option", ["mount_point", "namespace"])
@pytest.mark.parametrize("path", [*(trick for trick in TRICKS if trick != "a/b"), "/a", "a//b"])
def test_paths_that_go_elsewhere(option, path):
    with pytest.raises((TypeError, ValueError), match=option):
        VaultTransitRootKey(**{**GOOD, option: path})


@pytest.mark.parametrize("path", [*(trick for trick in TRICKS if trick != "a/b"), "/a", "a/"])
def test_login_methods_that_are_elsewhere(path):
    options = {**GOOD, "token_env": None, "kubernetes_role": "web"}
    with pytest.raises((TypeError, ValueError), match="auth_mount_point"):
        VaultTransitRootKey(**options, auth_mount_point=path)


def test_paths():
    VaultTransitRootKey(**GOOD, mount_point="clinic/transit-2", namespace="admin/clinic_1/")


@pytest.mark.parametrize(
    "url",
    ["https://vault", "https://[2001:db8::1]:8200/", "https://example.com/vault/here/",
     "http://127.0.0.1:8100", "http://localhost:8100", "http://[::1]:8100"],
)  # fmt: skip
def test_urls(url):
    assert url.rstrip("/") in repr(VaultTransitRootKey(**{**GOOD, "url": url}))


@pytest.mark.parametrize(
    "url",
    ["", "vault.example.com", "http://vault.example.com", "http://10.0.0.1:8200", "ftp://vault",
     "https://", "https://:8200", "https://user:s3cret@vault", "https://vault?token=s3cret",
     "https://vault#s3cret", "https://vault\n", "https://va ult", "https://vault:82:00",
     "https://vault:port", None, 5],
)  # fmt: skip
def test_urls_that_are_not_of_vault(url):
    with pytest.raises((TypeError, ValueError), match="url") as caught:
        VaultTransitRootKey(**{**GOOD, "url": url})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), True, "5", None])
def test_timeouts(timeout):
    with pytest.raises((TypeError, ValueError), match="timeout is a number of seconds"):
        VaultTransitRootKey(**GOOD, timeout=timeout)


@pytest.mark.parametrize("ca_file", ["", 5, b"/etc/ca.pem"])
def test_files_of_a_ca(ca_file):
    with pytest.raises(TypeError, match="ca_file"):
        VaultTransitRootKey(**GOOD, ca_file=ca_file)


def test_without_the_client(monkeypatch):
    for name in [
        name for name in sys.modules if name.startswith("envelope_fields.root_keys.vault")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(ImportError, match=r"django-envelope-fields\[vault\]"):
        import envelope_fields.root_keys.vault  # noqa: F401
