"""Indexes that the model has no more, and a database has not retired: it skipped a deployment."""

from __future__ import annotations

from typing import Any

from envelope_fields.census.columns import index_columns
from envelope_fields.indexing.builds import wait_until_known
from envelope_fields.indexing.states import IndexReport
from envelope_fields.lifecycle.index_states import begun_index, change_index_state, replacing_index
from envelope_fields.models import IndexState


def is_undeclared(label: str) -> bool:
    """Whether an index is begun, and not in the models of this build."""
    label = label.lower()
    declared: list[Any] = [column.field for column in index_columns()]
    return begun_index(label) is not None and not any(
        index.field_path == label for index in declared
    )


def retire_undeclared(label: str, *, actor: Any = None) -> IndexReport:
    """Retire such an index, by what is known of it. What it has stays, until its column goes.

    Raises:
        IndexNotReady: lookups ask it, and no other one instead.
        KeyAccessDenied: the actor may not.
    """
    report = IndexReport(label.lower(), IndexState.RETIRED)
    newer = replacing_index(report.label)
    if newer is not None:
        report.unseen += wait_until_known(report.label, newer.state_changed_at)
    change_index_state(report.label, IndexState.RETIRED, actor=actor)
    return report
