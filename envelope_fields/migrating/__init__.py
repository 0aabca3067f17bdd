"""What happens while `migrate` runs: what would lose values, or the keys of values, is refused."""

from django.apps import AppConfig
from django.db.models.signals import pre_migrate


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    from envelope_fields.migrating import (
        altered_indexes,
        bound_columns,
        indexes,
        moves,
        new_columns,
        plan,
        refusals,
        renames,
    )

    for look in (
        plan.run_as_they_are,
        refusals.refuse_to_drop_keys,
        refusals.refuse_conversions,
        altered_indexes.look,
        indexes.look,
        moves.look,
        bound_columns.look,
        new_columns.look,
        renames.refuse,
        renames.carry_conversions,
    ):
        uid = f"{look.__module__}.{look.__name__}"
        pre_migrate.connect(look, sender=app, dispatch_uid=uid)
