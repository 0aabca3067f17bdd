from datetime import date

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from demo_project.clinic import patients
from demo_project.clinic.models import Patient, Resource

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def loaded():
    patients.load()
    Resource.objects.create(
        resource_type="Condition",
        fhir_id="c1",
        patient=Patient.objects.get(file_number="C-0001"),
        content={"code": {"text": "Hay fever"}},
    )


def test_lists_show_what_is_encrypted(admin_client):
    page = admin_client.get(reverse("admin:clinic_patient_changelist"))
    assert "Ibrahim Diallo" in page.text
    assert "HIV positive" in page.text
    assert "March 14, 1971" in page.text
    page = admin_client.get(reverse("admin:clinic_resource_changelist"))
    assert "Hay fever" in page.text


def test_search_is_by_plain_columns(admin_client):
    found = admin_client.get(reverse("admin:clinic_patient_changelist"), {"q": "C-0003"})
    assert "Mei-Ling Chén" in found.text
    assert "Diallo" not in found.text
    nothing = admin_client.get(reverse("admin:clinic_patient_changelist"), {"q": "Diallo"})
    assert "0 patients" in nothing.text


@pytest.mark.parametrize("term", ["ibrahim@example.net", " IBRAHIM@Example.Net", "C-0004"])
def test_a_patient_is_found_by_a_whole_address(admin_client, term):
    found = admin_client.get(reverse("admin:clinic_patient_changelist"), {"q": term})
    assert "Ibrahim Diallo" in found.text
    assert "1 patient\n" in found.text


def test_nobody_is_found_by_a_part_of_one(admin_client):
    found = admin_client.get(reverse("admin:clinic_patient_changelist"), {"q": "ibrahim"})
    assert "0 patients" in found.text


def test_a_patient_is_changed(admin_client):
    patient = Patient.objects.get(file_number="C-0001")
    url = reverse("admin:clinic_patient_change", args=[patient.pk])
    page = admin_client.get(url)
    assert "Hay fever" in page.text
    assert 'value="1971-03-14"' in page.text
    assert 'value="+46 8 123 45 67"' in page.text
    form = {
        "file_number": "C-0001",
        "registered_on": "2026-01-31",
        "name": "Zoë Ångström-Diallo",
        "born": "1971-03-15",
        "phone": "",
        "notes": "Better.",
        "record": '{"born": "1971-03-14"}',
        "resources-TOTAL_FORMS": "0",
        "resources-INITIAL_FORMS": "0",
    }
    for record in ("[]", "[1]", "5", "null", ""):
        refused = admin_client.post(url, {**form, "record": record})
        assert "A record is a JSON object" in refused.text
    refused = admin_client.post(url, {**form, "born": "in spring", "phone": "08 123"})
    assert "Enter a valid date" in refused.text
    assert "Write it with the country" in refused.text
    assert admin_client.post(url, form).status_code == 302

    patient.refresh_from_db()
    assert (patient.name, patient.notes) == ("Zoë Ångström-Diallo", "Better.")
    assert (patient.born, patient.phone) == (date(1971, 3, 15), None)
    assert patient.record == {"born": "1971-03-14"}
    assert LogEntry.objects.get().object_repr == "C-0001", "the log is not encrypted"


def test_loading_leaves_what_was_changed():
    Patient.objects.filter(file_number="C-0001").update(notes="Changed.")
    Patient.objects.get(file_number="C-0002").delete()
    assert patients.load() == 1
    assert Patient.objects.get(file_number="C-0001").notes == "Changed."
