"""A column that moves, and the two columns alone."""

from __future__ import annotations

from django.db import models

from envelope_fields.fields import EncryptedTextField


class Visit(models.Model):
    report_clear = models.TextField(null=True, blank=True, editable=False, db_column="report")
    report = EncryptedTextField(null=True, converts="report_clear", db_column="report_encrypted")


class Beside(models.Model):
    """The same two columns, written by hand."""

    report_clear = models.TextField(null=True)
    report = EncryptedTextField(null=True)


class Clear(models.Model):
    """The one in clear alone."""

    report = models.TextField(null=True)


class Sealed(models.Model):
    """The encrypted one alone."""

    report = EncryptedTextField(null=True)
