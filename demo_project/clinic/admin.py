"""The admin shows encrypted values like any others; it searches and sorts by plain columns."""

import json

from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.forms import ModelForm
from django.utils.text import Truncator

from demo_project.clinic import fhir
from demo_project.clinic.models import Patient, Resource
from envelope_fields.fields import EncryptedJSONField

admin.site.site_header = admin.site.site_title = "The clinic"
admin.site.index_title = "Encrypted in the database, readable here"


class Indented(json.JSONEncoder):
    """JSON for people."""

    def __init__(self, **options):
        super().__init__(**{**options, "indent": 2})


class PatientForm(ModelForm):
    class Meta:
        model = Patient
        fields = ["file_number", "registered_on", "name", "notes", "record"]
        widgets = {"name": AdminTextInputWidget}


class ResourceInline(admin.TabularInline):
    model = Resource
    fields = readonly_fields = ["resource_type", "about"]
    extra = max_num = 0
    can_delete = False
    show_change_link = True
    verbose_name_plural = "FHIR resources"

    @admin.display(description="about")
    def about(self, resource):
        return fhir.summary(resource.content) or "–"


@admin.register(Patient)
class PatientAdmin(admin.ModelAdmin):
    form = PatientForm
    formfield_overrides = {EncryptedJSONField: {"encoder": Indented}}
    inlines = [ResourceInline]
    list_display = ["file_number", "name_", "notes_", "registered_on"]
    search_fields = ["file_number"]
    search_help_text = "Searches file numbers: names are encrypted."
    date_hierarchy = "registered_on"

    # Methods, because the admin sorts by columns, and the order of envelopes means nothing.

    @admin.display(description="name")
    def name_(self, patient):
        return patient.name

    @admin.display(description="notes")
    def notes_(self, patient):
        return Truncator(patient.notes).chars(60)


@admin.register(Resource)
class ResourceAdmin(admin.ModelAdmin):
    formfield_overrides = {EncryptedJSONField: {"encoder": Indented}}
    autocomplete_fields = ["patient"]
    list_display = ["fhir_id", "resource_type", "about", "patient"]
    list_filter = ["resource_type"]
    list_select_related = ["patient"]
    search_fields = ["fhir_id", "patient__file_number"]
    search_help_text = "Searches FHIR ids and file numbers."

    @admin.display(description="about")
    def about(self, resource):
        return fhir.summary(resource.content) or "–"
