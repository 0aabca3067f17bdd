"""Code in an event loop, which leaves no connection behind."""

import asyncio
from unittest import mock

from asgiref.sync import sync_to_async
from django.db import connections


def in_event_loop(coroutine):
    """Return what a coroutine returns, or raise what it raises."""

    async def run():
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()
            # A loop has connections of its own, where it may wait for a database at all.
            with mock.patch.dict("os.environ", DJANGO_ALLOW_ASYNC_UNSAFE="1"):
                connections.close_all()

    return asyncio.run(run())
