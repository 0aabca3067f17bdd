"""Where the brokers of the Celery tests are."""

import socket
from urllib.parse import urlsplit

BROKERS = {
    "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//",
    "redis": "redis://127.0.0.1:6379/9",
}


def answers(url):
    """Whether something listens where a URL says."""
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((parts.hostname, parts.port)) == 0
