"""The clinic at work, in a process of its own: it writes and reads until its input ends."""

from __future__ import annotations

import django

from demo_project.processes import receive


def main() -> None:
    django.setup()
    from demo_project.clinic import patients
    from envelope_fields.exceptions import EnvelopeError

    patients.load()
    receive(visit, EnvelopeError)


def visit(number: int) -> None:
    """Have every patient's notes read, and the record of one written."""
    from demo_project.clinic.models import Patient

    patients = list(Patient.objects.all())
    for patient in patients:
        if not isinstance(patient.notes, str):
            raise TypeError(f"{patient} has notes that are no text")
    patient = patients[number % len(patients)]
    patient.record["visit"] = number
    patient.save(update_fields=["record"])


if __name__ == "__main__":
    main()
