"""Root keys for tests, which are local ones that do less."""

import time
from base64 import b64encode
from contextlib import contextmanager
from hashlib import sha256

from django.db import connections

from envelope_fields.root_keys import MayNotUnwrap, Wrapped
from envelope_fields.root_keys.local import LocalRootKey
from tests.settings import ROOT_KEY


def entry(backend, **options):
    """Return what the settings say of a root key of this module, by default that of the tests."""
    return {"BACKEND": f"{__name__}.{backend}", "OPTIONS": {"key": ROOT_KEY, **options}}


class WrapsAlone(LocalRootKey):
    """What a process has that may encrypt and not decrypt, while `may_unwrap` is not set."""

    may_unwrap = False

    def unwrap(self, wrapped, context):
        if not self.may_unwrap:
            raise MayNotUnwrap("this process may not unwrap")
        return super().unwrap(wrapped, context)


class Watching(LocalRootKey):
    """Notes whether a transaction was open on the thread that asked; calls `meanwhile` once."""

    seen = []  # what was asked, and whether a transaction was open
    meanwhile = None

    def wrap(self, material, context):
        self._note("wrap")
        return super().wrap(material, context)

    def unwrap(self, wrapped, context):
        self._note("unwrap")
        return super().unwrap(wrapped, context)

    def _note(self, what):
        self.seen.append((what, connections["default"].in_atomic_block))
        meanwhile, Watching.meanwhile = Watching.meanwhile, None
        if meanwhile is not None:
            meanwhile()


class Service(LocalRootKey):
    """A key of a service, which has versions, and fails as a test says."""

    errors = {}  # by the name of the key: what it raises
    versions = {}  # by the name of the key: the number of the one that wraps
    asked = []  # the operation, and the name of the key

    def __init__(self, *, name):
        super().__init__(key=b64encode(sha256(name.encode()).digest()).decode())
        self._name = name

    @classmethod
    def settings(cls, *names, **further):
        """Return what the settings say of such keys, and by which others each is wrapped, too."""
        return {
            name: {
                "BACKEND": f"{__name__}.{cls.__name__}",
                "OPTIONS": {"name": name},
                **({"ALSO_WRAPPED_BY": further[name]} if name in further else {}),
            }
            for name in names
        }

    @classmethod
    @contextmanager
    def in_settings(cls, settings):
        """Yield a function that has the settings name such keys, before those of the tests."""
        before = settings.ENVELOPE_FIELDS["ROOT_KEYS"]

        def replace(*names, **further):
            roots = {**cls.settings(*names, **further), **before}
            settings.ENVELOPE_FIELDS = {"ROOT_KEYS": roots, "KEY_CACHE_SECONDS": 0}

        cls.reset()
        yield replace
        cls.reset()

    @classmethod
    def reset(cls):
        for what in (cls.errors, cls.versions, cls.asked):
            what.clear()

    def wrap(self, material, context):
        self._answer("wrap")
        return Wrapped(super().wrap(material, context).material, self._id())

    def unwrap(self, wrapped, context):
        self._answer("unwrap")
        return super().unwrap(wrapped, context)

    def check(self):
        self._answer("check")

    def current_wrapping_key_id(self):
        self._answer("current")
        return self._id()

    def refresh(self):
        self._answer("refresh")

    def _id(self):
        return f"{self._name}:v{self.versions.get(self._name, 1)}"

    def _answer(self, operation):
        self.asked.append((operation, self._name))
        if operation != "refresh" and self._name in self.errors:
            raise self.errors[self._name]


class SlowService(Service):
    """Takes its time for each wrap, so that there is some in which to be killed."""

    def wrap(self, material, context):
        time.sleep(0.02)
        return super().wrap(material, context)
