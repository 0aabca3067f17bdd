"""Django's user, whose names and address are encrypted."""

import os

from django.apps import AppConfig

from swapped.fields import swapped


@swapped("auth.User")
def encrypted():
    from envelope_fields.fields import BlindIndexField, EncryptedCharField, EncryptedEmailField

    person = {
        "first_name": EncryptedCharField,
        "last_name": EncryptedCharField,
        "email": EncryptedEmailField,
        "first_name_index": BlindIndexField("first_name"),
        "last_name_index": BlindIndexField("last_name"),
        "email_index": BlindIndexField("email", normalizer="email"),
    }
    if os.environ["SUITE"] == "django_widgets":
        return person  # a foreign key of these tests refers to the column of the name
    return {
        "username": EncryptedCharField,
        # Names differ that differ in case alone, and the form of a new user looks for such ones.
        "username_index": BlindIndexField("username", unique=True),
        "username_folded": BlindIndexField("username", normalizer="casefold"),
        **person,
    }


class Users(AppConfig):
    """Has the admin of users be as the checks of ours want it, for whichever site it is."""

    name = "swapped.users"

    def ready(self):
        from django.contrib.auth.admin import UserAdmin

        from envelope_fields.fields.admin import EncryptedAdminMixin

        if EncryptedAdminMixin not in UserAdmin.__bases__:  # each change of settings calls this
            UserAdmin.__bases__ = (EncryptedAdminMixin, *UserAdmin.__bases__)
        UserAdmin.search_fields = ["=username", "first_name__exact", "last_name__exact", "=email"]
        UserAdmin.sortable_by = ["is_staff"]
        UserAdmin.ordering = ["pk"]
