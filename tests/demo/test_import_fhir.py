import gzip
import io
import json
import os
import sys
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from demo_project.clinic import fhir, ndjson, progress
from demo_project.clinic.models import Patient, Resource
from envelope_fields import keyring
from envelope_fields.rotation import census
from envelope_fields.testing import assert_encrypted
from tests.sizes import size

pytestmark = pytest.mark.django_db

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("ENVELOPE_SHARED") or CHECKOUT.parent / "shared")
SYNTHEA = SHARED / "data" / "fhir-r4.ndjson.gz"
needs_synthea = pytest.mark.skipif(
    not SYNTHEA.exists(), reason=f"{SYNTHEA} is missing; ENVELOPE_SHARED says where it is"
)


def patient(number, **more):
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "name": [{"family": "Muñoz", "given": ["Ana", "Inés"]}],
        "birthDate": "1990-01-31",
        **more,
    }


def condition(number, subject, **more):
    return {
        "resourceType": "Condition",
        "id": f"c{number}",
        "subject": {"reference": subject},
        **more,
    }


@pytest.fixture
def file(tmp_path):
    """Write a file of resources, or of bytes where a line is no resource; return its path."""

    def write(*lines, compress=False, name="resources"):
        path = tmp_path / name
        content = b"\n".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines
        )
        path.write_bytes(gzip.compress(content) if compress else content)
        return path

    return write


def load(path):
    out, err = StringIO(), StringIO()
    call_command("import_fhir", str(path), stdout=out, stderr=err)
    return out.getvalue().strip()


def load_with_bad_lines(path):
    """Return what was reported."""
    err = StringIO()
    with pytest.raises(CommandError, match="Bad lines left out") as error:
        call_command("import_fhir", str(path), stdout=StringIO(), stderr=err)
    assert error.value.returncode == 1
    return err.getvalue().splitlines()


@needs_synthea
@pytest.mark.long
@pytest.mark.django_db(databases="__all__")
def test_resources_read_back_equal(file):
    """All of them, or all patients and some of the rest."""
    with gzip.open(SYNTHEA, "rt", encoding="utf-8") as lines:
        resources = list(map(json.loads, lines))
    assert len(resources) == 1037
    others = [each for each in resources if each["resourceType"] != "Patient"]
    patients = [each for each in resources if each["resourceType"] == "Patient"]
    resources = [*patients, *others[:: size(10, 1)]]
    number = len(resources)
    expected = {(each["resourceType"], each["id"]): each for each in resources}
    path = file(*resources, compress=True)

    assert load(path) == f"Resources stored: {number:,}, of them patients: 58."
    keyring.evict()

    rows = list(Resource.objects.iterator())
    assert {(row.resource_type, row.fhir_id): row.content for row in rows} == expected
    assert len(rows) == len(expected) == number
    assert Patient.objects.count() == 58
    assert not Resource.objects.filter(patient=None).exists()
    assert_encrypted(rows[0], "content")
    assert {(row.field, row.values) for row in census() if row.model == "clinic.Resource"} == {
        ("content", number)
    }

    load(path)
    assert (Resource.objects.count(), Patient.objects.count()) == (number, 58)
    assert {(r.resource_type, r.fhir_id): r.content for r in Resource.objects.all()} == expected


def test_a_patient_becomes_a_patient(file):
    load(file(patient(1, gender="female")))
    ana = Patient.objects.get()
    assert (ana.file_number, ana.name) == ("p1", "Ana Inés Muñoz")
    assert ana.born == date(1990, 1, 31)
    assert ana.record == {"born": "1990-01-31", "gender": "female"}
    assert ana.resources.get().content == patient(1, gender="female")
    assert_encrypted(ana, "name", "born", "notes", "record")
    load(file(patient(1, birthDate="1990")))
    assert Patient.objects.get().born is None, "FHIR knows the year alone"


@pytest.mark.parametrize(
    "reference",
    ["urn:uuid:p1", "Patient/p1", "https://host/fhir/Patient/p1", "Patient/p1/_history/2"],
)
def test_what_is_about_a_patient_is_linked(file, reference):
    load(file(patient(1), condition(1, reference)))
    assert Patient.objects.get().resources.filter(resource_type="Condition").exists()


@pytest.mark.parametrize("reference", ["Group/p1", "Patient/other", "", None, 5, ["p1"]])
def test_what_is_not_is_not(file, reference):
    load(file(patient(1), condition(1, reference)))
    assert Resource.objects.get(resource_type="Condition").patient is None


def test_a_patient_may_come_later(file):
    load(file(condition(1, "Patient/p1")))
    assert Resource.objects.get().patient is None
    load(file(patient(1)))
    assert Resource.objects.get(resource_type="Condition").patient == Patient.objects.get()


def test_loading_again_updates_and_keeps_the_notes(file):
    load(file(patient(1), condition(1, "Patient/p1", note="old")))
    Patient.objects.update(notes="ours")
    load(file(condition(1, "Patient/p1", note="new"), patient(1, name=[{"text": "A. M."}])))
    assert Patient.objects.get().name == "A. M."
    assert Patient.objects.get().notes == "ours"
    assert Resource.objects.get(resource_type="Condition").content["note"] == "new"
    assert Resource.objects.count() == 2


def test_the_last_of_the_same_in_one_file_counts(file):
    load(file(condition(1, "", n=1), condition(1, "", n=2)))
    assert Resource.objects.get().content["n"] == 2


@pytest.mark.parametrize("name", ["plain.gz", "packed.json"])
def test_content_says_whether_it_is_compressed(file, name):
    path = file(patient(1), compress=name.startswith("packed"), name=name)
    assert load(path) == "Resources stored: 1, of them patients: 1."


def test_several_compressed_parts_are_one_file(tmp_path):
    path = tmp_path / "parts"
    path.write_bytes(b"".join(gzip.compress(json.dumps(patient(n)).encode() + b"\n") for n in "ab"))
    load(path)
    assert Patient.objects.count() == 2


def test_batches(file, monkeypatch):
    monkeypatch.setattr("demo_project.clinic.management.commands.import_fhir.BATCH_ROWS", 3)
    load(file(*(patient(n) for n in range(10))))
    assert Patient.objects.count() == 10
    monkeypatch.setattr("demo_project.clinic.management.commands.import_fhir.BATCH_BYTES", 1)
    load(file(*(patient(n) for n in range(12))))
    assert Patient.objects.count() == 12


BAD_LINES = {
    "not JSON, at character 11": b'{"secret" "s3cret"}',
    "not UTF-8, at byte 13": b'{"secret": "\xff s3cret"}',
    "not a JSON object": b'["s3cret"]',
    "no resourceType": b'{"id": "s3cret"}',
    "no id": b'{"resourceType": "Patient", "name": "s3cret"}',
    "id is not one that FHIR allows": b'{"resourceType": "Patient", "id": "s3cret/../"}',
    "resourceType is not one that FHIR allows": b'{"resourceType": 5, "id": "s3cret"}',
    "not JSON: a number that it does not have": b'{"s3cret": NaN}',
    "nested too deeply": b'{"s3cret": ' + b"[" * 200_000,
    f"longer than {fhir.LINE_BYTES:,} bytes": b'{"s3cret": "' + b"x" * 2 * fhir.LINE_BYTES + b'"}',
}


@pytest.mark.parametrize("reason", BAD_LINES)
@pytest.mark.parametrize("compress", [False, True])
def test_a_bad_line_is_reported_and_the_rest_loaded(file, reason, compress):
    path = file(patient(1), b"", BAD_LINES[reason], patient(2), compress=compress)
    assert load_with_bad_lines(path) == [f"line 3: {reason}"]
    assert set(Patient.objects.values_list("file_number", flat=True)) == {"p1", "p2"}


def test_every_bad_line_is_counted(file):
    path = file(*BAD_LINES.values(), patient(1))
    reported = load_with_bad_lines(path)
    assert len(reported) == len(BAD_LINES)
    assert "s3cret" not in "".join(reported)
    assert Patient.objects.exists()


def test_what_cannot_be_stored_is_reported_alone(file, monkeypatch):
    def refuse(resource):
        if resource["id"] == "p2":
            raise TypeError("s3cret")
        return {}

    monkeypatch.setattr("demo_project.clinic.fhir.patient_record", refuse)
    reported = load_with_bad_lines(file(patient(1), patient(2), patient(3)))
    assert reported == ["line 2: cannot be stored (TypeError)"]
    assert Patient.objects.count() == 2


def test_a_truncated_file_is_loaded_as_far_as_it_goes(file):
    # Noise, so that every line takes its share of the compressed file.
    path = file(*(patient(n, noise=os.urandom(500).hex()) for n in range(200)), compress=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    [reported] = load_with_bad_lines(path)
    assert "the compressed file ends too early; what follows is lost" in reported
    assert 90 < Patient.objects.count() < 110


def test_a_damaged_file_is_loaded_as_far_as_it_goes(file):
    path = file(patient(1), b"", compress=True)
    path.write_bytes(path.read_bytes() + b"garbage")
    [reported] = load_with_bad_lines(path)
    assert "the compressed file is damaged" in reported
    assert Patient.objects.exists()


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "from-windows"
    text = "".join(json.dumps(patient(n)) + "\r\n" for n in range(2))
    path.write_bytes(text.encode("utf-8-sig"))
    load(path)
    assert Patient.objects.count() == 2


def test_an_empty_file(file):
    assert load(file()) == "Resources stored: 0, of them patients: 0."


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        load(tmp_path / "absent")
    with pytest.raises(CommandError, match="Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("compress", [False, True])
def test_standard_input(file, monkeypatch, compress):
    content = file(patient(1), compress=compress).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert load("-") == "Resources stored: 1, of them patients: 1."


def test_without_a_key_nothing_is_stored(file):
    keyring.evict()
    with (
        override_settings(ENVELOPE_FIELDS={"ROOT_KEYS": {}}),
        pytest.raises(CommandError, match=r"Stopped\. Resources stored: 0"),
    ):
        load(file(patient(1)))
    assert not Resource.objects.exists()


class Terminal(StringIO):
    def isatty(self):
        return True


def test_progress_is_drawn_for_those_who_look(file, monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    path = file(patient(1), b"bad")
    with pytest.raises(CommandError):
        call_command("import_fhir", str(path), stdout=StringIO())
    assert "100%" in terminal.getvalue()
    assert "line 2: not JSON, at character 1\n" in terminal.getvalue()


def test_progress_is_not_drawn_without_tqdm(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "tqdm", None)
    assert type(progress.progress(5)) is progress.NoProgress


@pytest.mark.parametrize(
    "names",
    [None, "x", [], ["x"], [{}], [{"given": "x"}], [{"given": [5, None], "family": {}}]],
)
def test_names_of_any_shape_are_survived(names):
    assert fhir.patient_name({"name": names}) == ""


def test_a_name_is_always_text_that_can_be_stored():
    assert fhir.patient_name({"name": [{"text": "A\ud800"}]}) == "A?"
    names = [{"text": "nick", "use": "nickname"}, {"text": "full", "use": "official"}]
    assert fhir.patient_name({"name": names}) == "full"


def test_lines_are_read_in_bounded_pieces(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 100 + b"\n" + b"12345\n" + b"y" * 100)
    with ndjson.Source(str(path), line_bytes=5) as source:
        assert list(source.lines()) == [(1, b"x" * 6), (2, b"12345"), (3, b"y" * 6)]
