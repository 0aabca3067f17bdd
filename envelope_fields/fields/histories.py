"""Tables of histories and events, which packages fill with copies of rows."""

from typing import Any

# Where the models that django-simple-history and django-pghistory make name the one they follow.
_MARKS = ("instance_type", "pgh_tracked_model")


def tracked_model(model: Any) -> Any:
    """Return the model whose rows another keeps as they were; None if it keeps none."""
    for mark in _MARKS:
        tracked = getattr(model, mark, None)
        if hasattr(tracked, "_meta"):
            return tracked
    return None


def is_history(model: Any) -> bool:
    """Whether a model keeps what the rows of another were."""
    return tracked_model(model) is not None
