"""Fields of one's own, made of the mixin and another field of Django."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from django.apps.registry import Apps
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.duration import duration_string

from envelope_fields.fields import EncryptedFieldMixin


class EncryptedDateField(EncryptedFieldMixin, models.DateField):
    def to_plaintext(self, value):
        try:
            return self.to_python(value).isoformat().encode()
        except ValidationError:
            del value
        raise ValueError(f"{self}: this is no date.")

    def from_plaintext(self, plaintext):
        return self.to_python(plaintext.decode())


class EncryptedIntegerField(EncryptedFieldMixin, models.IntegerField):
    def to_plaintext(self, value):
        return str(self.get_prep_value(value)).encode()

    def from_plaintext(self, plaintext):
        return int(plaintext)


class Birth(models.Model):
    day = EncryptedDateField(null=True, blank=True)
    grams = EncryptedIntegerField(default=0)
    recorded = EncryptedDateField(auto_now=True)


class AsTextMixin(EncryptedFieldMixin):
    """Values as a text that the field of Django reads."""

    def to_plaintext(self, value):
        return str(self.to_python(value)).encode()

    def from_plaintext(self, plaintext):
        return self.to_python(plaintext.decode())


class EncryptedDecimalField(AsTextMixin, models.DecimalField):
    pass


class EncryptedBooleanField(AsTextMixin, models.BooleanField):
    pass


class EncryptedDateTimeField(AsTextMixin, models.DateTimeField):
    pass


class EncryptedUUIDField(AsTextMixin, models.UUIDField):
    pass


class EncryptedTimeField(AsTextMixin, models.TimeField):
    pass


class EncryptedDurationField(AsTextMixin, models.DurationField):
    def to_plaintext(self, value):
        return duration_string(self.to_python(value)).encode()


class EncryptedFloatField(AsTextMixin, models.FloatField):
    pass


class EncryptedCharField(AsTextMixin, models.CharField):
    pass


class EncryptedEmailField(AsTextMixin, models.EmailField):
    pass


class EncryptedPositiveIntegerField(AsTextMixin, models.PositiveIntegerField):
    pass


def own_fields(**options):
    """Return a field of each type, by the name of the type of its values."""
    return {
        "boolean": EncryptedBooleanField(**options),
        "char": EncryptedCharField(max_length=20, **options),
        "date": EncryptedDateField(**options),
        "datetime": EncryptedDateTimeField(**options),
        "decimal": EncryptedDecimalField(max_digits=20, decimal_places=10, **options),
        "duration": EncryptedDurationField(**options),
        "email": EncryptedEmailField(**options),
        "float": EncryptedFloatField(**options),
        "integer": EncryptedIntegerField(**options),
        "positive": EncryptedPositiveIntegerField(**options),
        "time": EncryptedTimeField(**options),
        "uuid": EncryptedUUIDField(**options),
    }


# Two values of each type, such as a database would change if it took an envelope for one of them.
VALUES = {
    "boolean": (True, False),
    "char": ("1", "0"),
    "date": (date(2024, 2, 29), date(1, 1, 1)),
    "datetime": (datetime(2024, 2, 29, 1, 2, 3, 4, UTC), datetime(1999, 12, 31, tzinfo=UTC)),
    "decimal": (Decimal("1234567890.0123456789"), Decimal("-0E-10")),
    "duration": (timedelta(-3, 4, 5), timedelta(0)),
    "email": ("a@example.com", "b@example.com"),
    "float": (0.1, -1e300),
    "integer": (2**31 - 1, 0),
    "positive": (2**31 - 1, 0),
    "time": (time(1, 2, 3, 4), time(0)),
    "uuid": (UUID(int=1), UUID(int=2**128 - 1)),
}

apps = Apps()


class Typed(models.Model):
    """A field of each type; its table is made by the tests that need it."""

    title = models.CharField(max_length=20)
    locals().update(own_fields(null=True, blank=True))

    class Meta:
        apps = apps
        app_label = "own_types"
