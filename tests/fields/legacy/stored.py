"""What other packages have stored, as `tests/vectors/legacy` has it, and fields to read it with."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives import hashes

from envelope_fields import fields
from envelope_fields.fields import legacy

FOLDER = Path(__file__).parents[2] / "vectors" / "legacy"

READERS = {
    "django-fernet-fields": legacy.FernetFields,
    "django-fernet-fields-v2": legacy.FernetFields,
    "djfernet": lambda: legacy.FernetFields(prefix="our-own"),
    "django-cryptography": legacy.DjangoCryptography,
    "django-cryptography-5": legacy.DjangoCryptography,
    "django-cryptography-django5": legacy.DjangoCryptography,
    "django-encrypted-model-fields": legacy.EncryptedModelFields,
    "django-fernet-encrypted-fields": legacy.FernetEncryptedFields,
    "django-pgcrypto-fields": legacy.Pgcrypto,
    "django-mirage-field": legacy.Mirage,
    "django-searchable-encrypted-fields": legacy.SearchableEncryptedFields,
}
OPTIONS = {"CharField": {"max_length": 100}, "DecimalField": {"max_digits": 9, "decimal_places": 2}}

_VALUES = {
    "bytes": bytes.fromhex,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "microseconds": lambda value: timedelta(microseconds=value),
    "decimal": Decimal,
    "uuid": UUID,
    "json": json.loads,
}


class Vector(NamedTuple):
    """A value that a package has stored, and the settings that it had."""

    package: str
    variant: str
    settings: dict[str, Any]
    content: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.package}, {self.variant}: {self.content['field']}"

    @property
    def field(self) -> Any:
        kind = self.content["field"]
        field = getattr(fields, f"Encrypted{kind}")(**OPTIONS.get(kind, {}))
        field.name = "stored"
        return field

    @property
    def value(self) -> Any:
        return of_json(self.content["value"])

    @property
    def stored(self) -> Any:
        return of_json(self.content["stored"])

    @property
    def reader(self) -> Any:
        if "FIELD_KEY" in self.settings:
            return legacy.DjangoCryptography(field_key="FIELD_KEY")
        return READERS[self.package]()


def of_json(value: Any) -> Any:
    """Return the value that the vectors have as this."""
    if isinstance(value, dict):
        ((kind, written),) = value.items()
        return _VALUES[kind](written)
    return value


def vectors(*packages: str) -> list[Vector]:
    """Return the vectors of some packages, or of all."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text())
        for name, variant in content["variants"].items():
            settings = {each: of_json(value) for each, value in variant["settings"].items()}
            if "CRYPTOGRAPHY_DIGEST" in settings:
                settings["CRYPTOGRAPHY_DIGEST"] = getattr(hashes, settings["CRYPTOGRAPHY_DIGEST"])()
            found += [
                Vector(content["package"], name, settings, vector)
                for vector in variant["vectors"]
                if not packages or content["package"] in packages
            ]
    return found
