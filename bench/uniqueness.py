"""How many queries a unique encrypted value takes, beside a unique plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection, transaction
from django.forms import modelform_factory
from django.test.utils import CaptureQueriesContext

from bench.loading import email
from bench.models import Unique, UniqueIndexed


def compare() -> Iterator[tuple[str, int, int]]:
    """Yield each kind of work, and the queries that it makes of a plain and an encrypted value."""
    for model in (Unique, UniqueIndexed):
        model.objects.create(email=email(0))  # type: ignore[attr-defined]  # models
    for name, work in _WORKS.items():
        yield name, _queries(work, Unique), _queries(work, UniqueIndexed)


def _queries(work: Callable[[Any], object], model: Any) -> int:
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        work(model)
        transaction.set_rollback(True)
    return len(queries)


def _check(model: Any) -> None:
    model(email=email(1)).full_clean()


def _form(model: Any) -> None:
    form = modelform_factory(model, fields=["email"])({"email": email(1)})
    assert form.is_valid(), form.errors
    form.save()


def _taken(model: Any) -> None:
    assert not modelform_factory(model, fields=["email"])({"email": email(0)}).is_valid()


def _save(model: Any) -> None:
    model(email=email(1)).save()


def _create_several(model: Any) -> None:
    model.objects.bulk_create([model(email=email(number)) for number in (1, 2)])


_WORKS = {
    "full_clean": _check, "form, and save": _form, "form, of a taken": _taken, "save": _save,
    "bulk_create": _create_several,
}  # fmt: skip
