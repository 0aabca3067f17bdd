"""Who is acting while a view of the API runs: whoever Django REST framework says the user is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.http import HttpRequest

from envelope_fields.middleware import RequestUser, origin_of
from envelope_fields.policy import origin
from envelope_fields.policy.acting import bound
from envelope_fields.policy.origin import NOWHERE, coming_from
from envelope_fields.policy.requests import handled


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Bind the user of a request to the code inside, whoever was bound outside.

    The user is looked up when a key is asked for: anonymous before the framework has authenticated
    the request, and whom it found from then on. It holds without the middleware, too.
    """
    with ExitStack() as stack:
        if origin() == NOWHERE:
            stack.enter_context(handled())
            stack.enter_context(coming_from(origin_of(request)))
        stack.enter_context(bound(RequestUser(request)))
        yield
