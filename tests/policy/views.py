"""Views that say who is acting, in all the ways in which Django runs them."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from rest_framework.authentication import BasicAuthentication
from rest_framework.response import Response
from rest_framework.views import APIView

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy import APPLICATION, acting_as, current_principal, origin


def who():
    try:
        return current_principal().name or current_principal().type
    except KeyAccessDenied:
        return "refused"


def sync_view(request):
    return HttpResponse(who())


async def async_view(request):
    return HttpResponse(await sync_to_async(who)())


def crossing_view(request):
    async def inside():
        await asyncio.sleep(0)
        return await sync_to_async(who)()

    return HttpResponse(async_to_sync(inside)())


def who_in_thread():
    try:
        return who()
    finally:
        connections.close_all()


def thread_view(request):
    context = copy_context()
    with ThreadPoolExecutor(2) as pool:
        bare, handed = pool.submit(who_in_thread), pool.submit(context.run, who_in_thread)
        return HttpResponse(f"{bare.result()} {handed.result()}")


async def task_view(request):
    async def task():
        return await sync_to_async(who)()

    return HttpResponse(" ".join(await asyncio.gather(task(), task())))


def application_view(request):
    with acting_as(APPLICATION):
        return HttpResponse(who())


def origin_view(request):
    return HttpResponse(f"{origin().address} {origin().request_id}")


def login_view(request):
    before = who()
    login(request, User.objects.get(username="ann"))
    return HttpResponse(f"{before} {who()}")


def parts():
    for _ in range(2):
        yield f"{who()} "
        with acting_as(APPLICATION):
            yield f"{who()} "


async def async_parts():
    for _ in range(2):
        yield f"{await sync_to_async(who)()} "
        with acting_as(APPLICATION):
            yield f"{await sync_to_async(who)()} "


def stream_view(request):
    return StreamingHttpResponse(parts())


async def async_stream_view(request):
    return StreamingHttpResponse(async_parts())


def failing_view(request):
    raise ZeroDivisionError


def denied_view(request):
    raise KeyAccessDenied("no")


async def async_denied_view(request):
    raise KeyAccessDenied("no")


started, over = threading.Event(), threading.Event()


def waiting_view(request):
    started.set()
    over.wait(10)
    return HttpResponse(who())


ends = []


async def ending_stream_view(request):
    async def parts():
        try:
            while True:
                yield b"x"
        finally:
            ends.append(await sync_to_async(who)())

    return StreamingHttpResponse(parts())


endless = []  # those that are asked for


async def endless_view(request):
    endless.append(request.path)
    await asyncio.Event().wait()


class ApiView(APIView):
    authentication_classes = [BasicAuthentication]

    def get(self, request):
        return Response(who())


urlpatterns = [
    path("sync", sync_view),
    path("async", async_view),
    path("crossing", crossing_view),
    path("thread", thread_view),
    path("task", task_view),
    path("application", application_view),
    path("origin", origin_view),
    path("login", login_view),
    path("stream", stream_view),
    path("async-stream", async_stream_view),
    path("failing", failing_view),
    path("denied", denied_view),
    path("async-denied", async_denied_view),
    path("waiting", waiting_view),
    path("ending-stream", ending_stream_view),
    path("endless", endless_view),
    path("api", ApiView.as_view()),
]
