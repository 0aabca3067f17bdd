"""Starts Python programs from a process that has Django and its libraries imported already.

To import them is most of what a short program does. Nothing of a project is among them, neither its
settings nor our package: that is imported anew by each program, as if Python had been started.

Tests start a `ForkServer`, and programs by it; for a shell there is a command that stands in for
`python`. Run as a program, this module is the server.
"""

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

# All that can be imported without settings, by the names that bring the rest.
LIBRARIES = (
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.kbkdf",
    "django.contrib.admin",
    "django.contrib.admindocs.views",
    "django.contrib.messages.middleware",
    "django.contrib.postgres.fields",
    "django.contrib.sessions.middleware",
    "django.contrib.staticfiles.finders",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "django.db.backends.mysql.base",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.template.context_processors",
    "django.template.loader_tags",
    "django.test.client",
    "django.views.debug",
    "rest_framework.serializers",
)
READY = b"listening\n"


class ForkServer:
    """A server that ends with this process.

    Args:
        path: of the socket at which it listens.
        environment: what it is started with; programs are started with their own.
    """

    def __init__(self, path, environment):
        self.path = str(path)
        self._process = subprocess.Popen(
            [sys.executable, __file__, self.path],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with self._process.stdout as said:
            assert said.readline() == READY, "it has ended"

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)


@cache
def shared():
    """Return the server of this process, for programs that get its environment and more."""
    directory, process = tempfile.mkdtemp(), os.getpid()
    server = ForkServer(Path(directory, "server"), dict(os.environ))

    def end():
        if os.getpid() == process:  # and not in a child that a test has forked
            server.close()
            shutil.rmtree(directory)

    atexit.register(end)
    return server


class Program:
    """A Python program that a server has started; as much of `subprocess.Popen` as tests need.

    Args:
        path: of the server's socket.
        arguments: as behind `python`: a file, or `-m` and a module, and what these are given.
        environment: all of it.
        directory: in which it runs.
        files: the descriptors of its standard input, output and error.
    """

    def __init__(self, path, arguments, *, environment, directory, files):
        self.returncode = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(path)
        request = json.dumps([arguments, environment, str(directory)]).encode()
        socket.send_fds(self._server, [_bytes(len(request))], files)
        self._server.sendall(request)
        self.pid = _number(self._server)

    def wait(self, timeout=None):
        """Wait for its end; return its exit status, negative for a signal.

        Args:
            timeout: in seconds.

        Raises:
            TimeoutError: it goes on.
        """
        if self.returncode is None:
            self._server.settimeout(timeout)
            self.returncode = os.waitstatus_to_exitcode(_number(self._server))
            self._server.close()
        return self.returncode

    def poll(self):
        if self.returncode is None and select.select([self._server], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def completed(arguments, *, environment, directory, timeout=120):
    """Run a program to its end by the server of this process, as `subprocess.run` does.

    Args:
        arguments: as behind `python`: a file, or `-m` and a module, and what these are given.
        environment: all of it; its PYTHONPATH counts, and what else Python itself reads does not.
        directory: in which it runs.
        timeout: in seconds.

    Returns:
        `subprocess.CompletedProcess`, with what it said as text.
    """
    with (
        open(os.devnull) as nothing,
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        tempfile.TemporaryFile("w+", encoding="utf-8") as complained,
    ):
        program = Program(
            shared().path,
            [str(each) for each in arguments],
            environment=environment,
            directory=directory,
            files=[each.fileno() for each in (nothing, said, complained)],
        )
        try:
            status = program.wait(timeout=timeout)
        except TimeoutError:
            program.kill()  # or it goes on with what the test leaves behind
            program.wait()
            raise
        for file in (said, complained):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, status, said.read(), complained.read())


def _received(connection, length):
    parts = []
    while length > 0:
        part = connection.recv(length)
        assert part, "the other side has ended"
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _number(connection):
    return int.from_bytes(_received(connection, 4), "little")


def _bytes(number):
    return number.to_bytes(4, "little")


class Server:
    """Forks for each request, and tells who asked which process that is and how it ended."""

    def __init__(self, path):
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen()
        os.write(1, READY)
        self.waiting = {}  # connections, by the process of which they are to be told
        self.wakeup, signalled = os.pipe()
        os.set_blocking(signalled, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)

    def program(self):
        """Serve; return in a process that is to be a program, with what is to be run there."""
        while True:
            ready, _, _ = select.select([self.listening, self.wakeup, 0], [], [])
            if 0 in ready:
                sys.exit()  # who started it has ended
            if self.wakeup in ready:
                os.read(self.wakeup, 1000)
                self._tell()
            if self.listening in ready:
                arguments = self._fork()
                if arguments is not None:
                    return arguments

    def _fork(self):
        connection, _ = self.listening.accept()
        length, files, _, _ = socket.recv_fds(connection, 4, 3)
        request = json.loads(_received(connection, int.from_bytes(length, "little")))
        process = os.fork()
        if process == 0:
            return self._become(files, *request)
        for file in files:
            os.close(file)
        connection.sendall(_bytes(process))
        self.waiting[process] = connection
        return None

    def _become(self, files, arguments, environment, directory):
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, 100)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        return arguments

    def _tell(self):
        for process in list(self.waiting):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                with self.waiting.pop(process) as connection, suppress(BrokenPipeError):
                    connection.sendall(_bytes(status))


def run(arguments):
    """Do what `python` does with its arguments."""
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


def main(path):
    sys.path.pop(0)  # where this file is
    from django.core.exceptions import ImproperlyConfigured

    for name in LIBRARIES:
        with suppress(ImproperlyConfigured):  # a driver that is not installed
            import_module(name)
    gc.freeze()  # or collecting what is shared would copy it
    run(Server(path).program())


STAND_IN = """\
#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from tests.fork_server import stand_in
stand_in({path!r}, sys.argv[1:])
"""


def write_stand_in(command, path):
    """Write a command that does as `python` does, by a server.

    Args:
        command: the path of the file.
        path: of the server's socket.
    """
    root = str(Path(__file__).parent.parent)
    command.write_text(STAND_IN.format(python=sys.executable, root=root, path=str(path)))
    command.chmod(0o755)


def stand_in(path, arguments):
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "-m"):
        os.execv(sys.executable, [sys.executable, *arguments])
    environment, here = dict(os.environ), os.getcwd()
    program = Program(path, arguments, environment=environment, directory=here, files=[0, 1, 2])
    sys.exit(program.wait())


if __name__ == "__main__":
    main(sys.argv[1])
