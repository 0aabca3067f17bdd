"""What was refused is said where somebody was before; what the policy refused is a 403."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from envelope_fields.admin.shown import ChangedMeanwhile
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.lifecycle import AliasRefused


def answered(
    request: HttpRequest, back: str, view: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    """Return what a view answers, or go back and say why it could not.

    Raises:
        KeyAccessDenied: the policy refused it.
    """
    try:
        return view()
    except (AliasRefused, ChangedMeanwhile) as error:
        messages.error(request, str(error))
        return redirect(request.path)
    except KeyAccessDenied:
        raise
    except (EnvelopeError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return redirect(back)
