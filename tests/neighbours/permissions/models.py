from django.contrib.auth.models import AbstractUser

from envelope_fields.fields import EncryptedTextField


class User(AbstractUser):
    phone = EncryptedTextField(blank=True, default="none")
