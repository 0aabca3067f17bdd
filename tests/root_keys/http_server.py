"""HTTP servers on loopback that fail on demand: what the fakes of cloud services stand on."""

import socket
import struct
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import NamedTuple


class Asked(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    headers: Message
    body: bytes


class Answer(NamedTuple):
    """What it gets."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple = ()


class HttpServer:
    """Answers by a function, in threads of this process, on a port that it keeps.

    Attributes:
        asked: what was asked for, the newest last.
        broken: what it does in the place of answering; None while it is sound.
    """

    def __init__(self, answer, tls=None):
        self.answer, self.tls = answer, tls
        self.asked = []
        self.broken = None
        self.open = set()  # connections
        self.lock = Lock()
        self.port = 0
        self._healed = Event()
        self.start()

    def start(self):
        self._server = _Listening(self)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        """Listen no more, and cut every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)
        with self.lock:
            for connection in self.open:
                cut(connection)

    @contextmanager
    def stopped(self):
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def breaking(self, how):
        """Do something in the place of each answer: `how(handler, answer)`."""
        self.broken = how
        self._healed.clear()
        try:
            yield
        finally:
            self.broken = None
            self._healed.set()

    def hang(self, handler, answer):
        """Never answer, until it is sound again."""
        self._healed.wait(60)
        cut(handler.connection)

    def reset(self, handler, answer):
        cut(handler.connection)

    def half(self, handler, answer):
        """Answer with half of the body, and close."""
        handler.head(answer)
        handler.wfile.write(answer.body[: len(answer.body) // 2])
        handler.close_connection = True

    def other(self, other):
        """Answer with something else than the service's answer."""
        return lambda handler, answer: handler.answer(other)


def cut(connection):
    """Reset a connection: what was not read is lost."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass  # it is closed


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, fake):
        self.fake = fake
        super().__init__(("127.0.0.1", fake.port), _Handler)

    def finish_request(self, request, client_address):
        # In the thread of the connection: a client that hangs in its handshake holds up no other.
        if self.fake.tls:
            request = self.fake.tls.wrap_socket(request, server_side=True)
        with self.fake.lock:
            self.fake.open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self.fake.lock:
                self.fake.open.discard(request)
            request.close()

    def handle_error(self, request, client_address):
        pass  # clients that go away in the middle: what they say about it is tested


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, self.headers, body)
        fake = self.server.fake
        fake.asked.append(asked)
        answer = fake.answer(asked)
        if fake.broken:
            fake.broken(self, answer)
        else:
            self.answer(answer)

    do_GET = do_POST = handle_any

    def answer(self, answer):
        self.head(answer)
        self.wfile.write(answer.body)

    def head(self, answer):
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass
