"""Read by mypy with the plugin of django-stubs, which knows the types of Django's own fields."""

from datetime import date
from typing import assert_type

from django.db import models

from envelope_fields.fields import EncryptedArrayField, encrypted


class Contact(models.Model):
    born = encrypted(models.DateField(), key="lab")
    died = encrypted(models.DateField(null=True))
    words = EncryptedArrayField(models.TextField())
    days = EncryptedArrayField(models.DateField(), null=True)

    class Meta:
        app_label = "typed"


class Wrong(models.Model):
    text = encrypted("a text")  # wrong

    class Meta:
        app_label = "typed"


def look(contact: Contact) -> None:
    assert_type(contact.born, date)
    assert_type(contact.died, date | None)
    assert_type(contact.words, list[str])
    assert_type(contact.days, list[date] | None)
    contact.words = [1]  # wrong
    contact.born = date.min
    contact.born = None  # wrong
    contact.died = None
