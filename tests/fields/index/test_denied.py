"""Indexes where the principal may not read a value, or not use the key."""

import html
import traceback

import pytest
from django.core.exceptions import FieldError
from django.db.models import Case, F, Value, When
from django.db.models.functions import Lower
from django.db.transaction import atomic
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from rest_framework.serializers import ModelSerializer
from rest_framework.validators import UniqueTogetherValidator

from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.fields.masks import Mask
from envelope_fields.grants import grant
from envelope_fields.keyring import indexes
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import MasterKey
from envelope_fields.policy import APPLICATION, acting_as
from tests.models.indexed import Guarded, Person, Sealed, Visit
from tests.models.shadows import shadow_of
from tests.models.tables import made

VALUE = "secret@example.org"
WRAPPED = Value(VALUE, output_field=Person._meta.get_field("email"))


@pytest.fixture
def nurse(django_user_model):
    return django_user_model.objects.create_user("nurse")


@pytest.fixture
def row():
    create_master_key("guarded")
    with acting_as(APPLICATION):
        return Guarded.objects.create(name="a", masked=VALUE, raising=VALUE)


def found(**lookups):
    return list(Guarded.objects.filter(**lookups))


def test_an_untouched_mask_leaves_the_index_alone(row, nurse):
    with acting_as(nurse):
        loaded = Guarded.objects.get()
        assert isinstance(loaded.masked, Mask)
        loaded.name = "new"
        loaded.save()
        Guarded.objects.bulk_update([loaded], ["name", "masked"])
    assert found(masked=VALUE, raising=VALUE, name="new") == [row]


def test_a_mask_is_not_looked_for(row, nurse):
    with acting_as(nurse):
        loaded = Guarded.objects.get()
        with pytest.raises(FieldError, match="masked"):
            found(masked=loaded.masked)


def test_a_validator_of_a_serializer_asks_nothing_of_a_mask(row, nurse):
    class Rows(ModelSerializer):
        class Meta:
            model = Guarded
            fields = ("name", "masked")
            validators = (UniqueTogetherValidator(Guarded.objects.all(), fields),)

    other = Guarded.objects.create(name="b", masked="x@example.org", raising="x@example.org")
    assert not Rows(other, data={"name": "a", "masked": VALUE}).is_valid()
    with acting_as(nurse):
        changed = Rows(Guarded.objects.get(pk=other.pk), data={"name": "a"}, partial=True)
        assert changed.is_valid()
        changed.save()
    assert found(masked="x@example.org", name="a") == [other]


def test_validation_asks_nothing_of_what_may_not_be_read(row, nurse):
    with acting_as(nurse):
        loaded = Guarded.objects.get()
        loaded.validate_constraints()


def test_a_copy_needs_the_value(row, nurse):
    with acting_as(nurse):
        loaded = Guarded.objects.get()
        loaded.pk = None
        with pytest.raises((FieldError, KeyAccessDenied)):
            loaded.save(force_insert=True)


def test_a_disabled_search_key_stops_writes_and_lookups(row):
    with acting_as(APPLICATION):
        disable(MasterKey.objects.get(alias="search"))
        for use in (
            lambda: found(masked=VALUE),
            lambda: Guarded.objects.update(masked="x@example.org", raising="x@example.org"),
        ):
            with pytest.raises(MasterKeyUnusable) as caught, atomic():
                use()
            assert "ample" not in str(caught.value)
        loaded = Guarded.objects.get()
        assert loaded.masked == VALUE


def test_a_search_key_of_a_customer_is_asked_for_by_its_grantees_alone(nurse):
    create_master_key("guarded")
    create_master_key("lookup", usage="generate_verify_mac", managed_by="customer")
    with acting_as(nurse), pytest.raises(KeyAccessDenied), atomic():
        Sealed.objects.create(value="a")
    grant(
        MasterKey.objects.get(alias="lookup"),
        nurse,
        ["generate_mac", "verify_mac"],
        actor=APPLICATION,
    )
    with acting_as(nurse):
        row = Sealed.objects.create(value="a")
        assert Sealed.objects.get(value="a") == row


def _save():
    Person(email=VALUE).save()


def _create_several():
    Person.objects.bulk_create([Person(email=VALUE)])


def _find():
    list(Person.objects.filter(email=VALUE))


@pytest.mark.parametrize("do", [_save, _create_several, _find])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_no_error_report_shows_the_value(do, is_known, monkeypatch):
    """Neither where the key is refused, nor where whoever asks for it fails."""
    Person.objects.create(email="another@example.org")
    list(Person.objects.filter(email="another@example.org"))
    if is_known:
        monkeypatch.setattr(indexes, "_known", _fail)
    else:
        disable("search")
    with pytest.raises((MasterKeyUnusable, LookupError)) as caught:
        do()
    inside = caught.value.with_traceback(caught.tb.tb_next)
    request = RequestFactory().get("/")
    reporter = ExceptionReporter(request, type(inside), inside, inside.__traceback__)
    report = html.unescape(reporter.get_traceback_html())
    assert "envelope_fields/keyring/indexes.py" in report
    assert VALUE not in report


def _changed():
    row = Person.objects.get()
    row.email = VALUE
    return row


@pytest.mark.parametrize(
    "do",
    [
        lambda: Person.objects.update(email=VALUE),
        lambda: Person.objects.update(email=WRAPPED),
        lambda: Person.objects.update(email=Case(When(pk=1, then=WRAPPED), default=WRAPPED)),
        lambda: Person.objects.bulk_update([_changed()], ["email"]),
        lambda: Person.plain.bulk_update([_changed()], ["email"]),
        lambda: _changed().save(),
        lambda: Person.objects.update(email=Case(When(pk=1, then=WRAPPED), default=F("email"))),
        lambda: Person.objects.update(email=Lower(Value(VALUE))),
        lambda: Visit.objects.filter(contact=VALUE.encode()),
    ],
    ids=[
        "update",
        "value",
        "case",
        "bulk_update",
        "of Django",
        "save",
        "copied",
        "computed",
        "bytes",
    ],
)
def test_no_variable_of_ours_shows_the_value(do):
    """Django's own show what was given for `update()`."""
    Person.objects.create(email="another@example.org")
    disable("search")
    with pytest.raises((MasterKeyUnusable, FieldError, TypeError)) as caught, atomic():
        do()
    ours = [
        each
        for each in traceback.walk_tb(caught.tb)
        if each[0].f_globals["__name__"].startswith("envelope_fields.")
    ]
    assert ours
    assert [frame.f_code.co_name for frame, _ in ours if VALUE in repr(frame.f_locals)] == []


def _fail(label, key, purpose):
    raise LookupError("nothing is bound")


class TestHistories:
    @pytest.fixture(scope="class")
    @classmethod
    def history(cls, _tables, django_db_blocker):
        model = shadow_of(Guarded, "name", "masked", "masked_index", "raising", "raising_index")
        with made([model], django_db_blocker):
            yield model

    def test_they_take_the_index_over_with_the_value(self, row, nurse, history):
        """As django-simple-history does when one who may not read the value saves the row."""
        with acting_as(nurse):
            held = vars(Guarded.objects.get())
            names = [field.attname for field in history._meta.fields if field.name != "id"]
            history(**{name: held[name] for name in names}).save()
        assert history.objects.filter(masked=VALUE, raising=VALUE).count() == 1

    def test_not_of_another_value(self, row, nurse, history):
        with acting_as(nurse):
            held = vars(Guarded.objects.get())
            with pytest.raises(KeyAccessDenied):
                history(raising=held["raising"], raising_index=None, masked="x").save()
