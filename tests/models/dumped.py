"""What fixtures can be about: natural keys, forward references, JSON that cannot be null."""

from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class WardManager(models.Manager):
    def get_by_natural_key(self, name):
        return self.get(name=name)


class Ward(models.Model):
    name = models.CharField(max_length=50, unique=True)
    door_code = EncryptedTextField(blank=True)

    objects = WardManager()

    def natural_key(self):
        return (self.name,)


def ward_alias(bed):
    return bed.key_alias


class Bed(models.Model):
    ward = models.ForeignKey(Ward, on_delete=models.CASCADE, null=True)
    key_alias = models.CharField(max_length=50, default="default")
    patient = EncryptedTextField(key=ward_alias)


class Chart(models.Model):
    values = EncryptedJSONField()
