"""Logging in with an encrypted address or number: what no account can have is of no account.

A client may send anything as a name, such as an empty one in a header. To look for that is an
error, which Django would let through: the answer would be a 500, or a command end in a traceback.
"""

from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.views.decorators.debug import sensitive_variables

from envelope_fields.fields.index.terms import finding_nothing


def register() -> None:
    """Have Django find no account where nothing of a name is left in its normal form."""
    from django.contrib.auth.backends import ModelBackend
    from django.contrib.auth.base_user import BaseUserManager

    for owner, name in (
        (ModelBackend, "authenticate"),
        (ModelBackend, "aauthenticate"),
        (BaseUserManager, "get_by_natural_key"),
        (BaseUserManager, "aget_by_natural_key"),
    ):
        method = getattr(owner, name)
        if not hasattr(method, "__wrapped__"):
            setattr(owner, name, wraps(method)(_finding_nothing(method)))


def _finding_nothing(method: Any) -> Any:
    @sensitive_variables()
    def found(self: Any, *args: Any, **kwargs: Any) -> Any:
        with finding_nothing():
            return method(self, *args, **kwargs)

    @sensitive_variables()
    async def afound(self: Any, *args: Any, **kwargs: Any) -> Any:
        with finding_nothing():
            return await method(self, *args, **kwargs)

    return afound if iscoroutinefunction(method) else found
