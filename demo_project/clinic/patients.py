"""The patients of the story. Nobody is meant."""

from demo_project.clinic.models import Patient

PATIENTS = [
    (
        "C-0001",
        "Zoë Ångström",
        "Penicillin allergy: anaphylaxis, 2019. Carries an adrenaline pen.",
        {"born": "1971-03-14", "allergies": ["penicillin"]},
    ),
    (
        "C-0002",
        "Tomás Ferreira",
        "Sleeps badly since the move. Asked not to have letters sent home.",
        {"born": "1988-11-02", "blood_group": "0-"},
    ),
    (
        "C-0003",
        "Mei-Ling Chén",
        "Pregnant, week 11. Her employer does not know.",
        {"born": "1994-06-21", "due": "2026-09-30"},
    ),
    (
        "C-0004",
        "Ibrahim Diallo",
        "HIV positive, undetectable on treatment since 2020.",
        {"born": "1979-01-09", "medication": [{"name": "dolutegravir", "mg": 50}]},
    ),
    ("C-0005", "Hanna Lindqvist", "", {"born": "2015-08-30", "vaccinated": {"MMR": True}}),
]

FINDINGS = {
    "C-0001": "Tryptase is normal again.",
    "C-0004": "Viral load below 20 copies per ml.",
}


def load():
    """Add those that are not there; leave the others as somebody may have changed them.

    Returns:
        How many were added.
    """
    added = 0
    for file_number, name, notes, record in PATIENTS:
        _, created = Patient.objects.get_or_create(
            file_number=file_number,
            defaults={"name": name, "notes": notes, "record": record},
        )
        added += created
        if file_number in FINDINGS:
            patient = Patient.objects.only("pk").get(file_number=file_number)
            if not patient.findings.exists():
                patient.findings.create(text=FINDINGS[file_number])
    return added
