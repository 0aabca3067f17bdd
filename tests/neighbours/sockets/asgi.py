"""As `docs/how-to/websockets.md` has it."""

from asyncio import Queue

from channels.auth import AuthMiddlewareStack, logout
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.middleware import PrincipalASGIMiddleware

django = get_asgi_application()

from envelope_fields.policy import current_principal, origin  # noqa: E402 - after Django
from tests.neighbours.sockets.models import Letter  # noqa: E402


def read():
    try:
        return Letter.objects.get().text
    except KeyAccessDenied:
        return "denied"


def told():
    return f"{current_principal()} {origin().address} {origin().request_id} {read()}"


class Reader(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(told())


class AsyncReader(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "log out":
            await logout(self.scope)
        await self.send(await database_sync_to_async(told)())


class Events(AsyncHttpConsumer):
    async def handle(self, body):
        await self.send_response(200, (await database_sync_to_async(told)()).encode())


class Worker(AsyncConsumer):
    heard = Queue()

    async def test_read(self, message):
        await self.heard.put(await database_sync_to_async(told)())


routes = [
    path("sync", Reader.as_asgi()),
    path("async", AsyncReader.as_asgi()),
    path("close", PrincipalASGIMiddleware(AsyncReader.as_asgi())),
]
application = ProtocolTypeRouter(
    {
        "http": django,
        "websocket": AuthMiddlewareStack(PrincipalASGIMiddleware(URLRouter(routes))),
        "channel": PrincipalASGIMiddleware(ChannelNameRouter({"letters": Worker.as_asgi()})),
    }
)
bare = ProtocolTypeRouter({"http": django, "websocket": AuthMiddlewareStack(URLRouter(routes[:2]))})
events = ProtocolTypeRouter(
    {"http": AuthMiddlewareStack(URLRouter([path("sse", Events.as_asgi()), path("", django)]))}
)
plain = ProtocolTypeRouter({"http": django})
