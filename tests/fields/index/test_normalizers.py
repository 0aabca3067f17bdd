"""Normalisers: built-in ones never change, and those of an application have names of their own."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from django.apps.registry import Apps
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from envelope_fields.fields import BlindIndexField, EncryptedJSONField
from envelope_fields.fields.index.normalizers import (
    BUILT_IN,
    CaseFold,
    Normalizer,
    TextNormalizer,
    find_normalizer,
)
from envelope_fields.fields.index.terms import term_looked_for, term_of_values
from envelope_fields.fields.prepared import Unencrypted


@pytest.fixture(autouse=True)
def tables():
    """None: nothing here is in a database."""


# What the probes give, on every Python: another one is another normaliser, with another version.
FINGERPRINTS = {
    "exact": "315df2fa3ef28e3dc739fdcee8e4f341",
    "casefold": "3280a1005f3ce8cf27411ed2f0c0bad4",
    "email": "bd4de8cc8d24a4fea0ba1ca30a91d188",
    "digits": "ca4d76a758e4a84badd0d432c644a39b",
    "last_four": "b161451b220b0335c5d39ef2acf06363",
    "domain": "af4cb3b2c83daee6eff216e09c262477",
    "year": "462b5d88d979bf9862b45b87dfb2ea27",
    "month": "b729f34f65676badf7b6d9883b6f20d7",
}


class RecordNumber(TextNormalizer):
    name = "clinic.record_number"
    version = 2

    def of_text(self, text):
        return text.replace("-", "")


class Unnamed(RecordNumber):
    name = "record_number"


class Uncounted(RecordNumber):
    version = 0


record_number = RecordNumber()
not_one = object()


@pytest.mark.parametrize("name", BUILT_IN)
def test_fingerprints_never_change(name):
    assert BUILT_IN[name].fingerprint == FINGERPRINTS[name]


def test_no_two_have_one_fingerprint():
    assert len(set(FINGERPRINTS.values())) == len(FINGERPRINTS) == len(BUILT_IN)


def test_what_an_own_one_makes_shows_in_its_fingerprint():
    class Changed(RecordNumber):
        def of_text(self, text):
            return text.replace("-", "").replace("+", "")

    class Later(RecordNumber):
        version = 3

    known = {each().fingerprint for each in (RecordNumber, Changed, Later)}
    assert len(known) == 3
    assert RecordNumber().fingerprint == record_number.fingerprint


@pytest.mark.parametrize(
    "given", [RecordNumber, record_number, f"{__name__}.RecordNumber", f"{__name__}.record_number"]
)
def test_finding_ones_own(given):
    found = find_normalizer(given)
    assert isinstance(found, RecordNumber)
    assert found.normalize("A-17") == "A17"


@pytest.mark.parametrize("given", [RecordNumber, record_number])
def test_ones_own_in_a_migration(given):
    declared = BlindIndexField("a", normalizer=given)
    written, imports = MigrationWriter.serialize(declared)
    scope = {}
    exec("\n".join([*imports, f"found = {written}"]), scope)
    detector = MigrationAutodetector(ProjectState(), ProjectState())
    assert detector.deep_deconstruct(scope["found"]) == detector.deep_deconstruct(declared)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("emial", r"no normaliser 'emial'.*email, exact"),
        (f"{__name__}.nothing", "no normaliser"),
        (f"{__name__}.not_one", "is not a Normalizer"),
        (7, "7 is not a Normalizer"),
        (Unnamed, r"a dot in it, such as 'clinic\.record_number'"),
        (Uncounted, "begins with 1"),
    ],
)
def test_what_is_none(given, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        find_normalizer(given)


def test_what_each_is():
    assert [each.name for each in BUILT_IN.values() if each.lossy] == [
        *("last_four", "domain", "year", "month")
    ]
    assert [each.name for each in BUILT_IN.values() if each.folds_case] == [
        *("casefold", "email", "domain")
    ]
    assert find_normalizer("casefold") is BUILT_IN["casefold"]
    assert isinstance(find_normalizer("email"), CaseFold)


@pytest.mark.parametrize("value", [7, b"ada", 2.5, ["ada"], date(1815, 12, 10)])
@pytest.mark.parametrize("name", ["casefold", "email", "digits", "last_four", "domain"])
def test_text_alone(name, value):
    with pytest.raises(TypeError, match=f"{name}.*is for text, not {type(value).__name__}"):
        BUILT_IN[name].normalize(value)


@pytest.mark.parametrize("value", [7, 0, False, date(1815, 12, 10), "a", b"a", 2.5])
def test_exact_changes_nothing(value):
    assert find_normalizer("exact").normalize(value) is value


@pytest.mark.parametrize("value", ["", b""])
def test_exact_has_no_form_of_nothing(value):
    assert find_normalizer("exact").normalize(value) is None


class TestDates:
    @pytest.mark.parametrize("asked", [7, "7", "07"])
    def test_they_are_asked_by_a_number(self, asked):
        moment = datetime(1815, 7, 31, 23, tzinfo=UTC)
        assert BUILT_IN["month"].normalize(asked) == BUILT_IN["month"].normalize(moment) == "7"

    @pytest.mark.parametrize("asked", ["July", "", "-7", "٧", 7.0, True])
    def test_they_are_asked_by_nothing_else(self, asked):
        with pytest.raises((TypeError, ValueError), match="the normaliser 'month'") as caught:
            BUILT_IN["month"].normalize(asked)
        assert str(asked) not in str(caught.value).replace("normaliser 'month'", "") or not asked


def test_it_shows_what_it_is():
    assert repr(record_number) == "<RecordNumber: clinic.record_number 2>"
    assert issubclass(RecordNumber, Normalizer)


class Encoded(models.Model):
    data = EncryptedJSONField(encoder=DjangoJSONEncoder)
    mrn = BlindIndexField("data__mrn")
    number = BlindIndexField("data__1")
    first = BlindIndexField("data__all__0", normalizer="casefold")

    class Meta:
        apps = Apps(["tests"])
        app_label = "tests"


ID = UUID(int=5)


class TestInJSON:
    """What is inside JSON is indexed as it will be read."""

    @pytest.mark.parametrize(
        ("name", "value", "looked_for"),
        [
            ("mrn", {"mrn": ID}, str(ID)), ("mrn", {"mrn": ID}, ID),
            ("number", {1: "one"}, "one"), ("first", {"all": ("A",)}, "a"),
        ],
    )  # fmt: skip
    def test_what_an_encoder_makes_text(self, name, value, looked_for):
        index = Encoded._meta.get_field(name)
        stored = term_of_values(index, [Unencrypted(value, None)], None)
        assert stored == term_looked_for(index, Unencrypted(looked_for, None))

    @pytest.mark.parametrize("name", ["mrn", "first"])
    def test_lone_surrogates(self, name):
        index = Encoded._meta.get_field(name)
        with pytest.raises(ValueError, match="data: the normal form") as caught:
            term_looked_for(index, Unencrypted("\ud800hidden", None))
        assert type(caught.value) is ValueError
        assert caught.value.__context__ is None
