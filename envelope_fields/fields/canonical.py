"""Fields whose values have canonical bytes: dates, numbers, addresses and their kin.

The column holds a value in the form of `docs/spec/canonical-values-v1.md`, whatever the version of
Python and Django is.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

from envelope_fields.crypto.canonical import CanonicalType
from envelope_fields.fields.encrypted import EncryptedFieldMixin

_KNOWN = ("django.db.models.", "envelope_fields.fields.")


class CanonicalMixin(EncryptedFieldMixin):
    """Writes values of a Django field class, which follows in the MRO, as canonical bytes.

    Attributes:
        canonical: the type of the values, once Django has prepared them.
        prepared_types: classes whose objects Django would leave as they are.
    """

    canonical: ClassVar[CanonicalType]
    prepared_types: ClassVar[tuple[type, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "canonical" in vars(cls) and "from_plaintext" not in vars(cls):
            # A function of the class itself, so that a value that is read costs one call less.
            cls.from_plaintext = staticmethod(cls.canonical.decode)  # type: ignore[assignment]

    def meant_by(self, value: Any) -> Any:
        """Return what Django stores of a value: `"7"` is the number 7."""
        return self.get_prep_value(value)

    def to_plaintext(self, value: Any) -> bytes:
        encode: Callable[[Any], bytes] = self.canonical.encode
        try:
            if type(value) in self.prepared_types and not self._prepares:
                return encode(value)
            return encode(self.meant_by(value))
        except Exception as error:  # Django's own show the value
            cause = type(error).__name__
        del value  # what is raised must not hold the value, nor show it in its traceback
        raise ValueError(f"{self}: this is not a value of the field ({cause}).")

    @cached_property
    def _prepares(self) -> bool:
        """Whether a subclass, or a field class between Django's and ours, has its own say."""
        ours: Any = type(self)
        return any(
            name in vars(each) and not each.__module__.startswith(_KNOWN)
            for each in ours.__mro__
            for name in ("get_prep_value", "to_python", "meant_by")
        )


class EmptyIsNullMixin(CanonicalMixin):
    """Stores NULL for more than None, as Django does: for an address that a form left empty.

    A subclass says in `is_null` for what.
    """

    makes_null = True
