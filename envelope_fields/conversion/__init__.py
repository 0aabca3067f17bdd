"""Conversions: what was stored before, in a field's own column, is brought into envelopes.

`phases` has how far a column is, and ends its conversion; `sample` says which keys open what is
there, before anything is written; `convert` is the job over its values, and `runs` starts it.
"""

from envelope_fields.conversion.phases import (
    ConversionRefused,
    Phase,
    Standing,
    convertible,
    finish,
    standing,
    standings,
)
from envelope_fields.conversion.runs import run, start
from envelope_fields.conversion.sample import Sampled, refuse_unopened, sample

__all__ = [
    "ConversionRefused",
    "Phase",
    "Sampled",
    "Standing",
    "convertible",
    "finish",
    "refuse_unopened",
    "run",
    "sample",
    "standing",
    "standings",
    "start",
]
