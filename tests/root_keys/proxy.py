"""A proxy for tests: between a client and a server over TLS, it passes on or misbehaves."""

import select
import socket
import ssl
import struct
from contextlib import contextmanager, suppress
from threading import Event, Thread

# SO_LINGER with no time: the connection is reset instead of closed.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on loopback, and passes on to a port of 127.0.0.1.

    Attributes:
        port: where it listens.
        requests: the first lines and the headers of those that it answered by itself.
    """

    def __init__(self, to_port, certificates):
        self._to_port = to_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._behave, self._open, self._cut = self._pass_on, set(), Event()
        self.requests, self.port = [], 0
        self._listen()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def close(self):
        self._stop_listening()
        self._cut_all()

    def hanging(self):
        """Take connections, and say nothing."""
        return self._behaving(lambda connection: self._cut.wait())

    def resetting(self):
        """Reset each connection once something has come."""
        return self._behaving(_reset)

    def answering(self, *chunks, pause=0):
        """Answer each request with these bytes, with seconds after each, and close."""
        return self._behaving(lambda connection: self._answer(connection, chunks, pause))

    @contextmanager
    def unreachable(self):
        """Refuse connections."""
        self._stop_listening()
        self._cut_all()
        try:
            yield
        finally:
            self._listen()

    @contextmanager
    def _behaving(self, behave):
        self._behave = behave
        self._cut_all()
        try:
            yield
        finally:
            self._behave = self._pass_on
            self._cut_all()

    def _listen(self):
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._accepting = Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _stop_listening(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept(), as close() does not
        self._accepting.join()
        self._listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.add(connection)
                Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, suppress(OSError):
                self._behave(connection)
        finally:
            self._open.discard(connection)

    def _cut_all(self):
        cut, self._cut = self._cut, Event()
        cut.set()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, connection):
        with socket.create_connection(("127.0.0.1", self._to_port)) as server:
            other = {connection: server, server: connection}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    other[ready].sendall(data)

    def _answer(self, connection, chunks, pause):
        cut = self._cut
        with self._context.wrap_socket(connection.dup(), server_side=True) as channel:
            self.requests.append(_request(channel))
            for chunk in chunks:
                channel.sendall(chunk)
                cut.wait(pause)


def _reset(connection):
    connection.recv(1 << 16)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _request(channel):
    """Read a request; return its first line and its headers."""
    with channel.makefile("rb") as stream:
        lines = list(iter(lambda: stream.readline().strip(), b""))
        length = [line[16:] for line in lines if line.lower().startswith(b"content-length: ")]
        stream.read(int(*length))
    return b"\n".join(lines).decode()
