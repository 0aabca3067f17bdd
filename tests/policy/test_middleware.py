"""Who is acting while a request is served, in every way in which Django serves one."""

import asyncio
import base64
import gc
import threading
from contextvars import Context, copy_context
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.middleware import PrincipalMiddleware
from envelope_fields.policy import APPLICATION, acting_as, current_principal, origin
from envelope_fields.policy.principals import bound_actor
from envelope_fields.policy.requests import handled, in_flight
from tests.policy import views
from tests.waiting import until

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = views.__name__
    if in_flight:  # what an earlier test did not finish lasts as long as something refers to it
        gc.collect()
        until(lambda: not in_flight)
    yield
    assert current_principal() is APPLICATION, "nothing is left behind"
    assert not in_flight


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password="secret")


@pytest.fixture
def logged_in(client, ann):
    client.force_login(ann)
    return client


@pytest.fixture
def logged_in_async(async_client, ann):
    async_client.force_login(ann)
    return async_client


def collect_streams():
    """Have streams of the test client, left half read, closed here and not by a later collection.

    At their end, Django and we set context variables. CPython 3.11 collects garbage also in the
    middle of `ContextVar.set`, does not expect another one there, and goes on with freed memory;
    Python 3.12 collects between instructions only.
    """
    gc.collect()


def text(response):
    return response.content.decode()


class TestWhoIsActing:
    @pytest.mark.parametrize("path", ["sync", "async", "crossing"])
    def test_the_user(self, logged_in, path):
        assert text(logged_in.get(f"/{path}")) == "ann"

    @pytest.mark.parametrize("path", ["sync", "async"])
    def test_anonymous(self, client, path):
        assert text(client.get(f"/{path}")) == "anonymous"

    @pytest.mark.parametrize("path", ["sync", "async", "crossing"])
    def test_under_asgi(self, logged_in_async, path):
        assert text(async_to_sync(logged_in_async.get)(f"/{path}")) == "ann"

    def test_in_tasks(self, logged_in_async):
        assert text(async_to_sync(logged_in_async.get)("/task")) == "ann ann"

    def test_a_thread_that_was_handed_nothing_is_refused(self, logged_in):
        assert text(logged_in.get("/thread")) == "refused ann"

    def test_a_thread_under_asgi(self, logged_in_async):
        assert text(async_to_sync(logged_in_async.get)("/thread")) == "refused ann"

    def test_the_application_where_it_says_so(self, logged_in):
        assert text(logged_in.get("/application")) == "application"

    def test_from_a_login_on_it_is_the_user(self, client, ann):
        assert text(client.get("/login")) == "anonymous ann"

    def test_the_authentication_of_rest_framework_counts(self, client, ann):
        credentials = base64.b64encode(b"ann:secret").decode()
        response = client.get("/api", headers={"Authorization": f"Basic {credentials}"})
        assert response.json() == "ann"
        assert client.get("/api").json() == "anonymous"

    def test_a_page_that_uses_no_key_asks_for_no_user(self, logged_in, django_assert_num_queries):
        with django_assert_num_queries(0):
            logged_in.get("/origin")

    def test_a_binding_around_the_request_is_not_that_of_the_request(self, client):
        with acting_as(APPLICATION):
            assert text(client.get("/sync")) == "anonymous"
            assert current_principal() is APPLICATION

    def test_without_authentication_it_is_anonymous(self, rf):
        middleware = PrincipalMiddleware(views.sync_view)
        assert middleware(rf.get("/")).content == b"anonymous"

    def test_a_user_of_an_unknown_kind_is_refused(self, rf):
        class Token:
            pk, is_authenticated, is_anonymous = 7, True, False

        request = rf.get("/")
        request.user = Token()
        assert PrincipalMiddleware(views.sync_view)(request).content == b"refused"


class TestErrors:
    @pytest.mark.parametrize("path", ["denied", "async-denied"])
    def test_a_refusal_is_a_403(self, client, async_client, path):
        assert client.get(f"/{path}").status_code == 403
        assert async_to_sync(async_client.get)(f"/{path}").status_code == 403

    def test_a_view_that_fails(self, client):
        with pytest.raises(ZeroDivisionError):
            client.get("/failing")
        client.raise_request_exception = False
        assert client.get("/failing").status_code == 500

    def test_an_exception_that_passes_everything(self, rf):
        def stops(request):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            PrincipalMiddleware(stops)(rf.get("/"))


class TestStreams:
    def test_each_part_is_in_the_name_of_the_user(self, logged_in):
        response = logged_in.get("/stream")
        assert b"".join(response).split() == [b"ann", b"application"] * 2

    def test_what_a_part_binds_stays_in_the_stream(self, logged_in):
        for part in logged_in.get("/stream"):
            assert part
            with pytest.raises(KeyAccessDenied) if in_flight else acting_as(APPLICATION):
                current_principal()

    def test_under_asgi(self, logged_in_async):
        async def read():
            response = await logged_in_async.get("/async-stream")
            parts = []
            async for part in response:
                parts.append(part)
                assert current_principal() is APPLICATION
            return b"".join(parts).split()

        assert async_to_sync(read)() == [b"ann", b"application"] * 2

    def test_a_sync_stream_under_asgi(self, ann):
        """Django reads it in a thread, into a list."""
        with pytest.warns(Warning, match="must consume synchronous iterators"):
            assert asgi("/stream", ann).split() == [b"ann", b"application"] * 2

    def test_an_async_stream_under_asgi(self, ann):
        assert asgi("/async-stream", ann).split() == [b"ann", b"application"] * 2

    def test_an_async_stream_under_wsgi(self, ann):
        with pytest.warns(Warning, match="must consume asynchronous iterators"):
            assert wsgi("/async-stream", ann).split() == [b"ann", b"application"] * 2

    def test_a_stream_under_wsgi(self, ann):
        assert wsgi("/stream", ann).split() == [b"ann", b"application"] * 2

    @pytest.mark.parametrize("path", ["stream", "async-stream"])
    def test_one_that_nobody_reads_does_not_keep_the_test_waiting(self, logged_in, path):
        response = logged_in.get(f"/{path}")
        assert response.streaming
        assert current_principal() is APPLICATION

    def test_one_that_is_left(self, logged_in):
        response = logged_in.get("/stream")
        assert next(iter(response)).strip() == b"ann"
        assert current_principal() is APPLICATION
        del response
        collect_streams()
        assert current_principal() is APPLICATION

    def test_one_that_is_left_inside_of_a_binding(self, ann):
        """The server's thread goes on to other requests, and must not act for this user."""
        response = wsgi_response("/stream", ann)
        stream = iter(response)
        assert [next(stream).strip(), next(stream).strip()] == [b"ann", b"application"]
        response.close()
        assert bound_actor() is None
        assert views.who() == "application"

    def test_an_async_one_whose_client_hangs_up_ends_in_its_name(self, ann):
        async def hang_up():
            sent = asyncio.Event()
            messages = [{"type": "http.request", "body": b""}]

            async def receive():
                if messages:
                    return messages.pop()
                await sent.wait()
                return {"type": "http.disconnect"}

            async def send(message):
                if message.get("body"):
                    sent.set()
                    await asyncio.Event().wait()  # as of a server whose client reads no more

            await get_asgi_application()(request, receive, send)

        request = scope("/ending-stream", ann)
        views.ends.clear()
        async_to_sync(hang_up)()
        assert views.ends == ["ann"]

    def test_what_is_closed_with_it_is_closed_in_its_name(self, rf):
        closed = []

        class Parts:
            def __iter__(self):
                return iter([b"x"])

            def close(self):
                closed.append(views.who())

        response = PrincipalMiddleware(lambda _: StreamingHttpResponse(Parts()))(rf.get("/"))
        assert b"".join(response) == b"x"
        response.close()
        assert closed == ["anonymous"]

    def test_a_file_is_sent_as_before(self, rf):
        plain = FileResponse(open(__file__, "rb"))  # noqa: SIM115 - the response closes it
        assert PrincipalMiddleware(lambda _: plain)(rf.get("/")).file_to_stream is not None
        assert b"A file is sent" not in b"".join(plain)[:10]
        plain.close()

    def test_a_file_that_decrypts_as_it_is_read(self, rf):
        class Decrypting(BytesIO):
            def read(self, size=-1):
                return super().read(size) and views.who().encode()

        response = PrincipalMiddleware(lambda _: FileResponse(Decrypting(b"x")))(rf.get("/"))
        assert b"".join(response) == b"anonymous"
        response.close()


class TestInFlight:
    def test_a_bare_thread_of_another_request_is_refused(self, ann):
        """And may go on when the last request is over."""
        request = threading.Thread(target=lambda: wsgi("/waiting", ann))
        views.started.clear()
        views.over.clear()
        request.start()
        assert views.started.wait(10)
        assert views.who() == "refused"
        with acting_as(APPLICATION):
            assert views.who() == "application"
        views.over.set()
        request.join()
        assert views.who() == "application"

    def test_a_middleware_outside_of_ours_is_in_the_request(self, client, settings):
        settings.MIDDLEWARE = [f"{__name__}.outside", *settings.MIDDLEWARE]
        assert Client().get("/sync").headers["Who"] == "refused refused"

    @pytest.mark.parametrize("answer", ["plain", "stream"])
    def test_a_middleware_that_answers_by_itself(self, settings, answer):
        settings.MIDDLEWARE = [f"{__name__}.answers_{answer}", *settings.MIDDLEWARE]
        assert b"".join(Client().get("/sync")) == b"mine"
        assert views.who() == "application"

    def test_a_middleware_that_answers_by_itself_under_asgi(self, settings):
        settings.MIDDLEWARE = [f"{__name__}.answers_plain", *settings.MIDDLEWARE]
        for _ in range(2):
            response = async_to_sync(AsyncClient().get)("/sync")
            assert response.content == b"mine"
            assert views.who() == "application"
        assert asgi("/sync") == b"mine"

    def test_a_stream_that_a_test_does_not_read(self, settings):
        """It is not taken for a later request that ends without our middleware."""
        unread = Client().get("/stream")
        assert views.who() == "application"
        settings.MIDDLEWARE = [f"{__name__}.answers_plain", *settings.MIDDLEWARE]
        async_to_sync(AsyncClient().get)("/sync")
        assert views.who() == "application"
        unread.close()

    def test_it_leaves_an_open_connection_open(self, settings):
        """A websocket is in flight as long as it is open, whatever ends beside it."""
        settings.MIDDLEWARE = [f"{__name__}.answers_plain", *settings.MIDDLEWARE]
        with handled():
            for _ in range(2):
                async_to_sync(AsyncClient().get)("/sync")
                assert len(in_flight) == 1
        assert views.who() == "application"

    def test_a_middleware_that_replaces_the_response(self, settings):
        settings.MIDDLEWARE = [f"{__name__}.replaces", *settings.MIDDLEWARE]
        assert Client().get("/sync").content == b"mine"
        assert wsgi("/sync") == b"mine"

    def test_a_request_that_nobody_finishes(self):
        environ = RequestFactory().get("/").environ
        Client().get("/sync")  # the middleware is loaded
        request_started.send(sender=None, environ=environ)
        assert views.who() == "refused"
        del environ
        gc.collect()
        assert views.who() == "application"

    def test_a_request_that_is_finished_twice(self, ann):
        Client().get("/sync")
        environ = RequestFactory().get("/").environ
        request_started.send(sender=None, environ=environ)
        # another one, in a thread of its own
        Context().run(wsgi, "/sync", ann, closings=2)
        assert views.who() == "refused"
        request_finished.send(sender=None)
        assert views.who() == "application"

    def test_a_request_inside_of_a_request(self, settings, rf):
        def nested(request):
            return HttpResponse(f"{Client().get('/sync').content.decode()} {views.who()}")

        request = rf.get("/")
        request.user = User(pk=1, username="bob")
        assert PrincipalMiddleware(nested)(request).content == b"anonymous bob"

    def test_a_client_that_hangs_up_under_asgi(self, settings):
        async def hang_up():
            application = ApplicationCommunicator(get_asgi_application(), scope("/sync"))
            await application.send_input({"type": "http.request", "body": b""})
            await application.send_input({"type": "http.disconnect"})
            await application.wait(10)

        async_to_sync(hang_up)()
        gc.collect()
        assert views.who() == "application"

    def test_several_clients_that_hang_up_under_asgi(self, settings):
        """None is in flight from then on, even if it is not yet collected as garbage."""
        requests = [scope("/endless") for _ in range(3)]

        async def hang_up():
            applications = [
                ApplicationCommunicator(get_asgi_application(), request) for request in requests
            ]
            for application in applications:
                await application.send_input({"type": "http.request", "body": b""})
            while len(views.endless) < len(requests):
                await asyncio.sleep(0.01)
            for application in applications:
                await application.send_input({"type": "http.disconnect"})
            for application in applications:
                await application.wait(10)

        views.endless.clear()
        async_to_sync(hang_up)()
        assert views.who() == "application"
        assert requests

    def test_without_our_middleware_nothing_is_counted(self, settings):
        settings.MIDDLEWARE = []
        assert Client().get("/sync").content == b"application"

    def test_a_handler_without_signals(self, rf):
        seen = []

        def view(request):
            with pytest.raises(KeyAccessDenied):
                copy_context().run(unbound)
            seen.append(len(in_flight))
            return StreamingHttpResponse(iter([b"x"]))

        b"".join(PrincipalMiddleware(view)(rf.get("/")))
        assert seen == [1]


class TestOrigin:
    def test_address_and_a_made_up_id(self, client):
        address, request_id = text(client.get("/origin", REMOTE_ADDR="192.0.2.7")).split()
        assert address == "192.0.2.7"
        assert len(request_id) == 32
        assert origin().address == origin().request_id == ""

    def test_a_given_id(self, client):
        response = client.get("/origin", headers={"X-Request-ID": "a1-B2.c/3"})
        assert text(response).split()[1] == "a1-B2.c/3"

    @pytest.mark.parametrize("given", ["", "two words", "x" * 201, "a\nb", "<b>", "a\n"])
    def test_an_id_that_nobody_means(self, rf, given):
        request = rf.get("/")
        request.META["HTTP_X_REQUEST_ID"] = given
        request_id = text(PrincipalMiddleware(views.origin_view)(request)).split(" ")[1]
        assert len(request_id) == 32
        assert given not in request_id or not given

    def test_what_anybody_can_send_is_no_address(self, client):
        response = client.get(
            "/origin", REMOTE_ADDR="192.0.2.7", headers={"X-Forwarded-For": "198.51.100.1"}
        )
        assert text(response).split()[0] == "192.0.2.7"

    def test_no_address(self, rf):
        request = rf.get("/", REMOTE_ADDR="")
        assert text(PrincipalMiddleware(views.origin_view)(request)).startswith(" ")


def unbound():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("envelope_fields.policy.principals.bound_actor", lambda: None)
        return current_principal()


def outside(get_response):
    def middleware(request):
        before = views.who()
        response = get_response(request)
        response.headers["Who"] = f"{before} {views.who()}"
        return response

    return middleware


def answers_plain(get_response):
    return lambda request: HttpResponse("mine")


def answers_stream(get_response):
    return lambda request: StreamingHttpResponse(iter(["mine"]))


def replaces(get_response):
    def middleware(request):
        get_response(request)
        return HttpResponse("mine")

    return middleware


def cookie(user):
    if user is None:
        return ""
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"


def wsgi_response(path, user=None):
    environ = RequestFactory().get(path, HTTP_COOKIE=cookie(user)).environ
    return get_wsgi_application()(environ, lambda *_: None)


def wsgi(path, user=None, closings=1):
    response = wsgi_response(path, user)
    body = b"".join(response)
    for _ in range(closings):
        response.close()
    return body


def scope(path, user=None):
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"cookie", cookie(user).encode()), (b"host", b"testserver")],
    }


def asgi(path, user=None):
    async def get(scope):
        application = ApplicationCommunicator(get_asgi_application(), scope)
        await application.send_input({"type": "http.request", "body": b""})
        assert (await application.receive_output(10))["status"] == 200
        body, more = b"", True
        while more:
            message = await application.receive_output(10)
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await application.wait(10)
        return body

    return async_to_sync(get)(scope(path, user))
