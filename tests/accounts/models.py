"""Users who are known by an encrypted address."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

from envelope_fields.fields import BlindIndexField, EncryptedCharField, EncryptedEmailField


class UserManager(BaseUserManager):
    def create_user(self, email, password=None, **fields):
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email, password=None, **fields):
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    email = EncryptedEmailField()
    email_index = BlindIndexField("email", normalizer="email", unique=True)
    nickname = EncryptedCharField(max_length=30, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"


class Letter(models.Model):
    to = models.ForeignKey(User, models.CASCADE)
    text = models.TextField()
