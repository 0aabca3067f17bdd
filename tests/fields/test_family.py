"""The fields of every type: what goes in comes out, beside Django's own field."""

import copy
import math
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection, models
from django.test.utils import isolate_apps

from envelope_fields import fields
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields.validation import Validator
from tests.fields.family import FAMILY, VALUES, encrypted, plain

TEXTS = {"Char", "Email", "URL", "Slug", "FilePath"}


def stored(model):
    """Return what the encrypted column holds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT value FROM {model._meta.db_table}")
        return [None if row[0] is None else bytes(row[0]) for row in cursor.fetchall()]


def same(one, other):
    return type(one) is type(other) and one == other and str(one) == str(other)


@pytest.mark.django_db(transaction=True)
class TestStored:
    @pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda each: str(each)[:24])
    def test_what_goes_in_comes_out(self, model, name, value):
        thing = model(name).objects.create(value=value, twin=value)
        manager = type(thing).objects
        loaded = manager.get()
        assert same(loaded.value, value)
        assert same(bytes(loaded.twin) if name == "Binary" else loaded.twin, loaded.value)
        assert same(manager.values_list("value", flat=True).get(), value)
        [envelope] = stored(type(thing))
        assert envelope[:1] == b"\x01"
        assert len(envelope) >= 97
        before = envelope
        loaded = manager.get()
        loaded.save()
        assert stored(type(thing)) == [before], "what was not looked at is left alone"
        assert manager.update(value=value) == 1
        assert same(manager.get().value, value)
        assert stored(type(thing)) != [before]

    @pytest.mark.parametrize("name", FAMILY)
    def test_null(self, model, name):
        thing = model(name, null=True)
        thing.objects.create(value=None, twin=None)
        assert stored(thing) == [None]
        assert thing.objects.get().value is None
        assert thing.objects.filter(value__isnull=True).count() == 1

    @pytest.mark.parametrize("name", FAMILY)
    def test_every_other_way_to_write_and_read(self, model, name, monkeypatch):
        thing = model(name, null=True)
        monkeypatch.setattr(apps, "get_model", lambda *_: thing)  # as pickles do
        value, first = FAMILY[name][1][-1], FAMILY[name][1][0]
        one, two = thing.objects.bulk_create([thing(value=value), thing(value=None)])
        one, two = thing.objects.order_by("pk")
        assert same(one.value, value)
        assert two.value is None
        one.value, two.value = first, value
        assert thing.objects.bulk_update([one, two], ["value"]) == 2
        assert same(thing.objects.get(pk=one.pk).value, first)
        deferred = thing.objects.defer("value").get(pk=two.pk)
        assert same(deferred.value, value)
        again = pickle.loads(pickle.dumps(thing.objects.only("value").get(pk=two.pk)))
        assert same(again.value, value)
        again = pickle.loads(pickle.dumps(again))  # it was looked at, and holds the value
        assert same(copy.deepcopy(again).value, value)
        two.value = first
        thing.objects.bulk_create(
            [two],
            update_conflicts=True,
            update_fields=["value"],
            unique_fields=["pk"]
            if connection.features.supports_update_conflicts_with_target
            else None,
        )
        assert same(thing.objects.get(pk=two.pk).value, first)
        assert thing.objects.count() == 2

    @pytest.mark.parametrize("name", FAMILY)
    def test_what_cannot_be_opened_names_the_field(self, model, name):
        thing = model(name).objects.create(value=FAMILY[name][1][-1], twin=FAMILY[name][1][-1])
        [envelope] = stored(type(thing))
        with connection.cursor() as cursor:
            table = thing._meta.db_table
            cursor.execute(
                f"UPDATE {table} SET value = %s", [envelope[:-1] + bytes([envelope[-1] ^ 1])]
            )
        with pytest.raises(DecryptionFailed, match=r"tests\.Thing\.value"):
            _ = type(thing).objects.get().value

    @pytest.mark.parametrize("name", sorted(set(FAMILY) - TEXTS - {"Binary"}))
    def test_what_was_written_by_another_type_is_no_value(self, model, name):
        """It is a text that a field of text wrote under this label, as before an `AlterField`."""
        thing = model(name)
        with isolate_apps("tests"):

            class Former(models.Model):
                value = fields.EncryptedTextField(context="tests.thing.value")
                twin = plain(name)

                class Meta:
                    app_label = "tests"
                    db_table = thing._meta.db_table

        Former.objects.create(value="hidden words", twin=FAMILY[name][1][-1])
        with pytest.raises(DecryptionFailed, match=r"tests\.Thing\.value") as caught:
            _ = thing.objects.get().value
        error = caught.value
        while error is not None:
            assert "hidden" not in repr(error)
            error = error.__cause__ or error.__context__

    @pytest.mark.parametrize("name", FAMILY)
    def test_copies_of_its_envelopes_are_read(self, model, name):
        value = FAMILY[name][1][-1]
        thing = model(name).objects.create(value=value, twin=value)
        with isolate_apps("tests"):

            class Event(models.Model):
                value = encrypted(name, copy_of="tests.Thing.value", null=True)

                class Meta:
                    app_label = "tests"

            # Where a project declares it, both are in one registry.
            Event._meta.apps.register_model("tests", type(thing))
            field = Event._meta.get_field("value")
            [envelope] = stored(type(thing))
            assert same(field.from_db_value(envelope, field.get_col("x"), connection), value)
        assert field.label == "tests.event.value"

    @pytest.mark.parametrize("name", FAMILY)
    def test_a_default_is_called_for_each_row(self, model, name):
        given = iter(FAMILY[name][1] * 2)
        thing = model(name, default=lambda: next(given))
        thing.objects.create(twin=FAMILY[name][1][0])
        thing.objects.bulk_create([thing(twin=FAMILY[name][1][0])])
        found = thing.objects.order_by("pk").values_list("value", flat=True)
        assert all(map(same, found, FAMILY[name][1] * 2))
        assert len(set(stored(thing))) == 2

    def test_a_decimal_has_the_digits_of_its_column(self, model):
        thing = model("Decimal")
        thing.objects.create(value=Decimal("12.3"), twin=Decimal("12.3"))
        assert str(thing.objects.get().value) == str(thing.objects.get().twin) == "12.30"
        with pytest.raises(ValueError, match=r"tests\.thing\.value|tests.Thing.value"):
            thing.objects.create(value=Decimal("12345678901.00"), twin=1)

    def test_floats_are_exact(self, model):
        thing = model("Float")
        for value in (math.inf, -math.inf, -0.0):
            found = thing.objects.create(value=value, twin=0)
            found.refresh_from_db()
            assert math.copysign(1, found.value) == math.copysign(1, value)
            assert found.value == value
        nan = thing.objects.create(value=math.nan, twin=0)
        nan.refresh_from_db()
        assert math.isnan(nan.value)

    def test_a_moment_of_another_zone(self, model):
        thing = model("DateTime")
        moment = datetime(2026, 11, 28, 13, tzinfo=timezone(timedelta(hours=1)))
        thing.objects.create(value=moment, twin=moment)
        found = thing.objects.get()
        assert found.value == found.twin == moment
        assert found.value.utcoffset() == found.twin.utcoffset() == timedelta()

    def test_a_moment_that_was_written_under_another_setting(self, model, settings):
        thing = model("DateTime")
        settings.TIME_ZONE = "Europe/Berlin"
        settings.USE_TZ = False
        thing.objects.create(value=datetime(2026, 1, 1, 12), twin=datetime(2026, 1, 1, 12))
        settings.USE_TZ = True
        assert thing.objects.get().value == datetime(2026, 1, 1, 11, tzinfo=UTC)
        thing.objects.update(value=datetime(2026, 1, 1, 11, tzinfo=UTC))
        settings.USE_TZ = False
        assert thing.objects.get().value == datetime(2026, 1, 1, 12)

    @pytest.mark.parametrize("name", ["Date", "DateTime", "Time"])
    @pytest.mark.parametrize("option", ["auto_now", "auto_now_add"])
    def test_now(self, model, name, option):
        thing = model(name, **{option: True})
        thing.objects.create()
        [first] = stored(thing)
        found = thing.objects.get()
        value = found.value
        assert isinstance(value, {"Date": date, "DateTime": datetime, "Time": time}[name])
        thing.objects.get().save()  # not looked at
        assert (stored(thing) == [first]) == (option == "auto_now_add")
        if option == "auto_now_add":
            assert thing.objects.get().value == value

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Integer", "s3cret"),
            ("Decimal", "s3cret"),
            ("Float", "s3cret"),
            ("Boolean", "s3cret"),
            ("Date", "s3cret"),
            ("DateTime", "s3cret"),
            ("Time", "s3cret"),
            ("Duration", "s3cret"),
            ("UUID", "s3cret"),
            ("GenericIPAddress", "s3cret"),
            ("Binary", "s3cret"),
        ],
    )
    def test_what_is_no_value_is_not_shown(self, model, name, value):
        thing = model(name, null=True)
        with pytest.raises((ValueError, TypeError, ValidationError)) as caught:
            thing.objects.create(value=value)
        chain, error = [], caught.value
        while error is not None:
            chain.append(repr(error))
            error = error.__cause__ or error.__context__
        assert "s3cret" not in "".join(chain)
        assert "Thing.value" in chain[0]


@pytest.mark.parametrize("name", FAMILY)
def test_it_is_asked_as_the_plain_field_is(name):
    with isolate_apps("tests"):

        class Thing(models.Model):
            value = encrypted(name, blank=True, null=True)
            twin = plain(name, blank=True, null=True)

            class Meta:
                app_label = "tests"

    value, twin = Thing._meta.get_field("value"), Thing._meta.get_field("twin")
    assert value.get_internal_type() == twin.get_internal_type()
    options = {"assume_scheme": "https"} if name == "URL" else {}
    forms = value.formfield(**options), twin.formfield(**options)
    if forms[1] is not None:
        assert issubclass(type(forms[0]), type(forms[1]))
        assert type(forms[0].widget) is type(forms[1].widget)
    kinds = [type(each) for each in twin.validators]
    ours = [type(each) for each in value.validators if not isinstance(each, Validator)]
    assert ours == kinds
    assert not [each for each in value.check() if each.is_serious()]


@pytest.mark.parametrize("name", FAMILY)
@isolate_apps("tests")
def test_choices_and_validators(name):
    first, last = FAMILY[name][1][0], FAMILY[name][1][-1]

    def refuse(value):
        raise ValidationError("refused by the validator")

    class Thing(models.Model):
        value = encrypted(name, choices=[(last, "the last")], blank=True)
        other = encrypted(name, validators=[refuse])

        class Meta:
            app_label = "tests"

    assert Thing(value=last).get_value_display() == "the last"
    another = {"": "?", b"": b"?"}.get(first, first) if isinstance(first, str | bytes) else first
    with pytest.raises(ValidationError) as caught:
        Thing(value=another, other=last).clean_fields()
    assert "other" in caught.value.message_dict
    is_checked = name != "Binary" and first != last  # Django cleans no bytes, being not editable
    assert ("value" in caught.value.message_dict) == is_checked


@pytest.mark.parametrize("name", FAMILY)
def test_a_migration_writes_it_as_it_was_declared(name):
    field = encrypted(name, null=True, key="lab", on_denied="mask")
    _, path, args, kwargs = field.deconstruct()
    assert path == f"envelope_fields.fields.Encrypted{name}Field"
    assert (kwargs["key"], kwargs["on_denied"], kwargs["null"]) == ("lab", "mask", True)
    again = getattr(fields, path.rpartition(".")[2])(*args, **kwargs)
    assert again.deconstruct()[1:] == (path, args, kwargs)


def test_all_that_the_package_has():
    named = {name for name in fields.__all__ if name.endswith("Field")} - {"BlindIndexField"}
    assert named == {f"Encrypted{name}Field" for name in (*FAMILY, "Text", "JSON")}
