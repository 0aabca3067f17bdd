"""A column that holds, besides envelopes, what another package has stored."""

import copy
import pickle
from datetime import UTC, datetime

import pytest
from django.apps.registry import Apps
from django.core import serializers
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection, models, transaction
from django.db.migrations.state import ModelState
from django.db.models import F
from django.test.utils import isolate_apps
from django.utils import timezone

from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    KeyAccessDenied,
    MalformedEnvelope,
    MasterKeyUnusable,
)
from envelope_fields.fields import EncryptedQuerySet, EncryptedTextField, open_values
from envelope_fields.fields.legacy import FernetFields, Mirage, Plaintext, reading as legacy_reading
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import ColumnConversion, MasterKey
from envelope_fields.policy import APPLICATION, acting_as
from tests.event_loops import in_event_loop
from tests.fields.legacy import written
from tests.models import Letter
from tests.stored import store, stored

pytestmark = pytest.mark.django_db

VALUE = "Dear Ann"
STORED = [written.fernet, written.cryptography]


@pytest.fixture
def lab(db):
    return create_master_key("lab")


def letter(raw, name="text"):
    """Return the row of a letter in which another package has stored something."""
    made = Letter.objects.create()
    store(made, name, raw)
    return Letter.objects.get(pk=made.pk)


def finish(name="text"):
    ColumnConversion.objects.create(
        model="tests.Letter", field=name, kind="legacy", phase="finished",
        finished_at=timezone.now(),
    )  # fmt: skip


@pytest.mark.parametrize("write", STORED)
class TestReading:
    def test_attribute_opens_it(self, write):
        found = letter(write(VALUE))
        assert type(vars(found)["text"]) is SealedValue
        assert found.text == VALUE

    def test_every_other_way_to_read(self, write):
        row = letter(write(VALUE))
        assert Letter.objects.values_list("text", flat=True).get() == VALUE
        assert Letter.objects.annotate(same=F("text")).get().same == VALUE
        assert Letter.objects.defer("text").get().text == VALUE
        (raw,) = Letter.objects.raw("SELECT * FROM tests_letter")
        assert raw.text == VALUE
        open_values([row])
        assert vars(row)["text"] == VALUE

    def test_what_is_written_is_an_envelope(self, write):
        row = letter(write(VALUE))
        row.text = "Dear Ben"
        row.save()
        assert stored(row, "text").startswith(b"\x01")
        assert Letter.objects.get().text == "Dear Ben"

    def test_saving_one_that_was_not_looked_at_leaves_it(self, write, lab):
        raw = write(VALUE)
        row = letter(raw)
        row.save()
        row.sent_at = datetime(2020, 1, 1, tzinfo=UTC)
        row.save(update_fields=["sent_at"])
        assert stored(row, "text") == raw

    def test_saving_one_that_was_looked_at_encrypts_it(self, write):
        row = letter(write(VALUE))
        assert row.text == VALUE
        row.save()
        assert stored(row, "text").startswith(b"\x01")
        assert Letter.objects.get().text == VALUE

    def test_copy_of_a_row_is_encrypted(self, write):
        row = letter(write(VALUE))
        row.pk = None
        row._state.adding = True
        row.save()
        assert stored(row, "text").startswith(b"\x01")
        assert [each.text for each in Letter.objects.all()] == [VALUE, VALUE]

    def test_bulk_update_encrypts_it(self, write):
        row = letter(write(VALUE))
        Letter.objects.bulk_update([row], ["text"])
        assert stored(row, "text").startswith(b"\x01")
        row = letter(write(VALUE))
        EncryptedQuerySet(Letter).bulk_update([row], ["text"])
        assert stored(row, "text").startswith(b"\x01")
        assert [each.text for each in Letter.objects.all()] == [VALUE, VALUE]

    def test_pickle_and_copy_hold_what_is_stored(self, write):
        row = letter(write(VALUE))
        for again in (pickle.loads(pickle.dumps(row)), copy.deepcopy(row)):
            assert type(vars(again)["text"]) is SealedValue
            assert again.text == VALUE

    def test_fixture_has_an_envelope(self, write):
        row = letter(write(VALUE))
        fixture = serializers.serialize("json", [row])
        assert VALUE not in fixture
        assert '"text": "envelope:' in fixture
        row.delete()
        (loaded,) = serializers.deserialize("json", fixture)
        loaded.save()
        assert Letter.objects.get().text == VALUE

    def test_after_the_conversion_it_is_an_error(self, write):
        row, raw = letter(write(VALUE)), write(VALUE)
        finish()
        with pytest.raises(MalformedEnvelope, match="finished"):
            row.text  # noqa: B018
        with pytest.raises(MalformedEnvelope, match="finished"):
            Letter.objects.values_list("text").get()
        store(row, "text", raw)
        fresh = Letter.objects.get()
        fresh.save()
        assert stored(fresh, "text") == raw  # and it is not lost


def test_end_of_a_conversion_that_is_rolled_back_is_forgotten():
    row = letter(written.fernet(VALUE))
    with transaction.atomic():
        finish()
        with pytest.raises(MalformedEnvelope):
            row.text  # noqa: B018
        transaction.set_rollback(True)
    assert row.text == VALUE


def test_what_no_reader_claims_is_an_error_as_before():
    for raw in (b"a secret", b"gAAAA too short", b"\x80\x04 pickle", b""):
        row = letter(raw)
        with pytest.raises(MalformedEnvelope) as caught:
            row.text  # noqa: B018
        assert "a secret" not in str(caught.value)


def test_what_a_reader_claims_and_does_not_open_is_an_error_without_a_value():
    row = letter(written.fernet(VALUE, secret="another"))
    with pytest.raises(DecryptionFailed) as caught:
        row.text  # noqa: B018
    assert caught.value.__context__ is None
    assert f"primary key {row.pk}" in str(caught.value)
    with pytest.raises(DecryptionFailed) as caught:
        Letter.objects.values_list("text").get()
    assert caught.value.__context__ is None


@pytest.mark.usefixtures("lab")
def test_form_of_a_token_is_never_plaintext():
    row = letter(written.fernet("2020-01-01T00:00:00Z", secret="another"), "sent_at")
    with pytest.raises(DecryptionFailed):
        row.sent_at  # noqa: B018


@pytest.mark.usefixtures("lab")
def test_moments_are_in_the_zone_of_the_database():
    moment = datetime(2020, 6, 1, 12, tzinfo=UTC)
    assert letter(written.fernet("2020-06-01 12:00:00"), "sent_at").sent_at == moment
    assert letter(b"2020-06-01 12:00:00", "sent_at").sent_at == moment  # in clear
    assert letter(b"2020-06-01 14:00:00+02:00", "sent_at").sent_at == moment


@pytest.mark.usefixtures("lab")
class TestPicklesOfWhatIsInClear:
    CLEAR = b"2020-06-01 12:00:00"
    MOMENT = datetime(2020, 6, 1, 12, tzinfo=UTC)

    def test_they_hold_an_envelope(self):
        row = letter(self.CLEAR, "sent_at")
        pickled = pickle.dumps(row)
        assert b"2020-06" not in pickled
        again = pickle.loads(pickled)
        assert again.sent_at == self.MOMENT
        assert stored(row, "sent_at") == self.CLEAR  # where it is, it stays

    def test_saving_what_was_pickled_leaves_the_column_alone(self):
        again = pickle.loads(pickle.dumps(letter(self.CLEAR, "sent_at")))
        again.save()
        assert stored(again, "sent_at") == self.CLEAR

    def test_by_whom_nothing_can_be_encrypted_nothing_is_pickled(self, django_user_model):
        MasterKey.objects.filter(alias="lab").update(managed_by="customer")
        row = letter(self.CLEAR, "sent_at")
        with acting_as(django_user_model.objects.create(username="u")):
            for each in (row, row.sent_at):
                with pytest.raises(KeyAccessDenied, match=f"sent_at.*primary key {row.pk}"):
                    pickle.dumps(each)

    def test_what_is_no_value_is_not_pickled(self):
        row = letter(b"the first of June", "sent_at")
        with pytest.raises(DecryptionFailed) as caught:
            pickle.dumps(row)
        assert "June" not in str(caught.value)


CLEAR_FIELD = EncryptedTextField(legacy=[Plaintext()])


@pytest.mark.parametrize(
    "stored",
    [
        written.fernet(VALUE),
        written.fernet(VALUE)[:-1],
        written.fernet(VALUE)[:61] + b" ",
        b"envelope:AQ",
        b"\x01",
    ],
    ids=["token", "cut", "end cut", "envelope", "header"],
)
def test_what_stands_for_a_value_is_no_plaintext(stored):
    assert legacy_reading.format_of(CLEAR_FIELD, stored) is None
    with pytest.raises(DecryptionFailed):
        Plaintext().read(stored, CLEAR_FIELD)


@pytest.mark.parametrize("text", ["", "good", "gAAAAA!", "gAAAAA then words", "an envelope:AQ"])
def test_what_is_in_clear_is_plaintext(text):
    assert legacy_reading.format_of(CLEAR_FIELD, text.encode()) == Plaintext()
    assert Plaintext().read(text.encode(), CLEAR_FIELD).value == text


@pytest.mark.usefixtures("lab")
@pytest.mark.skipif(connection.vendor != "sqlite", reason="stores any type in a column")
def test_number_in_a_column_is_no_value():
    row = Letter.objects.create()
    store(row, "sent_at", 5)
    with pytest.raises(EnvelopeError, match=r"Letter\.sent_at"):
        Letter.objects.get().sent_at  # noqa: B018
    with pytest.raises(EnvelopeError, match=r"Letter\.sent_at"):
        Letter.objects.values_list("sent_at").get()


class TestPolicy:
    """Who may not decrypt under the key of the field reads nothing of what was stored before."""

    def test_user_without_a_grant(self, django_user_model, lab):
        user = django_user_model.objects.create(username="u")
        MasterKey.objects.filter(alias="default").update(managed_by="customer")
        row = letter(written.fernet(VALUE))
        store(row, "sent_at", written.fernet("2020-06-01 12:00:00"))
        MasterKey.objects.filter(alias="lab").update(managed_by="customer")
        with acting_as(user):
            found = Letter.objects.get()
            with pytest.raises(KeyAccessDenied):
                found.text  # noqa: B018
            assert isinstance(found.sent_at, Mask)
            found.save()
            assert stored(found, "sent_at").startswith(b"g")
        with acting_as(APPLICATION):
            grant("default", user, ["decrypt"])
        with acting_as(user):
            assert found.text == VALUE

    def test_disabled_key(self):
        row = letter(written.fernet(VALUE))
        disable("default")
        with pytest.raises(MasterKeyUnusable):
            row.text  # noqa: B018


def test_value_that_was_loaded_opens_in_an_event_loop():
    row = letter(written.fernet(VALUE))

    async def look():
        return row.text

    assert in_event_loop(look()) == VALUE


def test_row_key_without_an_alias_is_refused():
    with isolate_apps("tests"):

        class Thing(models.Model):
            text = EncryptedTextField(key=lambda row: row.alias, legacy=[FernetFields()])

            class Meta:
                app_label = "tests"

    field = Thing._meta.get_field("text")
    with pytest.raises(FieldError, match="takes its key from the instance"):
        field.reader(written.fernet(VALUE), None, connection)


class TestDeclaration:
    def test_nothing_of_it_is_in_a_migration(self):
        field = Letter._meta.get_field("text")
        assert "legacy" not in field.deconstruct()[3]
        state = ModelState.from_model(Letter)
        assert "legacy" not in state.fields["text"].deconstruct()[3]
        assert copy.copy(field).legacy == field.clone().legacy == field.legacy

    def test_model_of_a_migration_reads_with_the_readers_of_today(self):
        raw = written.fernet(VALUE)
        row = letter(raw)
        options = {"app_label": "tests", "db_table": "tests_letter", "apps": Apps()}
        body = {"__module__": "__fake__", "Meta": type("Meta", (), options)}
        fake = type("Letter", (models.Model,), {"text": EncryptedTextField(null=True), **body})
        assert fake.objects.get(pk=row.pk).text == VALUE

    @pytest.mark.parametrize("given", [[FernetFields], ["FERNET_KEYS"], FernetFields, [Mirage()]])
    def test_what_is_no_reader_of_the_column_is_refused(self, given):
        with pytest.raises(TypeError, match="legacy="):
            EncryptedTextField(legacy=given)

    def test_two_readers_of_one_format_are_refused(self):
        with pytest.raises(TypeError, match="one reader of a format"):
            EncryptedTextField(legacy=[FernetFields(), FernetFields(prefix="djfernet")])

    def test_one_reader_needs_no_list(self):
        assert EncryptedTextField(legacy=FernetFields()).legacy == (FernetFields(),)
        assert EncryptedTextField(legacy=[Plaintext(), FernetFields()]).legacy[1] == Plaintext()

    def test_missing_setting_is_named(self, settings):
        row = letter(written.fernet(VALUE))
        settings.FERNET_KEYS = ["no key"]
        settings.FERNET_USE_HKDF = False
        with pytest.raises(ImproperlyConfigured, match="FERNET_KEYS is not a Fernet key"):
            row.text  # noqa: B018
