from django.db import models
from django_ckeditor_5.fields import CKEditor5Field
from django_countries.fields import CountryField
from djmoney.models.fields import MoneyField
from phonenumber_field.modelfields import PhoneNumberField

from envelope_fields.fields import encrypted


class Patient(models.Model):
    phone = encrypted(PhoneNumberField(region="DE", blank=True, null=True))
    country = encrypted(CountryField(blank=True))
    countries = encrypted(CountryField(multiple=True, blank=True))
    letter = encrypted(CKEditor5Field(blank=True, config_name="extends"))
    debt = encrypted(
        MoneyField(max_digits=10, decimal_places=2, default_currency="EUR", null=True, blank=True)
    )


class Plain(models.Model):
    """What the fields do without us."""

    phone = PhoneNumberField(region="DE", blank=True, null=True)
    country = CountryField(blank=True)
    countries = CountryField(multiple=True, blank=True)
    letter = CKEditor5Field(blank=True, config_name="extends")
    debt = MoneyField(
        max_digits=10, decimal_places=2, default_currency="EUR", null=True, blank=True
    )
