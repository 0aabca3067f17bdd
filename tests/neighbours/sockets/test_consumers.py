"""Consumers read what the user of their connection may read, and no more."""

import asyncio

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.core.checks import Tags, run_checks
from django.db import connections
from django.test import Client

from envelope_fields import keyring
from envelope_fields.checks import principals as checks
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.middleware import PrincipalASGIMiddleware
from envelope_fields.policy import APPLICATION, acting_as, current_principal
from envelope_fields.policy.requests import in_flight
from tests.neighbours.sockets import asgi
from tests.neighbours.sockets.asgi import Worker, application, django
from tests.neighbours.sockets.models import Letter

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def letter():
    keyring.evict()
    create_master_key("lab")
    return Letter.objects.create(text="blood group A")


@pytest.fixture
def ann():
    user = User.objects.create_user("ann")
    grant("lab", user, ["decrypt"], actor=APPLICATION)
    return user


def headers_of(user):
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    return [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())]


class Socket(ApplicationCommunicator):
    """A client of the application; Channels' own is not to be had without Daphne."""

    def __init__(self, path, headers):
        super().__init__(
            application,
            {
                "type": "websocket",
                "path": f"/{path}",
                "headers": [*headers, (b"x-request-id", b"r-1")],
                "client": ["192.0.2.7", 5000],
                "query_string": b"",
                "subprotocols": [],
            },
        )

    async def ask(self, text):
        await self.send_input({"type": "websocket.receive", "text": text})
        return (await self.receive_output())["text"]

    async def __aenter__(self):
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output())["type"] == "websocket.accept"
        return self

    async def __aexit__(self, *_):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait()


@async_to_sync
async def said(path, headers=(), *messages):
    async with Socket(path, headers) as socket:
        return [await socket.ask(message) for message in messages or ("read",)]


@pytest.mark.parametrize("path", ["sync", "async"])
class TestAConsumer:
    def test_of_nobody_is_anonymous(self, path):
        assert said(path) == ["anonymous 192.0.2.7 r-1 denied"]

    def test_of_a_user_with_a_grant(self, path, ann):
        (answer,) = said(path, headers_of(ann))
        assert answer == f"auth.user {ann.pk} (ann) 192.0.2.7 r-1 blood group A"

    def test_of_a_user_without_one(self, path):
        (answer,) = said(path, headers_of(User.objects.create_user("bob")))
        assert answer.endswith("(bob) 192.0.2.7 r-1 denied")

    def test_leaves_nothing_behind(self, path, ann):
        said(path, headers_of(ann))
        assert not in_flight
        assert Letter.objects.get().text == "blood group A"


class TestALogout:
    def test_is_seen_by_a_middleware_around_the_consumer(self, ann):
        before, after = said("close", headers_of(ann), "read", "log out")
        assert before.endswith("blood group A")
        assert after.startswith("anonymous")

    def test_is_not_seen_further_out(self, ann):
        """What the consumer has is a copy of the scope: the page on websockets says so."""
        _, after = said("async", headers_of(ann), "read", "log out")
        assert after.endswith("blood group A")

    def test_of_another_connection_ends_nothing_but_a_lost_grant_does(self, ann):
        @async_to_sync
        async def talk():
            async with Socket("async", headers) as socket:
                answers = []
                for change in (lambda: None, end_session, deactivate):
                    await asyncio.to_thread(elsewhere, change)
                    answers.append((await socket.ask("read")).split()[-1])
                return answers

        def elsewhere(change):
            change()
            connections.close_all()

        def end_session():
            from django.contrib.sessions.models import Session

            Session.objects.all().delete()

        def deactivate():
            User.objects.filter(pk=ann.pk).update(is_active=False)

        headers = headers_of(ann)
        assert talk() == ["A", "A", "denied"]


def test_a_worker_of_a_channel_layer_is_the_application():
    @async_to_sync
    async def work():
        worker = ApplicationCommunicator(application, {"type": "channel", "channel": "letters"})
        await worker.send_input({"type": "test.read"})
        answer = await Worker.heard.get()
        worker.stop(exceptions=False)
        return answer

    assert work() == "application   blood group A"


def test_what_else_an_application_is_asked(ann):
    """A lifespan has no user, and nobody's requests."""

    async def app(scope, receive, send):
        found.append((current_principal().type, bool(in_flight)))

    found = []
    middleware = PrincipalASGIMiddleware(app)
    served = ({"type": "http", "user": ann}, {"type": "http"}, {"type": "webtransport"})
    for scope in ({"type": "lifespan"}, *served):
        async_to_sync(middleware)(scope, None, None)
    with acting_as(ann):
        async_to_sync(middleware)({"type": "channel"}, None, None)
    assert found == [
        ("application", False),
        ("auth.user", True),
        ("anonymous", True),
        ("anonymous", True),
        ("application", False),
    ]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("application", []),
        ("bare", ["envelope_fields.W007"]),
        ("events", ["envelope_fields.W007"]),
        ("plain", []),
    ],
)
def test_the_check_speaks_where_nothing_is_bound(settings, name, ids):
    settings.ASGI_APPLICATION = f"tests.neighbours.sockets.asgi.{name}"
    found = run_checks(tags=[Tags.security])
    assert [message.id for message in found if "PrincipalASGI" in message.msg] == ids


@pytest.mark.parametrize(("project", "number"), [("tests.neighbours.sockets", 1), ("nowhere", 0)])
def test_the_check_looks_where_a_server_does_without_settings(
    settings, monkeypatch, project, number
):
    """Uvicorn takes the name of the application from its command line."""
    del settings.ASGI_APPLICATION
    settings.ROOT_URLCONF = f"{project}.urls"
    monkeypatch.setattr(checks.apps, "is_installed", lambda name: False)
    monkeypatch.setattr(asgi, "application", asgi.bare)
    assert len(checks.check_channels()) == number


def test_pages_of_django_are_served_through_it():
    async def get(path):
        page = ApplicationCommunicator(
            PrincipalASGIMiddleware(django),
            {
                "type": "http",
                "method": "GET",
                "path": path,
                "headers": [(b"host", b"testserver")],
                "query_string": b"",
            },
        )
        await page.send_input({"type": "http.request", "body": b"", "more_body": False})
        status = (await page.receive_output(10))["status"]
        while (await page.receive_output(10)).get("more_body"):
            pass
        await page.wait()
        return status

    assert async_to_sync(get)("/admin/login/") == 200
    assert not in_flight
