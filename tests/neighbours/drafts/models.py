from django.db import models
from modelcluster.fields import ParentalKey
from modelcluster.models import ClusterableModel
from wagtail.admin.panels import FieldPanel
from wagtail.admin.ui.tables import Column
from wagtail.models import DraftStateMixin, RevisionMixin, TranslatableMixin
from wagtail.snippets.models import register_snippet
from wagtail.snippets.views.snippets import SnippetViewSet
from wagtail_localize.fields import SynchronizedField

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedEmailField,
    EncryptedJSONField,
    EncryptedTextField,
)


class Letter(DraftStateMixin, RevisionMixin, models.Model):
    """A snippet with drafts."""

    subject = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True)
    data = EncryptedJSONField(null=True, blank=True)
    secret = EncryptedTextField(blank=True, key="lab", on_denied="mask")
    secret_index = BlindIndexField("secret", normalizer="casefold")
    text_index = BlindIndexField("text", normalizer="casefold")

    panels = [FieldPanel("subject"), FieldPanel("text"), FieldPanel("data"), FieldPanel("secret")]


@register_snippet
class Letters(SnippetViewSet):
    model = Letter
    list_display = ["subject", Column("text")]  # one that is not sorted by


class Folder(DraftStateMixin, RevisionMixin, ClusterableModel):
    """One whose drafts hold those of its parts."""

    name = EncryptedTextField()


class Sheet(models.Model):
    folder = ParentalKey(Folder, related_name="sheets", on_delete=models.CASCADE)
    text = EncryptedTextField()


@register_snippet
class Leaflet(TranslatableMixin, models.Model):
    """One that has no drafts of Wagtail's: wagtail-localize keeps what it translates."""

    subject = models.CharField(max_length=50)
    text = EncryptedTextField()
    secret = EncryptedTextField(blank=True, key="lab", on_denied="mask")
    override_translatable_fields = [
        SynchronizedField("text", overridable=False),
        SynchronizedField("secret", overridable=False),
    ]


@register_snippet
class Booklet(TranslatableMixin, models.Model):
    """One whose values it keeps: to translate one, and to have the other overridden."""

    text = EncryptedTextField()
    email = EncryptedEmailField()
    data = EncryptedJSONField(null=True)
