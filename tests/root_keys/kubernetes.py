"""What a login with a service account's token asks of Kubernetes: the API TokenReview, faked."""

import base64
import json
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_UID = "11111111-1111-1111-1111-111111111111"
_AUDIENCE = "https://kubernetes.default.svc"


class Kubernetes:
    """Knows the tokens that it made, and whom each stands for.

    Attributes:
        url: of its API.
        reviews: the bodies of the TokenReviews that it was sent.
    """

    def __init__(self, certificates):
        self.reviews, self._names = [], {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def token(self, namespace, name):
        """Return a token of a service account, as a pod finds it in a file."""
        names = {"namespace": namespace, "serviceaccount": {"name": name, "uid": _UID}}
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 3607}
        claims = {"aud": [_AUDIENCE], **times, "kubernetes.io": names}
        head, body = (_base64(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims))
        token = f"{head}.{body}.{_base64(bytes([len(self._names)]) * 256)}"
        self._names[token] = f"system:serviceaccount:{namespace}:{name}"
        return token

    def forget(self, token):
        """Have a token's pod be gone."""
        del self._names[token]

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def review(self, body):
        """Return the status of a TokenReview."""
        self.reviews.append(body)
        name = self._names.get(body["spec"]["token"])
        if name is None:
            return {"authenticated": False}
        user = {"username": name, "uid": _UID, "groups": ["system:serviceaccounts"]}
        return {"authenticated": True, "user": user, "audiences": [_AUDIENCE]}

    def _handler(self):
        review = self.review

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                assert self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenReview",
                    "status": review(body),
                }
                content = json.dumps(answer).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        return Handler


def _base64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
