"""When keys are due for rotation, computed in the database, so that lists can sort and filter."""

from __future__ import annotations

from typing import Any

from django.db.models import DateTimeField, F, Func, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

_NEVER_ROTATED = (KeyState.PENDING_DELETION, KeyState.DESTROYED)


class _DaysLater(Func):
    """A moment, some days later; each database has a syntax of its own for it."""

    output_field = DateTimeField()
    template = "(%(expressions)s * interval '1 day')"  # PostgreSQL
    arg_joiner = " + "

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "DATE_ADD(%(expressions)s DAY)"
        return self.as_sql(
            compiler, connection, template=template, arg_joiner=", INTERVAL ", **context
        )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # Text in the form that Django stores; a percent sign stands doubled in a template.
        template = "strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', %(expressions)s || ' days')"
        return self.as_sql(compiler, connection, template=template, arg_joiner=", ", **context)


def with_versions(keys: QuerySet[MasterKey]) -> QuerySet[MasterKey]:
    """Add `version_count`, `current_number`, `rotated_at` and `due_at` to keys.

    The numbers of a key's versions have no gaps, so the newest says how many there are.
    """
    versions = MasterKeyVersion.objects.using(keys.db).filter(master_key=OuterRef("pk"))
    newest = versions.order_by("-number")
    return keys.annotate(
        version_count=Subquery(newest.values("number")[:1]),
        current_number=Coalesce(
            Subquery(newest.filter(opened_at__isnull=False).values("number")[:1]), 1
        ),
        rotated_at=Subquery(newest.values("created_at")[:1]),
        due_at=_DaysLater(F("rotated_at"), F("rotation_period")),
    )


def due(keys: QuerySet[MasterKey]) -> QuerySet[MasterKey]:
    """Pick the keys whose rotation period is over."""
    return keys.filter(Q(due_at__lte=timezone.now())).exclude(state__in=_NEVER_ROTATED)
