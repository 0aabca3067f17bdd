"""What the contract of root keys is tested against: a backend, its service, and how that fails."""

import socket
from contextlib import contextmanager

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable

# The ways in which a service fails, and what a backend says of each.
FAULTS = {
    "key_disabled": RootKeyRefused,
    "right_revoked": RootKeyRefused,
    "throttled": RootKeyUnavailable,
    "timeout": RootKeyUnavailable,
    "connection_reset": RootKeyUnavailable,
    "unreachable": RootKeyUnavailable,
    "credentials_expired": RootKeyUnavailable,
    "credentials_missing": RootKeyUnavailable,
}


def reserved_port():
    """Return a port of loopback that no other program is given for a minute, though it is free.

    A connection that was closed on this side waits there (TIME_WAIT). So the kernel picks other
    ports, and a server that names this one may take it all the same (SO_REUSEADDR).
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()):
            listening.accept()[0].close()
        return listening.getsockname()[1]


class Service:
    """A service that runs for the tests, on loopback, and a key in it.

    Attributes:
        without: the faults that it cannot have, and why; nothing else is skipped.
        secrets: what no message may hold, beside the material: tokens, PINs, passwords.
        environment: what a program that is started needs in its environment.
    """

    without = {}
    secrets = ()
    environment = {}

    def root_key(self, **options):
        """Return a new root key of the backend, under the service's key."""
        raise NotImplementedError

    def patient_root_key(self):
        """Return a root key that waits long enough where many ask at once on a busy machine."""
        return self.root_key()

    def entry(self):
        """Return what the settings say of such a root key: BACKEND and OPTIONS, as JSON has it."""
        raise NotImplementedError

    def another_key(self):
        """Return a root key under another key of the same service."""
        raise NotImplementedError

    def unknown_key(self):
        """Return a root key under a key that the service does not have."""
        raise NotImplementedError

    @contextmanager
    def fault(self, name):
        """Have the service fail in one of the ways of `FAULTS` inside."""
        raise NotImplementedError
        yield

    def restart(self):
        """Stop the service and start it again, with the same keys; None where there is none."""

    def close(self):
        """Stop what was started."""
