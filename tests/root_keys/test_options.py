"""What options name: seconds, functions, and files that hold a secret."""

import os

import pytest

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.options import (
    OTHERS,
    WrongSetting,
    imported,
    read_private,
    seconds,
    variable,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pin"
    path.write_text("a secret\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_it_returns_the_text(path, mode):
    path.chmod(mode)
    assert read_private(path, "a PIN") == "a secret\n"


def test_secrets_are_no_names_of_variables():
    assert variable("pin_env", "HSM_PIN") == "the environment variable HSM_PIN"
    for secret in ("1234", "hvs.CAESIJ", "c2VjcmV0=", "correct horse"):
        assert secret not in variable("token_env", secret)


def test_what_is_not_there_is_for_the_caller(path):
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_private(path, "a PIN")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_what_others_can_reach(path, mode):
    path.chmod(mode)
    with pytest.raises(ValueError, match=rf"pin holds a PIN .*{mode:04o}.*chmod 600") as caught:
        read_private(path, "a PIN")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize(
    ("mode", "closed_to", "is_read"),
    [(0o640, OTHERS, True), (0o660, OTHERS, True), (0o644, OTHERS, False), (0o666, 0, True)],
)
def test_what_an_agent_wrote_for_others(path, mode, closed_to, is_read):
    path.chmod(mode)
    if is_read:
        assert read_private(path, "a token", closed_to) == "a secret\n"
    else:
        with pytest.raises(ValueError, match=f"{mode:04o}"):
            read_private(path, "a token", closed_to)


def test_what_is_not_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path, pipe):
        with pytest.raises(ValueError, match=r"is not a file.*a PIN"):
            read_private(path, "a PIN")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(RootKeyUnavailable, match="cannot be read: File name too long"):
        read_private(tmp_path / ("x" * 5000), "a PIN")


def test_it_reads_no_more_than_a_secret_takes(path):
    path.write_bytes(b"\xff" * 10_000)
    assert read_private(path, "a PIN") == "\N{REPLACEMENT CHARACTER}" * 4096


def test_seconds():
    assert seconds(5) == seconds(5.0) == 5.0


@pytest.mark.parametrize("timeout", [0, -1, True, "5", None, float("inf"), float("nan")])
def test_what_is_no_time_out(timeout):
    with pytest.raises(ValueError, match="timeout is a number of seconds"):
        seconds(timeout)


def test_what_a_path_names():
    assert imported("session", "os.path.join") is os.path.join


@pytest.mark.parametrize("path", ["no.such.module", "os.path.no_such_function", "os.", "os"])
def test_a_path_that_names_nothing(path):
    with pytest.raises(WrongSetting, match=f"session names {path}, which cannot be imported"):
        imported("session", path)
