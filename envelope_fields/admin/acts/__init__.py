"""Acts on keys: what each will do, in numbers, before it is done."""

from envelope_fields.admin.acts.aliases import MoveAlias
from envelope_fields.admin.acts.base import ActPage
from envelope_fields.admin.acts.deletion import CancelDeletion, ScheduleDeletion
from envelope_fields.admin.acts.shredding import Shred
from envelope_fields.admin.acts.switching import Disable, Enable, Rotate

# In the order of the buttons.
PAGES: dict[str, type[ActPage]] = {
    str(page.act): page
    for page in (Rotate, Enable, Disable, MoveAlias, ScheduleDeletion, CancelDeletion, Shred)
}

__all__ = ["PAGES", "ActPage"]
