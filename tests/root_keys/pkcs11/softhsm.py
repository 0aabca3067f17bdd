"""SoftHSM, a token in software: one in a directory of its own for the tests, and how it fails."""

import json
import os
import secrets
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import PyKCS11 as pkcs11
import pytest
from PyKCS11.LowLevel import CPKCS11Lib

from envelope_fields.root_keys.pkcs11 import Pkcs11RootKey
from tests.root_keys.services import Service

MODULES = (
    os.environ.get("SOFTHSM2_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
MAY_ALL = dict.fromkeys(("ENCRYPT", "DECRYPT", "WRAP", "UNWRAP"), True)
MAY_NOTHING = dict.fromkeys(MAY_ALL, False)
USES = ("C_EncryptInit", "C_DecryptInit", "C_WrapKey", "C_UnwrapKey")
ENDING = ("C_Encrypt", "C_Decrypt")  # with them ends what began with C_EncryptInit
SESSIONS = (*USES, "C_OpenSession", "C_Login", "C_GetSlotList", "C_FindObjectsInit")


def module():
    """Return the path of SoftHSM; where it is missing, the test is skipped, or fails."""
    found = next((path for path in MODULES if path and os.path.exists(path)), None)
    if found is None:
        reason = "SoftHSM is not installed (Debian's package softhsm2)"
        if os.environ.get("ENVELOPE_TEST_REQUIRE_ALL", "") not in ("", "0"):
            pytest.fail(f"{reason}, and every component is required")
        pytest.skip(reason)
    return found


class Token:
    """A token in a directory; the environment of this process says where that is."""

    label = "Clinic"

    def __init__(self, directory, patch):
        self.module = module()
        self.directory = Path(directory, "tokens")
        self.directory.mkdir()
        self.pin = secrets.token_hex(8)
        configuration = Path(directory, "softhsm2.conf")
        configuration.write_text(f"directories.tokendir = {self.directory}\nlog.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": str(configuration), "CLINIC_PIN": self.pin}
        for name, value in self.environment.items():
            patch.setenv(name, value)
        self.initialize(self.label)
        # The module stays loaded in this process; what it knows of is the last token's.
        self.library = pkcs11.PyKCS11Lib().load(self.module)
        self.forget()
        self.make("shared")

    def initialize(self, label):
        """Make a token."""
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", self.pin,
             "--so-pin", secrets.token_hex(8)],
            check=True, capture_output=True,
        )  # fmt: skip

    def change(self, *steps):
        """Make, change or destroy keys: in a process of its own, which logs in by itself.

        Each step is a verb (make, set, destroy), the label of a key, and attributes without CKA_.
        """
        program = [
            sys.executable,
            "-m",
            "tests.root_keys.pkcs11.keys_of_token",
            self.module,
            self.label,
        ]
        subprocess.run(
            [*program, self.pin], input=json.dumps(steps), text=True, check=True, timeout=60
        )

    def make(self, *labels, **attributes):
        """Make keys; what is not said of their attributes is in order."""
        self.change(*(("make", label, attributes) for label in labels))

    def root_key(self, label, **options):
        """Return a root key under a key of the token."""
        return Pkcs11RootKey(**{**self.options(label), **options})

    def options(self, label):
        return {
            "module": self.module,
            "token_label": self.label,
            "key_label": label,
            "pin_env": "CLINIC_PIN",
        }

    def end_sessions(self):
        """End all sessions of this process, as a token does that was plugged in again."""
        for slot in self.library.getSlotList(tokenPresent=True):
            self.library.closeAllSessions(slot)

    def forget(self):
        """Have the module forget everything, as when it lost its connection."""
        self.library.lib.C_Finalize()
        self.library.lib.C_Initialize()

    @contextmanager
    def away(self):
        """Take the token away."""
        elsewhere = self.directory.with_name("taken")
        self.directory.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(self.directory)


@contextmanager
def answering(code, *functions, times=None):
    """Have the module answer so instead of doing something; a list counts how often it did.

    Args:
        code: CKR_…
        functions: C_…, where PyKCS11 calls them.
        times: how often; by default, always.
    """
    answered = []

    def answer(function, original, *arguments):
        if times is not None and len(answered) >= times:
            return original(*arguments)
        answered.append(function)
        if function in ENDING:
            for _ in range(2):  # it is asked for the length first
                original(*arguments)
        return code

    with ExitStack() as stack:
        for function in functions:
            original = getattr(CPKCS11Lib, function)
            replaced = partial(answer, function, original)
            # A function, and no partial, is bound to the object that it is called on.
            stack.enter_context(
                mock.patch.object(CPKCS11Lib, function, lambda *a, f=replaced: f(*a))
            )
        yield answered


@contextmanager
def counting(function):
    """Count the calls of a function of the module."""
    calls = []
    original = getattr(CPKCS11Lib, function)

    def count(*arguments):
        calls.append(function)
        return original(*arguments)

    with mock.patch.object(CPKCS11Lib, function, count):
        yield calls


class HsmService(Service):
    """A token and a key in it, for one mechanism."""

    without = {
        "timeout": "a call to a module cannot be interrupted; waiting for one has a test of its own"
    }

    def __init__(self, token, mechanism):
        self._token, self._mechanism = token, mechanism
        self._label = f"contract {mechanism}"
        self.secrets = (token.pin,)
        self.environment = token.environment
        token.make(self._label, f"another {mechanism}")

    def root_key(self, **options):
        return self._token.root_key(self._label, mechanism=self._mechanism, **options)

    def entry(self):
        backend = f"{Pkcs11RootKey.__module__}.{Pkcs11RootKey.__qualname__}"
        options = {**self._token.options(self._label), "mechanism": self._mechanism}
        return {"BACKEND": backend, "OPTIONS": options}

    def another_key(self):
        return self._token.root_key(f"another {self._mechanism}", mechanism=self._mechanism)

    def unknown_key(self):
        return self._token.root_key("no such key", mechanism=self._mechanism)

    @contextmanager
    def fault(self, name):
        with getattr(self, f"_{name}")():
            yield

    def restart(self):
        self._token.end_sessions()
        self._token.forget()

    @contextmanager
    def _key_disabled(self):
        self._token.change(("set", self._label, MAY_NOTHING))
        yield
        self._token.change(("set", self._label, MAY_ALL))

    def _right_revoked(self):
        return answering(pkcs11.CKR_ACTION_PROHIBITED, *USES)

    def _throttled(self):
        return answering(pkcs11.CKR_DEVICE_MEMORY, *USES)

    def _connection_reset(self):
        return answering(pkcs11.CKR_DEVICE_REMOVED, *SESSIONS)

    def _unreachable(self):
        return self._token.away()

    @contextmanager
    def _credentials_expired(self):
        self._token.end_sessions()
        with answering(pkcs11.CKR_PIN_EXPIRED, "C_Login"):
            yield

    @contextmanager
    def _credentials_missing(self):
        self._token.end_sessions()
        with mock.patch.dict(os.environ):
            del os.environ["CLINIC_PIN"]
            yield
