from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "channels", "tests.neighbours.sockets"]
ASGI_APPLICATION = "tests.neighbours.sockets.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
