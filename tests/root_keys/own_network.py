"""A network that has nothing but loopback, for servers that bind every address.

`alone` starts a program in one; run as a program, this module brings loopback up there first.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

_UNSHARE = ("unshare", "--map-root-user", "--net")
_SIOCSIFFLAGS, _UP = 0x8914, 1


def can_be_made():
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:  # no Linux
        return False


def alone(program, environment):
    """Run a Python program in such a network, until it ends; return its end and what it said."""
    command = [*_UNSHARE, sys.executable, "-m", __name__, sys.executable, *program]
    return subprocess.run(
        command, env=environment, check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP))
    os.execv(sys.argv[1], sys.argv[1:])
