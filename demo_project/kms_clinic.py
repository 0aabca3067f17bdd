"""The clinic at work, in a process of its own: it writes and reads until its input ends.

Each visit is a line of JSON: its number, or the error that it met.
"""

from __future__ import annotations

import json
import select
import sys

import django

SECONDS_BETWEEN_VISITS = 0.05


def main() -> None:
    django.setup()
    from demo_project.clinic import patients
    from envelope_fields.exceptions import EnvelopeError

    patients.load()
    number = 0
    while not select.select([sys.stdin], [], [], SECONDS_BETWEEN_VISITS)[0]:
        try:
            visit(number)
            line = {"visit": number}
        except EnvelopeError as error:
            line = {"visit": number, "error": type(error).__name__, "message": str(error)}
        print(json.dumps(line), flush=True)
        number += 1


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
