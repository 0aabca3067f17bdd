"""The admin shows encrypted values like any others; it searches and sorts by plain columns."""

import json

from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.forms import ModelForm
from django.utils.text import Truncator

from demo_project.clinic import fhir
from demo_project.clinic.models import Finding, Patient, Resource
from envelope_fields.fields import EncryptedJSONField

admin.site.site_header = admin.site.site_title = "The clinic"
admin.site.index_title = "Encrypted in the database, readable here"


class Indented(json.JSONEncoder):
    """JSON for people."""

    def __init__(self, **options):
        super().__init__(**{**options, "indent": 2})


FOR_JSON = {
    "encoder": Indented,
    "widget": AdminTextareaWidget(attrs={"rows": 12, "style": "font-family: monospace"}),
}


class PatientForm(ModelForm):
    class Meta:
        model = Patient
        fields = [
            "file_number",
            "registered_on",
            "name",
            "born",
            "phone",
            "email",
            "notes",
            "record",
        ]
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


@admin.register(Finding)
class FindingAdmin(admin.ModelAdmin):
    list_display = ["patient", "id"]


@admin.register(Patient)
class PatientAdmin(admin.ModelAdmin):
    form = PatientForm
    formfield_overrides = {EncryptedJSONField: FOR_JSON}
    inlines = [ResourceInline]
    list_display = ["name_", "born_", "notes_", "file_number", "registered_on"]
    search_fields = ["file_number", "=email"]
    search_help_text = "Searches file numbers, and whole e-mail addresses: names are encrypted."
    date_hierarchy = "registered_on"

    # Methods, because the admin sorts by columns, and the order of envelopes means nothing.

    @admin.display(description="name")
    def name_(self, patient):
        return patient.name

    @admin.display(description="born on", empty_value="–")
    def born_(self, patient):
        return patient.born

    @admin.display(description="notes")
    def notes_(self, patient):
        return Truncator(patient.notes).chars(60)


@admin.register(Resource)
class ResourceAdmin(admin.ModelAdmin):
    formfield_overrides = {EncryptedJSONField: FOR_JSON}
    autocomplete_fields = ["patient"]
    list_display = ["about", "resource_type", "patient_name"]
    list_filter = ["resource_type"]
    list_select_related = ["patient"]
    search_fields = ["fhir_id", "patient__file_number"]
    search_help_text = "Searches FHIR ids and file numbers."

    @admin.display(description="about")
    def about(self, resource):
        return fhir.summary(resource.content) or "–"

    @admin.display(description="patient", empty_value="–")
    def patient_name(self, resource):
        return resource.patient and resource.patient.name
