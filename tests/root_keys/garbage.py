"""A server in a service's place that answers what no service answers."""

import socketserver
from contextlib import contextmanager
from threading import Event, Thread


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        self.server.asked.append(self.rfile.read(length))
        answer = self.server.answer
        parts = answer(self.server.asked[-1]) if callable(answer) else [answer]
        for number, part in enumerate(parts):
            # In pieces, each of which comes before the client gives up.
            if number and self.server.ends.wait(self.server.seconds_between):
                return
            try:
                self.wfile.write(part)
            except OSError:  # the client has gone
                return


class Garbage(socketserver.ThreadingTCPServer):
    """Attributes: `answer`, bytes or a function of the request's body that returns pieces."""

    allow_reuse_address = daemon_threads = True
    seconds_between = 0.05

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.asked, self.ends = b"", [], Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def garbage_server():
    server = Garbage()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        thread.join(30)
        server.server_close()


def http(status, body, *headers):
    """Return the bytes of an answer that ends its connection."""
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
