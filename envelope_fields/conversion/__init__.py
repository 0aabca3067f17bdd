"""Conversions: what was stored before is brought into envelopes.

From another package's format, in the very column: `phases` has how far a column is, and ends its
conversion; `sample` says which keys open what is there, before anything is written; `convert` is
the job over its values, and starts it.

From a column in clear beside it: `obstacles` keep a field from that; `declaration` is what it
becomes, as `model_lines` and `migration_files`. `steps` lead from one of the `column_phases` to the
next, and `single_steps` do where nothing may wait; both stop for `unread_indexes`. `moves` are
their runs, of the jobs in `moving`, over the `pairs` of values of each row. `estimates` say how
long it takes. `late_columns` are those that come when a conversion is far on.

`representation` is what commands and the admin say of either. `orphans` are conversions under a
name that no field has any more.
"""

from envelope_fields.conversion.column_phases import has_moved, moving_field, moving_fields
from envelope_fields.conversion.convert import run, start
from envelope_fields.conversion.phases import (
    ConversionRefused,
    Phase,
    Standing,
    convertible,
    finish,
    standing,
    standings,
)
from envelope_fields.conversion.sample import Sampled, refuse_unopened, sample

__all__ = [
    "ConversionRefused",
    "Phase",
    "Sampled",
    "Standing",
    "convertible",
    "finish",
    "has_moved",
    "moving_field",
    "moving_fields",
    "refuse_unopened",
    "run",
    "sample",
    "standing",
    "standings",
    "start",
]
