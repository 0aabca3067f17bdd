"""Fields as other packages have them: with options, attributes and conversions of their own."""

from django.core.exceptions import ValidationError
from django.db import models


class Phone:
    """What the attribute gives."""

    def __init__(self, number):
        self.number = number

    def __str__(self):
        return self.number

    def __len__(self):
        return len(self.number)

    def __eq__(self, other):
        return isinstance(other, Phone) and self.number == other.number

    __hash__ = None


class PhoneAttribute:
    def __init__(self, field):
        self.field = field

    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__[self.field.name]

    def __set__(self, instance, value):
        instance.__dict__[self.field.name] = self.field.to_python(value)


def validate_number(value):
    if not str(value).lstrip("+").isdigit():
        raise ValidationError("This is no number: %(value)s", params={"value": value})


class PhoneField(models.CharField):
    descriptor_class = PhoneAttribute
    default_validators = (validate_number,)

    def __init__(self, *args, region=None, **kwargs):
        kwargs.setdefault("max_length", 20)
        super().__init__(*args, **kwargs)
        self.region = region

    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "region": self.region}

    def to_python(self, value):
        if value is None or isinstance(value, Phone):
            return value
        return Phone(value)

    def get_prep_value(self, value):
        value = self.to_python(value)
        if value is not None:
            validate_number(value)
        return None if value is None else value.number

    def from_db_value(self, value, expression, connection):
        return None if value is None else Phone(value)


class PairField(models.Field):
    """Of no field of Django's: two numbers, as a text."""

    def get_internal_type(self):
        return "TextField"

    def to_python(self, value):
        return tuple(map(int, value.split("/"))) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return None if value is None else "/".join(map(str, value))

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)


class CoinsField(models.DecimalField):
    """An amount whose attribute is set beside it, as that of money is."""

    def to_python(self, value):
        return super().to_python(value.removesuffix(" coins") if isinstance(value, str) else value)

    def contribute_to_class(self, cls, name):
        super().contribute_to_class(cls, name)
        setattr(cls, name, CoinsAttribute(self))


class CoinsAttribute(PhoneAttribute):
    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        amount = instance.__dict__[self.field.name]
        return None if amount is None else f"{amount} coins"
