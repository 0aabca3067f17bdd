"""Make the vectors of other packages' formats, by these packages themselves.

Run it with the Python of an environment that has one of them, for each in an environment of its
own, since several share a name of a module:

    python tests/vectors/legacy/generate.py django-cryptography

It writes `django-cryptography.json` beside itself: for each variant of the package's settings, the
fields, the values that were assigned, and the bytes that were stored. `django-pgcrypto-fields`
needs a PostgreSQL server as CONTRIBUTING.md has it. `vectors.py` says what was installed for each.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

HERE = Path(__file__).parent
SECRET = "not a secret: made for test vectors, and longer than a block of HMAC-SHA-256 has bytes"
OTHER = "not a secret either: an earlier key of the vectors"
FERNET = [
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=",
]
HEX = ["00112233445566778899aabbccddeeff" * 2, "ffeeddccbbaa99887766554433221100" * 2]

MOMENT = datetime(2021, 3, 28, 1, 30, 15, 250000, tzinfo=UTC)
TEXTS = ["", "in clear", "Füße, \U0001d11e and \u0000?", "g" * 300]
COMMON = {
    "TextField": TEXTS,
    "CharField": ["Ann"],
    "EmailField": ["ann@example.com"],
    "IntegerField": [0, -7, 2**31 - 1],
    "DateField": [date(2020, 2, 29)],
    "DateTimeField": [MOMENT],
}
EVERY = {
    **COMMON,
    "BigIntegerField": [-(2**63)],
    "BooleanField": [True, False],
    "FloatField": [1.5, -0.0],
    "DecimalField": [Decimal("1234.50")],
    "TimeField": [time(23, 59, 1, 5)],
    "DurationField": [timedelta(days=-2, microseconds=3)],
    "UUIDField": [UUID("00112233-4455-6677-8899-aabbccddeeff")],
    "GenericIPAddressField": ["2001:db8::1"],
    "BinaryField": [b"\x80\x04 bytes", b""],
    "JSONField": [{"a": [1, None, True, "x", 2.5], "b": {}}, []],
}
ZONES = {
    "DateTimeField": [
        MOMENT.astimezone(ZoneInfo("Europe/Berlin")),
        MOMENT.astimezone(timezone(timedelta(hours=-3), "BRT")),
    ]
}
OPTIONS = {"CharField": {"max_length": 100}, "DecimalField": {"max_digits": 9, "decimal_places": 2}}

# Per package: its variants, each with settings and the values of fields.
VARIANTS = {
    "django-fernet-fields": {
        "hkdf": ({"FERNET_KEYS": [SECRET]}, COMMON),
        "secret key": ({}, {"TextField": ["in clear"]}),
        "several keys": ({"FERNET_KEYS": [OTHER, SECRET]}, {"TextField": ["in clear"]}),
        "raw keys": (
            {"FERNET_KEYS": FERNET, "FERNET_USE_HKDF": False},
            {"TextField": ["in clear"]},
        ),
        "no time zones": ({"USE_TZ": False}, {"DateTimeField": [MOMENT.replace(tzinfo=None)]}),
    },
    "djfernet": {
        "prefix": (
            {"FERNET_KEYS": [SECRET], "DJFERNET_PREFIX": b"our-own"},
            {"TextField": ["in clear"], "BinaryField": [b"\x80\x00 bytes"]},
        ),
    },
    "django-cryptography": {
        "secret key": ({}, EVERY),
        "zones": ({}, ZONES),
        "key and salt": (
            {"CRYPTOGRAPHY_KEY": OTHER, "CRYPTOGRAPHY_SALT": "salty"},
            {"TextField": ["in clear"]},
        ),
        "digest": ({"CRYPTOGRAPHY_DIGEST": "SHA3_256"}, {"TextField": ["in clear"]}),
        "field key": ({"FIELD_KEY": "k" * 32}, {"TextField": ["in clear"]}),
        "short secret": ({"SECRET_KEY": "short, and no secret"}, {"TextField": ["in clear"]}),
    },
    "django-encrypted-model-fields": {
        "one key": (
            {"FIELD_ENCRYPTION_KEY": FERNET[0]},
            {**COMMON, "BooleanField": [True, False], "BigIntegerField": [-(2**63)]},
        ),
        "several keys": ({"FIELD_ENCRYPTION_KEY": FERNET[::-1]}, {"TextField": ["in clear"]}),
    },
    "django-fernet-encrypted-fields": {
        "one salt": (
            {"SALT_KEY": "salty"},
            {
                **COMMON,
                "TextField": TEXTS[1:],
                "IntegerField": [-7],
                "FloatField": [1.5],
                "BooleanField": [True],
                "JSONField": [{"a": [1, None, True, "x"], "b": "y"}],
            },
        ),
        "fallbacks": (
            {
                "SALT_KEY": ["salty", "saltier"],
                "SECRET_KEY": OTHER,
                "SECRET_KEY_FALLBACKS": [SECRET],
            },
            {"TextField": ["in clear"]},
        ),
    },
    "django-pgcrypto-fields": {
        "symmetric": (
            {"PGCRYPTO_KEY": "pass phrase"},
            {
                **COMMON,
                "TextField": ["in clear", "Füße", "g" * 5000],
                "FloatField": [1.5],
                "TimeField": [time(23, 59, 1)],
            },
        ),
    },
    "django-mirage-field": {
        "ECB": (
            {"MIRAGE_SECRET_KEY": SECRET},
            {
                "TextField": ["in clear", "Füße", "g" * 300],
                "CharField": ["Ann"],
                "EmailField": ["ann@example.com"],
                "IntegerField": [-7],
                "JSONField": [{"a": [1, None, True, "x"]}],
            },
        ),
        "CBC": ({"MIRAGE_CIPHER_MODE": "CBC"}, {"TextField": ["in clear"]}),
        "IV": (
            {"MIRAGE_CIPHER_MODE": "CBC", "MIRAGE_CIPHER_IV": "fedcba0987654321"},
            {"TextField": ["in clear"]},
        ),
    },
    "django-searchable-encrypted-fields": {
        "keys": ({"FIELD_ENCRYPTION_KEYS": HEX}, COMMON),
    },
}
SAME = {  # packages that store what another one stores
    "django-fernet-fields-v2": "django-fernet-fields",
    "django-cryptography-5": "django-cryptography",
    "django-cryptography-django5": "django-cryptography",
}
ONCE = ("django-pgcrypto-fields", "django-searchable-encrypted-fields")
PREFIXES = {"django-pgcrypto-fields": "{}PGPSymmetricKeyField"}


def main(package, variant=None):
    variants = VARIANTS[SAME.get(package, package)]
    if variant is not None:
        print(json.dumps(vectors_of(package, *variants[variant])))
        return
    found = {}
    for each, (settings, _) in variants.items():
        child = subprocess.run(
            [sys.executable, __file__, package, each], check=True, capture_output=True, text=True
        )
        shown = {name: _as_json(value) for name, value in settings.items()}
        found[each] = {
            "settings": {"SECRET_KEY": SECRET, **shown},
            "vectors": json.loads(child.stdout),
        }
    content = {"package": package, "version": version(package), "variants": found}
    (HERE / f"{package}.json").write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")


def vectors_of(package, settings, values):
    import django
    from django.conf import settings as of_django

    common = {"SECRET_KEY": SECRET, "USE_TZ": True, "TIME_ZONE": "Europe/Berlin"}
    databases = {"default": _database(package)}
    of_django.configure(**{**common, "DATABASES": databases, **_prepared(settings)})
    django.setup()
    return [vector for kind in values for vector in _of_kind(package, kind, settings, values[kind])]


def _of_kind(package, kind, settings, values):
    from django.db import connection, models

    options = type("Meta", (), {"app_label": "vectors", "db_table": "legacy_vectors"})
    body = {"__module__": __name__, "Meta": options, "stored": _field(package, kind, settings)}
    model = type(f"{kind}Vector", (models.Model,), body)
    with connection.schema_editor() as editor:
        editor.create_model(model)
    try:
        return [_vector(package, model, kind, value) for value in values]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


def _vector(package, model, kind, value):
    from django.db import connection

    row = model.objects.create(stored=value)
    with connection.cursor() as cursor:
        cursor.execute("SELECT stored FROM legacy_vectors WHERE id = %s", [row.pk])
        (stored,) = cursor.fetchone()
    vector = {"field": kind, "value": _as_json(value), "stored": _as_json(_plain(stored))}
    if kind == "TextField" and value == "in clear":
        field = model._meta.get_field("stored")
        for times in ("twice", "thrice", "four times"):
            stored = _encrypted_again(package, field, stored)
            if stored is not None:
                vector[times] = _as_json(stored)
    return vector


def _plain(stored):
    return bytes(stored) if isinstance(stored, memoryview) else stored


def _encrypted_again(package, field, stored):
    """Return what the package stores of a token, as of a value that it did not open."""
    name = SAME.get(package, package)
    if stored is None or package in (
        "django-pgcrypto-fields",
        "django-searchable-encrypted-fields",
    ):
        return None
    if name in ("django-fernet-fields", "djfernet"):
        return field.fernet.encrypt(bytes(stored))
    if name == "django-cryptography":
        return field._dump(bytes(stored))
    if name == "django-encrypted-model-fields":
        from encrypted_model_fields.fields import encrypt_str

        return encrypt_str(stored).decode()
    if name == "django-fernet-encrypted-fields":
        return field.f.encrypt(stored.encode()).decode()
    return field.crypto.cipher.encrypt(stored)


def _database(package):
    if package != "django-pgcrypto-fields":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "postgres"),  # with the extension pgcrypto
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "USER": os.environ.get("PGUSER", "postgres"),
    }


def _prepared(settings):
    if "CRYPTOGRAPHY_DIGEST" not in settings:
        return settings
    from cryptography.hazmat.primitives import hashes

    return {**settings, "CRYPTOGRAPHY_DIGEST": getattr(hashes, settings["CRYPTOGRAPHY_DIGEST"])()}


def _field(package, kind, settings):
    from importlib import import_module

    from django.db import models

    options = {"null": True, **OPTIONS.get(kind, {})}
    name = SAME.get(package, package)
    if name == "django-cryptography":
        from django_cryptography.fields import encrypt

        key = settings["FIELD_KEY"].encode() if "FIELD_KEY" in settings else None
        return encrypt(getattr(models, kind)(**options), key=key)
    module = {"django-fernet-fields": "fernet_fields", "djfernet": "fernet_fields",
              "django-encrypted-model-fields": "encrypted_model_fields.fields",
              "django-pgcrypto-fields": "pgcrypto.fields", "django-mirage-field": "mirage.fields",
              }.get(name, "encrypted_fields.fields")  # fmt: skip
    prefix = PREFIXES.get(name, "Encrypted{}Field")
    return getattr(import_module(module), prefix.format(kind.removesuffix("Field")))(**options)


def _as_json(value):
    for kind, name, write in _WRITTEN:
        if isinstance(value, kind):
            return {name: write(value)}
    return value


_WRITTEN = (
    (bytes, "bytes", bytes.hex),
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (timedelta, "microseconds", lambda value: value // timedelta(microseconds=1)),
    (Decimal, "decimal", str),
    (UUID, "uuid", str),
    (dict, "json", json.dumps),
    (list, "json", json.dumps),
)


if __name__ == "__main__":
    main(*sys.argv[1:])
