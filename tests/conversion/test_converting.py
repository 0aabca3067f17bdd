"""From another package's format, in the very column, into envelopes: online, and to its end."""

import json
from datetime import UTC, datetime

import pytest

from envelope_fields.conversion import phases, runs
from envelope_fields.conversion.convert import Convert
from envelope_fields.conversion.phases import ConversionRefused, Phase
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import DecryptionFailed, KeyAccessDenied, MalformedEnvelope
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.throttle import NICE_RATIO, Limits
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import (
    AuditEvent,
    ColumnConversion,
    MasterKey,
    RotationFailure,
    RotationRun,
    RotationState,
)
from envelope_fields.policy import acting_as
from envelope_fields.rotation import NoSuchField, census, failures, progress, run
from envelope_fields.rotation.rows import RowAliases
from envelope_fields.rotation.scope import chosen_columns
from envelope_fields.rotation.verification import verify
from tests.fields.legacy import written
from tests.management import command
from tests.models import Letter, Note
from tests.stored import store, stored

pytestmark = pytest.mark.django_db(databases="__all__")

LABEL = "tests.Letter.text"


def letters(*raw, name="text"):
    """Make a row for each of some values that another package has stored."""
    made = [Letter.objects.create() for _ in raw]
    for row, value in zip(made, raw, strict=True):
        store(row, name, value)
    return made


def both(count=3):
    """Return what both packages store of some texts."""
    return [
        write(f"text {number}")
        for number in range(count)
        for write in (written.fernet, written.cryptography)
    ]


def every_stored(name="text"):
    return [stored(row, name) for row in Letter.objects.order_by("pk")]


def texts():
    return [row.text for row in Letter.objects.order_by("pk")]


class TestConverting:
    def test_to_its_end(self):
        letters(*both())
        Letter.objects.create(text="an envelope")
        Letter.objects.create(text=None)
        before = texts()
        out, error = command("convert_field", LABEL, "--to=finished")
        assert error == ""
        assert "6 values converted, 0 failed" in out
        assert "finished, 7 envelopes" in out
        assert all(value is None or value.startswith(b"\x01") for value in every_stored())
        assert texts() == before

    def test_again(self):
        letters(*both())
        command("convert_field", LABEL, "--to=converting")
        once = every_stored()
        out, error = command("convert_field", LABEL, "--to=converting")
        assert error == ""
        command("convert_field", LABEL, "--to=finished")
        out, error = command("convert_field", LABEL, "--to=finished")
        assert (error, "finished" in out) == ("", True)
        assert every_stored() == once

    def test_dry_run_writes_nothing(self):
        letters(*both())
        before = every_stored()
        out, error = command("convert_field", LABEL, "--to=finished", "--dry-run")
        assert error == ""
        assert "3 of django-cryptography: opened under SECRET_KEY" in out
        assert "3 of django-fernet-fields: opened under SECRET_KEY" in out
        assert "3 values of django-cryptography, 3 values of django-fernet-fields: to conv" in out
        assert every_stored() == before
        assert not RotationRun.objects.exists()
        assert not ColumnConversion.objects.exists()

    def test_json(self):
        letters(*both(1))
        out, _ = command("convert_field", LABEL, "--to=finished", "--json")
        content = json.loads(out)
        assert content["phase"] == "finished"
        assert content["remaining"] == []
        assert content["run"]["kind"] == "convert"
        assert content["run"]["moved"] == 2

    def test_after_its_end_what_another_package_stores_is_an_error(self):
        letters(*both(1))
        command("convert_field", LABEL, "--to=finished")
        raw = written.fernet("late")
        (late,) = letters(raw)
        _out, error = command("convert_field", LABEL, "--to=finished")
        assert "1 value of django-fernet-fields left" in error
        assert stored(late, "text") == raw
        with pytest.raises(MalformedEnvelope):
            Letter.objects.get(pk=late.pk).text  # noqa: B018
        with pytest.raises(ConversionRefused, match="finished"):
            runs.start("convert", phases.convertible(LABEL))

    def test_moments_and_plaintext(self):
        create_master_key("lab")
        letters(written.fernet("2020-06-01 12:00:00"), b"2020-06-01 12:00:00+00:00", name="sent_at")
        _out, error = command("convert_field", "tests.Letter.sent_at", "--to=finished")
        assert error == ""
        moment = datetime(2020, 6, 1, 12, tzinfo=UTC)
        assert [row.sent_at for row in Letter.objects.all()] == [moment] * 2

    def test_empty_value_that_no_reader_claims_is_met_and_listed(self):
        row, _ = letters(b"", written.fernet("text"))
        _, error = command("convert_field", LABEL, "--to=finished")
        assert "1 of no format that it reads" in error
        _, error = command("convert_field", LABEL, "--to=finished", skip_unreadable=True)
        assert "no reader of the field claims it" in error
        assert [each.row for batch in verify([LABEL]) for each in batch.unreadable] == [str(row.pk)]
        assert stored(row, "text") == b""

    def test_token_in_a_token(self):
        letters(written.fernet(written.fernet("text")))
        out, _error = command("convert_field", LABEL, "--to=finished")
        assert "encrypted 2 times" in out
        assert texts() == ["text"]


class TestSample:
    def test_key_that_opens_nothing_stops_it(self):
        letters(*both(1), *[written.fernet(f"{n}", secret="another") for n in range(3)])
        before = every_stored()
        _out, error = command("convert_field", LABEL, "--to=finished")
        assert "not all values of a sample open, and nothing was written" in error
        assert "3 of django-fernet-fields: not opened" in error
        assert every_stored() == before

    def test_package_of_which_nothing_opens_cannot_be_skipped(self):
        letters(written.cryptography("a"), written.fernet("b", secret="another"))
        _, error = command("convert_field", LABEL, "--to=finished", "--skip-unreadable")
        assert "nothing was written" in error

    def test_others_are_converted_and_these_are_listed(self):
        rows = letters(*both(1), written.fernet("secret text", secret="another"))
        out, error = command("convert_field", LABEL, "--to=finished", "--skip-unreadable")
        assert "2 values converted, 1 failed" in out
        assert f"tests.Letter.text {rows[-1].pk}: DecryptionFailed" in error
        assert "1 value of django-fernet-fields left" in error
        assert stored(rows[-1], "text").startswith(b"g")
        assert ColumnConversion.objects.get().phase == Phase.CONVERTING

    def test_nothing_of_a_value_is_recorded(self):
        create_master_key("lab")
        letters(b"2020-01-01 12:00", b"a secret date", name="sent_at")
        label = "tests.Letter.sent_at"
        field = phases.convertible(label)
        [failure] = failures(run(runs.start("convert", field)))
        assert failure.version_id == ""
        assert failure.cause == "DecryptionFailed"
        for row in (*RotationFailure.objects.values(), *AuditEvent.objects.values()):
            assert "secret" not in str(row)
            assert b"secret".hex() not in str(row)


class TestWritersMeanwhile:
    """What is written while a batch is under way is left as it is."""

    @pytest.mark.parametrize("write", [written.fernet, written.cryptography])
    def test_old_build_and_new_build(self, write, monkeypatch):
        raw = [write("x") for _ in range(4)]  # some are shorter than the head of an envelope
        old, new, deleted, _ = rows = letters(*raw)
        later = write("y")
        process = Convert.process

        def interrupted(self, values):
            outcome = process(self, values)
            store(old, "text", later)
            Letter.objects.filter(pk=new.pk).update(text="of the new build")
            deleted.delete()
            return outcome

        monkeypatch.setattr(Convert, "process", interrupted)
        (column,) = [each for each in chosen_columns([LABEL]) if each.database == "default"]
        batches = Batches(column, Convert(column), Limits())
        (result,) = batches.between(None, None, None)
        assert (result.moved, result.skipped, len(result.failed)) == (1, 3, 0)
        assert stored(old, "text") == later
        assert Letter.objects.get(pk=new.pk).text == "of the new build"
        assert Letter.objects.get(pk=rows[3].pk).text == "x"

    def test_plaintext_that_begins_alike(self, monkeypatch):
        create_master_key("lab")
        (row,) = letters(b"2020-06-01 12:00:00+00:00" + b" " * 100, name="sent_at")
        later = b"2020-06-01 12:00:00+00:00" + b" " * 101
        process = Convert.process

        def interrupted(self, values):
            outcome = process(self, values)
            store(row, "sent_at", later)
            return outcome

        monkeypatch.setattr(Convert, "process", interrupted)
        label = "tests.Letter.sent_at"
        (column,) = [each for each in chosen_columns([label]) if each.database == "default"]
        (result,) = Batches(column, Convert(column), Limits()).between(None, None, None)
        assert result.moved == 0
        assert stored(row, "sent_at") == later

    def test_old_build_that_never_stops_ends_the_run(self, monkeypatch):
        (row,) = letters(written.fernet("0"))
        process = Convert.process
        written_since = iter(range(1, 100))

        def written_again(self, values):
            outcome = process(self, values)
            store(row, "text", written.fernet(str(next(written_since))))
            letters(written.fernet("another"))
            return outcome

        monkeypatch.setattr(Convert, "process", written_again)
        _, error = command("convert_field", LABEL, "--to=finished")
        assert "an old build still writes them" in error
        assert next(written_since) == 4
        monkeypatch.setattr(Convert, "process", process)
        assert command("convert_field", LABEL, "--to=finished")[1] == ""
        assert texts()[0] == "3"

    def test_value_that_is_written_before_it_is_read_is_no_failure(self, monkeypatch):
        (row,) = letters(written.fernet("old"))
        original = RowAliases.of

        def of(self, keys):
            Letter.objects.filter(pk=row.pk).update(text="new")
            return original(self, keys)

        monkeypatch.setattr(RowAliases, "of", of)
        out, error = command("convert_field", LABEL, "--to=finished")
        assert error == ""
        assert "0 failed" in out
        assert texts() == ["new"]

    def test_run_that_was_stopped_goes_on(self, monkeypatch):
        letters(*both(4))
        field = phases.convertible(LABEL)
        begun = runs.start("convert", field, limits=Limits(batch_size=2))
        assert begun.limits["nice_ratio"] == NICE_RATIO

        class Killed(BaseException):
            pass

        def kill(result):
            raise Killed

        with pytest.raises(Killed):
            run(begun, watch=kill)
        assert progress(begun).moved == 2
        assert runs.start("convert", field).pk == begun.pk
        done = run(begun)
        assert done.state == RotationState.COMPLETED
        assert (progress(done).moved, progress(done).failed) == (8, 0)
        assert all(value.startswith(b"\x01") for value in every_stored())


class TestBoundRows:
    """A field that is bound to columns of its row."""

    def test_value_is_bound(self):
        row, _ = letters(written.fernet("one"), written.fernet("two"), name="signed")
        assert Letter.objects.get(pk=row.pk).signed == "one"
        _, error = command("convert_field", "tests.Letter.signed", "--to=finished")
        assert error == ""
        assert [each.signed for each in Letter.objects.order_by("pk")] == ["one", "two"]
        store(row, "owner", 2)
        with pytest.raises(DecryptionFailed):
            Letter.objects.get(pk=row.pk).signed  # noqa: B018

    def test_row_that_moves_meanwhile_is_left(self, monkeypatch):
        (row,) = letters(written.fernet("one"), name="signed")
        process = Convert.process

        def interrupted(self, values):
            outcome = process(self, values)
            store(row, "owner", 2)
            return outcome

        monkeypatch.setattr(Convert, "process", interrupted)
        (column,) = [
            each for each in chosen_columns(["tests.Letter.signed"]) if each.database == "default"
        ]
        (result,) = Batches(column, Convert(column), Limits()).between(None, None, None)
        assert (result.moved, result.skipped) == (0, 1)
        monkeypatch.setattr(Convert, "process", process)
        command("convert_field", "tests.Letter.signed", "--to=finished")
        assert Letter.objects.get(pk=row.pk).signed == "one"


class TestStanding:
    def test_what_begins_as_an_envelope_is_not_counted_as_plaintext(self):
        create_master_key("lab")
        letters(b"\x01 too short", b"2020-01-01 00:00:00", name="sent_at")
        found = phases.standing(phases.convertible("tests.Letter.sent_at"))
        assert found.remaining == {"": 1, "plaintext": 1}

    def test_census_counts_by_format(self):
        letters(*both(2), b"in no format")
        Letter.objects.create(text="an envelope")
        rows = {
            row.format: row.values
            for row in census()
            if row.field == "text" and row.model == "tests.Letter"
        }
        assert rows == {
            "": 1, "django-cryptography": 2, "django-fernet-fields": 2,
        } or rows.get("django-fernet-fields") == 2  # fmt: skip
        out, _ = command("census")
        assert "django-fernet-fields" in out
        assert "Values in the format of another package: 4" in out
        assert "Values that are not envelopes: 1" in out

    def test_conversions(self):
        letters(*both(2))
        out, _ = command("conversions")
        assert f"{LABEL}: open; 2 values of django-cryptography" in out
        command("convert_field", LABEL, "--to=finished")
        out, _ = command("conversions", "--json")
        found = {each["field"]: each for each in json.loads(out)}
        assert found[LABEL]["phase"] == "finished"
        assert found[LABEL]["envelopes"] == 4

    def test_rewrap_does_not_complain_of_what_is_converted(self):
        letters(*both(1))
        _, error = command("rewrap")
        assert error == ""
        command("convert_field", LABEL, "--to=finished")
        letters(written.fernet("late"))
        _, error = command("rewrap")
        assert LABEL in error

    def test_verification_reads_it(self):
        letters(*both(1))
        _, error = command("verify_envelopes", "--field", LABEL)
        assert error == ""
        letters(written.fernet("x", secret="another"))
        _, error = command("verify_envelopes", "--field", LABEL)
        assert error == "Stored values that cannot be read: 1."


class TestRights:
    def test_user_without_the_right(self, django_user_model):
        user = django_user_model.objects.create(username="u")
        MasterKey.objects.filter(alias="default").update(managed_by="customer")
        letters(*both(1))
        field = phases.convertible(LABEL)
        with acting_as(user):
            with pytest.raises(KeyAccessDenied):
                runs.start("convert", field)
            with pytest.raises(KeyAccessDenied):  # how many values are left is not said, either
                phases.finish(field)

    def test_audit_trail_has_its_beginning_and_end(self):
        letters(*both(1))
        command("convert_field", LABEL, "--to=finished")
        events = AuditEvent.objects.order_by("number").values_list("action", "key_alias")
        named = [each for each in events if "conversion" in each[0] or "rotation" in each[0]]
        assert named == [
            ("start_conversion", "default"),
            ("complete_rotation", "default"),
            ("finish_conversion", "default"),
        ]


class TestRefusals:
    def test_field_without_readers(self):
        assert "reads no format" in command("convert_field", "tests.Note.text", "--to=finished")[1]

    def test_model_instead_of_a_field(self):
        with pytest.raises(NoSuchField):
            phases.convertible("tests.Letter")

    def test_unknown_field(self):
        with pytest.raises(NoSuchField):
            phases.convertible("tests.Letter.nothing")

    def test_missing_setting(self, settings):
        letters(*both(1))
        settings.FERNET_KEYS, settings.FERNET_USE_HKDF = ["no key"], False
        assert "FERNET_KEYS is not" in command("convert_field", LABEL, "--to=finished")[1]

    def test_finish_with_values_left(self):
        letters(*both(1))
        with pytest.raises(ConversionRefused, match="1 value of django-cryptography"):
            phases.finish(phases.convertible(LABEL))


def test_value_that_is_text_of_an_envelope_is_not_encrypted():
    note = Note.objects.create(text="a", data=None)
    letters(written.fernet(layout.encode_text(stored(note, "text"))))
    _out, error = command("convert_field", LABEL, "--to=finished")
    assert "FieldError" in error
