"""The patients of the story. Nobody is meant."""

from datetime import date

from demo_project.clinic.models import Patient

SAID = ["name", "born", "phone", "email", "notes", "record"]

PATIENTS = [
    (
        "C-0001",
        "Zoë Ångström",
        date(1971, 3, 14),
        "+46 8 123 45 67",
        "zoe@example.com",
        "Penicillin allergy: anaphylaxis, 2019. Carries an adrenaline pen.",
        {"allergies": ["penicillin"]},
    ),
    (
        "C-0002",
        "Tomás Ferreira",
        date(1988, 11, 2),
        "+351 21 123 4567",
        "tomas.ferreira@example.org",
        "Sleeps badly since the move. Asked not to have letters sent home.",
        {"blood_group": "0-"},
    ),
    (
        "C-0003",
        "Mei-Ling Chén",
        date(1994, 6, 21),
        None,
        "mei-ling@example.org",
        "Pregnant, week 11. Her employer does not know.",
        {"due": "2026-09-30"},
    ),
    (
        "C-0004",
        "Ibrahim Diallo",
        date(1979, 1, 9),
        "+221 33 123 45 67",
        "ibrahim@example.net",
        "HIV positive, undetectable on treatment since 2020.",
        {"medication": [{"name": "dolutegravir", "mg": 50}]},
    ),
    ("C-0005", "Hanna Lindqvist", date(2015, 8, 30), None, None, "", {"vaccinated": {"MMR": True}}),
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
    for file_number, *said in PATIENTS:
        _, created = Patient.objects.get_or_create(
            file_number=file_number, defaults=dict(zip(SAID, said, strict=True))
        )
        added += created
        if file_number in FINDINGS:
            patient = Patient.objects.only("pk").get(file_number=file_number)
            if not patient.findings.exists():
                patient.findings.create(text=FINDINGS[file_number])
    return added
