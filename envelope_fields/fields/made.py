"""Values that a field makes while its row is saved, as a `pre_save()` of a project's own may.

An object need not have them: Django stores what `pre_save()` returns. Columns beside the encrypted
one, such as its blind index, are made of the same.
"""

from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from django.db.models import Model
from django.db.models.base import ModelState

from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.sealed import MISSING
from envelope_fields.fields.storing import carried

_OURS = "envelope_fields."
_DJANGOS = "django.db.models.fields"  # whose objects have what they return

# By the state of an object and not in it, so that no pickle has a value twice.
_inserted: WeakKeyDictionary[ModelState, dict[Any, Any]] = WeakKeyDictionary()


def makes_values(field: Any) -> bool:
    """Whether a field may store another value than its object has."""
    return _is_made_by(type(field).__mro__)


def plain_class_makes_values(field: Any) -> bool:
    """Whether the plain class that an encrypted field extends has a say in what is stored.

    Then a value that no code looked at is not left alone before that class was asked.
    """
    kinds = type(field).__mro__
    ours = [place for place, each in enumerate(kinds) if each.__module__.startswith(_OURS)]
    return _is_made_by(kinds[ours[-1] :])


def _is_made_by(kinds: Iterable[type]) -> bool:
    plain = (each for each in kinds if not each.__module__.startswith(_OURS))
    makes = next(each for each in plain if "pre_save" in vars(each))
    return not makes.__module__.startswith(_DJANGOS)


def noting(field: Any) -> Callable[[Model, bool], Any]:
    """Return the `pre_save()` of a field that makes values: it notes what goes into a new row."""
    pre_save = type(field).pre_save

    def noted(model_instance: Model, add: bool) -> Any:
        made = Unencrypted(pre_save(field, model_instance, add), model_instance)
        prepared = carried(field, made)
        if add and (field.indexes or field.converted is not None):
            _inserted.setdefault(model_instance._state, {})[field] = prepared
        return prepared

    return noted


def inserted(field: Any, instance: Model) -> Any:
    """Return what an INSERT writes of a field that makes values; MISSING of any other."""
    return _inserted.get(instance._state, {}).get(field, MISSING)
