"""A model whose managers hide rows, from everyone who asks them."""

from django.db import models

from envelope_fields.fields import EncryptedTextField


class Nothing(models.Manager):
    def get_queryset(self):
        return super().get_queryset().none()


class Hidden(models.Model):
    text = EncryptedTextField(null=True)

    objects = Nothing()

    class Meta:
        base_manager_name = "objects"
        default_manager_name = "objects"
