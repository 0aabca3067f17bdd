"""The local root key: where it comes from, and what it says when it does not."""

import os
from base64 import b64decode, b64encode
from uuid import UUID

import pytest

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.root_keys.local import LocalRootKey, generate
from tests.root_keys.contract import RootKeyContract
from tests.root_keys.services import FAULTS, Service

MATERIAL = bytes(range(32))
CONTEXT = KeyVersionContext(UUID(int=1), b"version1", 1, "encrypt_decrypt")
ANOTHER = CONTEXT._replace(number=2)


def test_generated_keys_are_256_bits_and_differ():
    keys = {generate() for _ in range(10)}
    assert len(keys) == 10
    assert all(len(b64decode(key)) == 32 for key in keys)


@pytest.fixture(params=["key", "env", "file"])
def root_key(request, tmp_path, monkeypatch):
    text = generate()
    if request.param == "key":
        return LocalRootKey(key=text)
    if request.param == "env":
        monkeypatch.setenv("A_ROOT_KEY", f" {text}\n")
        return LocalRootKey(env="A_ROOT_KEY")
    path = tmp_path / "root.key"
    path.write_text(text + "\n")
    path.chmod(0o400)
    return LocalRootKey(file=path)


def test_wrap_and_unwrap(root_key):
    root_key.check()
    wrapped = root_key.wrap(bytearray(MATERIAL), CONTEXT).material
    assert len(wrapped) == 73
    assert wrapped[0] == 1
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL
    assert root_key.wrap(bytearray(MATERIAL), CONTEXT).material != wrapped


def test_it_refuses_what_it_did_not_wrap(root_key):
    wrapped = root_key.wrap(bytearray(MATERIAL), CONTEXT).material
    with pytest.raises(RootKeyRefused):
        root_key.unwrap(wrapped, ANOTHER)
    with pytest.raises(RootKeyRefused):
        LocalRootKey(key=generate()).unwrap(wrapped, CONTEXT)
    for position in range(len(wrapped)):
        altered = bytearray(wrapped)
        altered[position] ^= 1
        with pytest.raises(RootKeyRefused):
            root_key.unwrap(bytes(altered), CONTEXT)
    for cut in (b"", wrapped[:-1], wrapped + b"\x00"):
        with pytest.raises(RootKeyRefused):
            root_key.unwrap(cut, CONTEXT)


@pytest.mark.parametrize(
    "text",
    ["", "short", b64encode(bytes(31)).decode(), b64encode(bytes(33)).decode(), "é" * 44,
     "!" * 44, b64encode(bytes(32)).decode()[:-1]],
)  # fmt: skip
def test_what_is_not_a_key_is_refused_and_not_shown(text, monkeypatch):
    monkeypatch.setenv("A_ROOT_KEY", text)
    for root_key in (LocalRootKey(env="A_ROOT_KEY"), LocalRootKey(key=text)):
        with pytest.raises(ValueError, match="generate_root_key") as caught:
            root_key.check()
        assert not text or text not in str(caught.value)


def test_a_key_in_the_place_of_its_name_is_not_shown():
    """As with `"env": os.environ["ENVELOPE_ROOT_KEY"]`."""
    key = generate()
    with pytest.raises(ValueError, match="is it the secret itself") as caught:
        LocalRootKey(env=key).check()
    assert key not in f"{caught.value}{LocalRootKey(env=key)!r}"
    with pytest.raises(TypeError, match="not the key itself") as caught:
        LocalRootKey(file=key)
    assert key not in str(caught.value)


def test_a_variable_that_is_not_set(monkeypatch):
    monkeypatch.delenv("A_ROOT_KEY", raising=False)
    with pytest.raises(ValueError, match=r"A_ROOT_KEY is not set.*generate_root_key"):
        LocalRootKey(env="A_ROOT_KEY").wrap(bytearray(32), CONTEXT)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*generate_root_key"):
        LocalRootKey(file=tmp_path / "none").check()
    with pytest.raises(RootKeyUnavailable, match="cannot be read"):
        LocalRootKey(file=tmp_path / ("x" * 5000)).check()


def test_what_is_not_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path, pipe):
        with pytest.raises(ValueError, match="is not a file"):
            LocalRootKey(file=path).check()


def test_a_file_with_more_than_a_key(tmp_path):
    path = tmp_path / "root.key"
    path.write_text(generate() + " " * 2000 + "more")
    path.chmod(0o600)
    with pytest.raises(ValueError, match="does not hold a root key"):
        LocalRootKey(file=path).check()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_a_file_that_others_can_reach(tmp_path, mode):
    path = tmp_path / "root.key"
    path.write_text(generate())
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        LocalRootKey(file=path).check()


@pytest.mark.parametrize("options", [{}, {"env": "A", "key": "B"}, {"key": b"bytes"}, {"env": 5}])
def test_bad_options(options):
    with pytest.raises(TypeError):
        LocalRootKey(**options)


def test_it_does_not_show_its_key():
    key = generate()
    assert key not in repr(LocalRootKey(key=key))
    assert key not in str(vars(LocalRootKey(env="A_ROOT_KEY")))


class LocalService(Service):
    without = dict.fromkeys(FAULTS, "a local root key is in no service")

    def __init__(self):
        self._key = generate()
        self.secrets = (self._key,)
        self.environment = {"A_ROOT_KEY_OF_WORKERS": self._key}

    def root_key(self):
        return LocalRootKey(key=self._key)

    def entry(self):
        return {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"env": "A_ROOT_KEY_OF_WORKERS"},
        }

    def another_key(self):
        return LocalRootKey(key=generate())

    def unknown_key(self):
        return LocalRootKey(env="A_VARIABLE_THAT_IS_NOT_SET")


@pytest.fixture(scope="module")
def service():
    return LocalService()


class TestContract(RootKeyContract):
    pass
