"""What is given for a value of a type, by every way to write: stored as it is meant, or refused."""

import math
import traceback
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from zoneinfo import ZoneInfo

import pytest
from django.core import serializers
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import isolate_apps

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedDecimalField,
    EncryptedGenericIPAddressField,
)
from tests.fields.family import FAMILY, exactly
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)


class Grade(models.IntegerChoices):
    GOOD = 1


class Colour(models.TextChoices):
    RED = "red"


class Bytes(bytes):
    pass


BERLIN = ZoneInfo("Europe/Berlin")
EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))
TEXTUAL = ("Char", "Email", "URL", "Slug", "FilePath")
INTEGERS = [("7", 7), (7.9, 7), (True, 1), (Grade.GOOD, 1), (Decimal("7"), 7)]
TEXTS = [("a\0b", "a\0b"), (" ", " "), (Colour.RED, "red"), (5, "5"), ("\ufeff\U0001f600", ...)]

# What a value is given as, and what is read; `...` is the same.
MEANT = {
    **dict.fromkeys(TEXTUAL, TEXTS),
    **dict.fromkeys((name for name in FAMILY if name.endswith("Integer")), INTEGERS),
    "Decimal": [
        (1.5, Decimal("1.50")),
        ("1E+5", Decimal("100000.00")),
        ("-0", Decimal("-0.00")),
        (-0.0, Decimal("-0.00")),
        (7, Decimal("7.00")),
        (Decimal("12.305"), Decimal("12.30")),  # as Django rounds, to even
        (5e-324, Decimal("0.00")),
    ],
    "Float": [("0.1", 0.1), (7, 7.0), (Decimal("0.1"), 0.1), (-0.0, ...), (math.nan, ...)],
    "Boolean": [("t", True), ("0", False), (1, True), ("", None), ([], None)],
    "Date": [
        ("2024-02-29", date(2024, 2, 29)),
        (datetime(1, 1, 1, 23), date(1, 1, 1)),
        (datetime(2024, 2, 29, 0, 30, tzinfo=UTC), date(2024, 2, 28)),  # in TIME_ZONE
    ],
    "DateTime": [
        ("2024-02-29 12:00+02:00", datetime(2024, 2, 29, 10, tzinfo=UTC)),
        (datetime(1, 1, 1, 14, tzinfo=EAST), datetime(1, 1, 1, tzinfo=UTC)),
        (datetime(9999, 12, 31, 11, tzinfo=WEST), datetime(9999, 12, 31, 23, tzinfo=UTC)),
        (datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN), datetime(2020, 10, 25, 0, 30, tzinfo=UTC)),
        (
            datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
            datetime(2020, 10, 25, 1, 30, tzinfo=UTC),
        ),
        (datetime.max.replace(tzinfo=UTC), ...),
    ],
    "Time": [
        ("12:00", time(12)),
        (datetime(2024, 2, 29, 1, 2), time(1, 2)),
        (time(1, fold=1), time(1)),
    ],
    "Duration": [
        ("P1DT2H", timedelta(days=1, hours=2)),
        (timedelta.min, ...),
        (timedelta.max, ...),
    ],
    "UUID": [
        ("{6F2F1C9A-3D0B-4E55-9A64-0E8C7D1F2B3A}", FAMILY["UUID"][1][-1]),
        ("6f2f1c9a3d0b4e559a640e8c7d1f2b3a", FAMILY["UUID"][1][-1]),
        (1, uuid.UUID(int=1)),
    ],
    "GenericIPAddress": [
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:0a00:0001", "::ffff:10.0.0.1"),
        ("10.0.0.1", ...),
        ("fe80::1%eth0", "fe80::1"),
        ("", None),
    ],
    "Binary": [(bytearray(b"\0"), b"\0"), (memoryview(b"x"), b"x"), (Bytes(b"y"), b"y")],
}
REFUSED = {
    **dict.fromkeys(TEXTUAL, (b"", b"text", "\ud800")),
    **dict.fromkeys(
        (name for name in FAMILY if name.endswith("Integer")), ("", "1.5", math.nan, math.inf, b"1")
    ),
    "Decimal": ["", "NaN", "sNaN", Decimal("sNaN"), math.nan, math.inf, "99999999999", b"1"],
    "Float": ["", "one", b"1"],
    "Boolean": ["yes", 2, 0.5, b"", b"1"],
    "Date": ["", "2024-02-30", 20240229, time(1), b"2024-02-29"],
    "DateTime": [
        "",
        "2024-02-30",
        0,
        datetime.max.replace(tzinfo=WEST),
        datetime.min.replace(tzinfo=EAST),
    ],
    "Time": ["", "24:00", 12, date(1, 1, 1), time(1, tzinfo=UTC)],
    "Duration": ["", "a while", 5, 1.5, time(1)],
    "UUID": ["", "6f2f1c9a", 1.5, -1, 2**128, b"\0" * 16],
    "GenericIPAddress": ["1.2.3", "127.000.000.001", "::1/64", 1, b"\0" * 4],
    "Binary": [0, 5, 10**12, True, "text", "", [1], range(3)],
}


def ways(kind, row, given):
    """Yield every way to write a value into a row: its name, and what does it."""

    def saved(**options):
        row.value = given
        row.save(**options)

    def updated_in_bulk():
        row.value = given
        kind.objects.bulk_update([row], ["value"])

    def upserted():
        has_targets = connection.features.supports_update_conflicts_with_target
        kind.objects.bulk_create(
            [kind(pk=row.pk, value=given)],
            update_conflicts=True,
            update_fields=["value"],
            unique_fields=["pk"] if has_targets else None,
        )

    yield "save()", saved
    yield "save(update_fields=…)", lambda: saved(update_fields=["value"])
    yield "update()", lambda: kind.objects.filter(pk=row.pk).update(value=given)
    yield "bulk_update()", updated_in_bulk
    yield "bulk_create() over it", upserted
    yield "update_or_create()", lambda: kind.objects.update_or_create({"value": given}, pk=row.pk)
    yield "a raw save", lambda: kind(pk=row.pk, value=given).save_base(raw=True)
    yield (
        "Value()",
        lambda: kind.objects.update(
            value=models.Value(given, output_field=kind._meta.get_field("value"))
        ),
    )


def shown_by(error):
    """Return what is seen of an error, its causes, and variables of our frames that it passed."""
    seen = []
    while error is not None:
        seen.append(repr(error))
        frames = traceback.walk_tb(error.__traceback__)
        seen += [
            repr(frame.f_locals)
            for frame, _ in frames
            if frame.f_globals["__name__"].startswith("envelope_fields.")
        ]
        error = error.__cause__ or error.__context__
    return "".join(seen)


@pytest.mark.parametrize("name", FAMILY)
def test_what_is_given_is_stored_as_it_is_meant(model, name):
    kind = model(name, null=True)
    for given_as, meant in MEANT[name]:
        meant = given_as if meant is ... else meant
        row = kind.objects.create(value=given_as)
        assert exactly(kind.objects.get().value, meant), given_as
        kind.objects.all().delete()
        kind.objects.bulk_create([kind(value=given_as)])
        row = kind.objects.get()
        assert exactly(row.value, meant), given_as
        for called, write in ways(kind, row, given_as):
            kind.objects.update(value=FAMILY[name][1][0])
            write()
            assert exactly(kind.objects.get().value, meant), (called, given_as)
            assert (stored(row, "value") is None) == (meant is None)
        kind.objects.all().delete()


@pytest.mark.parametrize("name", FAMILY)
def test_what_is_no_value_is_refused(model, name):
    kind = model(name, null=True)
    row = kind.objects.create(value=FAMILY[name][1][-1])
    before = stored(row, "value")
    for refused in [*REFUSED[name], *([] if name in TEXTUAL else ["s3cret"])]:
        for called, write in ways(kind, row, refused):
            with (
                pytest.raises((ValueError, TypeError), match=r"^tests\.Thing\.value: ") as caught,
                transaction.atomic(),
            ):
                write()
                pytest.fail(f"{called} took {refused!r}")
            assert "s3cret" not in shown_by(caught.value), called
            assert stored(row, "value") == before, called


def test_an_address_that_is_left_empty_is_null(model, monkeypatch):
    """As Django has it; a form cannot say it in another way."""
    kind = model("GenericIPAddress", null=True, blank=True)
    monkeypatch.setattr("django.apps.apps.get_model", lambda *_: kind)
    row = kind(value="", twin="")
    row.full_clean()
    row.save()
    assert kind.objects.filter(value__isnull=True, twin__isnull=True).exists()
    assert serializers.serialize("python", [row])[0]["fields"]["value"] is None
    [found] = serializers.deserialize("json", serializers.serialize("json", kind.objects.all()))
    assert found.object.value is None


@pytest.mark.parametrize("name", ["GenericIPAddress", "Boolean"])
def test_what_is_deferred_is_dumped(model, name):
    kind = model(name, null=True)
    kind.objects.create(value=FAMILY[name][1][0], twin=FAMILY[name][1][0])
    for rows in (kind.objects.defer("value"), kind.objects.only("pk"), kind.objects.all()):
        assert serializers.serialize("python", rows)[0]["fields"]["value"].startswith("envelope:")


def test_an_address_that_is_left_empty_is_in_no_index():
    with isolate_apps("tests"):

        class Network(models.Model):
            address = EncryptedGenericIPAddressField(null=True, blank=True)
            address_index = BlindIndexField("address")

            class Meta:
                app_label = "tests"

    with connection.schema_editor() as editor:
        editor.create_model(Network)
    try:
        row = Network.objects.create(address="10.0.0.1")
        row.address = ""
        row.save()
        assert stored(row, "address") is stored(row, "address_index") is None
        Network.objects.update(address="::FFFF:a00:1")
        assert Network.objects.filter(address="::ffff:10.0.0.1").exists()
        Network.objects.update(address="")
        assert stored(row, "address") is stored(row, "address_index") is None
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Network)


def test_an_address_that_must_be_there(model):
    kind = model("GenericIPAddress")
    with pytest.raises(IntegrityError), transaction.atomic():
        kind.objects.create(value="", twin="10.0.0.1")


def test_mapped_addresses_are_unpacked_where_the_field_says_so(model):
    kind = model("GenericIPAddress", unpack_ipv4=True)
    given_as = "::ffff:10.0.0.1"
    kind.objects.create(value=given_as, twin=given_as)
    found = kind.objects.get()
    assert found.value == found.twin == "10.0.0.1"
    # It was written before the field said so, or after.
    mapped = EncryptedGenericIPAddressField(unpack_ipv4=True)
    assert mapped.from_plaintext(ip_address(given_as).packed) == "10.0.0.1"
    assert EncryptedGenericIPAddressField().from_plaintext(bytes([10, 0, 0, 1])) == "10.0.0.1"


@pytest.mark.parametrize(
    ("options", "given_as", "meant"),
    [
        ({"max_digits": 5, "decimal_places": 0}, "12", "12"),
        ({"max_digits": 30, "decimal_places": 10}, 0.1, "0.1000000000"),
        ({"max_digits": 28, "decimal_places": 2}, "12345678901234567890123456.78", ...),
        (
            {"max_digits": 40, "decimal_places": 20},
            "12345678901234567890.12345678901234567891",
            ...,
        ),
        ({"max_digits": 2, "decimal_places": 2}, "0.1", "0.10"),
        ({"max_digits": 5, "decimal_places": 2}, Decimal("1E+2"), "100.00"),
        ({"max_digits": 12, "decimal_places": 12}, "0E-12", "0E-12"),
    ],
    ids=str,
)
def test_digits(options, given_as, meant):
    field = EncryptedDecimalField(**options)
    found = field.from_plaintext(field.to_plaintext(given_as))
    assert str(found) == (given_as if meant is ... else meant)
