"""Encrypted dates, times and durations."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from django.conf import settings
from django.core.signals import setting_changed
from django.db import models
from django.utils import timezone

from envelope_fields.crypto import canonical
from envelope_fields.fields.canonical import CanonicalMixin
from envelope_fields.fields.types import Get, No, NowOptions, Options, Set, Typed


class _NowMixin(CanonicalMixin):
    """Knows `auto_now` and `auto_now_add`."""

    auto_now: bool
    auto_now_add: bool

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        if self.auto_now or (self.auto_now_add and add):
            # What was not looked at would be left as it is. Django sets what it means by now.
            setattr(model_instance, self.attname, None)
        return super().pre_save(model_instance, add)


class EncryptedDateField(Typed[Set, Get], _NowMixin, models.DateField):  # type: ignore[type-arg,misc]
    """A `DateField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: date | str  # for the plugin of django-stubs

        @overload
        def __init__(
            self: EncryptedDateField[date | str, date],
            *args: Any,
            **options: Unpack[NowOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedDateField[date | str | None, date | None],
            *args: Any,
            **options: Unpack[NowOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.DATE
    prepared_types = (date,)


class EncryptedDateTimeField(Typed[Set, Get], _NowMixin, models.DateTimeField):  # type: ignore[type-arg,misc]
    """A `DateTimeField` whose values are stored encrypted, in UTC where `USE_TZ` is on."""

    if TYPE_CHECKING:
        _pyi_private_set_type: datetime | date | str

        @overload
        def __init__(
            self: EncryptedDateTimeField[datetime | date | str, datetime],
            *args: Any,
            **options: Unpack[NowOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedDateTimeField[datetime | date | str | None, datetime | None],
            *args: Any,
            **options: Unpack[NowOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.DATETIME

    def meant_by(self, value: Any) -> Any:
        is_moment = type(value) is datetime and value.tzinfo is not None
        return value if is_moment and not self._prepares else super().meant_by(value)

    def from_plaintext(self, plaintext: bytes) -> datetime:
        value: datetime = canonical.DATETIME.decode(plaintext)
        if (value.tzinfo is not None) == _are_aware():
            return value
        # It was written under the other setting.
        change = timezone.make_aware if _are_aware() else timezone.make_naive
        return change(value, timezone.get_default_timezone())


class EncryptedTimeField(Typed[Set, Get], _NowMixin, models.TimeField):  # type: ignore[type-arg,misc]
    """A `TimeField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: time | datetime | str

        @overload
        def __init__(
            self: EncryptedTimeField[time | datetime | str, time],
            *args: Any,
            **options: Unpack[NowOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedTimeField[time | datetime | str | None, time | None],
            *args: Any,
            **options: Unpack[NowOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.TIME
    prepared_types = (time,)


class EncryptedDurationField(Typed[Set, Get], CanonicalMixin, models.DurationField):  # type: ignore[type-arg,misc]
    """A `DurationField` whose values are stored encrypted, in microseconds."""

    if TYPE_CHECKING:
        _pyi_private_set_type: timedelta | str

        @overload
        def __init__(
            self: EncryptedDurationField[timedelta | str, timedelta],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedDurationField[timedelta | str | None, timedelta | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.DURATION
    prepared_types = (timedelta,)

    def meant_by(self, value: Any) -> Any:
        if value == "":  # which Django would read as no time
            raise ValueError
        return self.to_python(value)


@cache
def _are_aware() -> bool:
    """Whether the datetimes of this project have a time zone."""
    return bool(settings.USE_TZ)  # which takes longer to ask than a value to read


def _setting_changed(*, setting: str, **_: Any) -> None:
    if setting == "USE_TZ":
        _are_aware.cache_clear()


setting_changed.connect(_setting_changed, dispatch_uid="envelope_fields.fields.times")
