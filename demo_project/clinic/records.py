"""Putting FHIR resources into the clinic's tables, each once by its type and id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Model, OuterRef, Subquery

from demo_project.clinic import fhir
from demo_project.clinic.models import Patient, Resource


def store(resources: Iterable[dict[str, Any]]) -> None:
    """Store resources, all or none; one that is there already takes the new content."""
    latest = {(resource["resourceType"], resource["id"]): resource for resource in resources}
    with transaction.atomic(using=router.db_for_write(Resource)):
        _upsert(
            [_patient(resource) for (kind, _), resource in latest.items() if kind == "Patient"],
            unique=["file_number"],
            update=["name", "born", "record"],  # not the notes, which are the clinic's own
        )
        about = {fhir.patient_id(resource) for resource in latest.values()}
        patients = dict(
            Patient.objects.filter(file_number__in=about).values_list("file_number", "pk")
        )
        _upsert(
            [_resource(resource, patients) for resource in latest.values()],
            unique=["resource_type", "fhir_id"],
            update=["subject", "patient", "content"],
        )


def link_to_patients() -> None:
    """Link the resources that came before their patients."""
    patient = Patient.objects.filter(file_number=OuterRef("subject")).values("pk")[:1]
    Resource.objects.filter(patient=None).exclude(subject="").update(patient=Subquery(patient))


def _patient(resource: dict[str, Any]) -> Patient:
    return Patient(
        file_number=resource["id"],
        name=fhir.patient_name(resource),
        born=fhir.patient_born(resource),
        record=fhir.patient_record(resource),
    )


def _resource(resource: dict[str, Any], patients: dict[str, int]) -> Resource:
    subject = fhir.patient_id(resource)
    return Resource(
        resource_type=resource["resourceType"],
        fhir_id=resource["id"],
        subject=subject,
        patient_id=patients.get(subject),
        content=resource,
    )


def _upsert(rows: list[Any], unique: list[str], update: list[str]) -> None:
    if rows:
        model: type[Model] = type(rows[0])
        # MariaDB takes no target: it looks at every unique constraint.
        named = connections[router.db_for_write(model)].features
        model._default_manager.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=unique if named.supports_update_conflicts_with_target else None,
            update_fields=update,
        )
