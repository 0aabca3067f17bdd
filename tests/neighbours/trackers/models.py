from dirtyfields import DirtyFieldsMixin
from django.db import models
from django_lifecycle import AFTER_UPDATE, LifecycleModelMixin, hook
from model_utils import FieldTracker

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Row(models.Model):
    title = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    data = EncryptedJSONField(default=dict)

    class Meta:
        abstract = True


class Tracked(Row):
    tracker = FieldTracker()


class Dirty(DirtyFieldsMixin, Row):
    pass


class Hooked(LifecycleModelMixin, Row):
    heard = models.IntegerField(default=0)

    @hook(AFTER_UPDATE, when="text", has_changed=True)
    def hear(self):
        Hooked.objects.filter(pk=self.pk).update(heard=models.F("heard") + 1)
