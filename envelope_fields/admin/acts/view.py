"""The page that says what an act will do, and does it when it is confirmed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from envelope_fields.admin.acts import PAGES, ActPage
from envelope_fields.admin.acts.base import ActForm, Row, name_of
from envelope_fields.admin.answering import answered
from envelope_fields.admin.shown import as_shown, shown
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import possible_acts

_TEMPLATE = "admin/envelope_fields/masterkey/confirm.html"


def answer(
    request: HttpRequest, row: Row, name: str, back: str, context: dict[str, Any]
) -> HttpResponseBase:
    """Show what an act on a key or version will do, or do it.

    Args:
        row: what it is done to; whoever asks is known to have the right.
        name: the name of the act.
        back: where to go afterwards.
        context: what every page of the admin site has.

    Raises:
        KeyAccessDenied: the policy refused it after all.
    """
    return answered(request, back, lambda: _answer(request, row, name, back, context))


def _answer(
    request: HttpRequest, row: Row, name: str, back: str, context: dict[str, Any]
) -> HttpResponse:
    page = PAGES[name](row, request.user)
    form = _form(request, page)
    if form.is_valid():
        with as_shown(request, row):
            done = page.perform(form)
        messages.success(request, done)
        return redirect(back)
    return TemplateResponse(request, _TEMPLATE, _asking(page, form, back, context)).render()


def _form(request: HttpRequest, page: ActPage) -> ActForm:
    if request.method == "POST":  # what is not possible meets the lifecycle, which says why
        return page.form(request.POST)
    if page.act not in possible_acts(page.row):
        raise MasterKeyUnusable(
            _("%(what)s is %(state)s: there is nothing to do here.")
            % {"what": name_of(page.row), "state": page.row.get_state_display()}
        )
    return page.form(initial=page.initial())


def _asking(page: ActPage, form: ActForm, back: str, context: dict[str, Any]) -> dict[str, Any]:
    return {
        **context,
        "title": page.title,
        "page": page,
        "consequences": page.consequences(),
        "can_be_done": page.can_be_done,
        "rows": page.rows or [],
        "form": form,
        "shown": shown(page.row),
        "back": back,
        "media": context["media"] + form.media,
    }
