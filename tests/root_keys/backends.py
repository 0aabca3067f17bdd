"""Root keys for tests, which are local ones that do less."""

from django.db import connections

from envelope_fields.root_keys import MayNotUnwrap
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
