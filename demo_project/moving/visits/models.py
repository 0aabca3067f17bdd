from django.db import models


class Visit(models.Model):
    changes = models.IntegerField(default=0)
    notes = models.TextField()
