"""`encrypted()`: fields of other packages, with all that they bring."""

import copy
import pickle
from decimal import Decimal

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models
from django.db.migrations.writer import MigrationWriter
from django.db.models import Value
from django.forms import modelform_factory
from django.test.utils import isolate_apps

from envelope_fields.fields import EncryptedCharField, EncryptedFieldMixin, encrypted
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import acting_as
from tests.models.others import CoinsField, PairField, Phone, PhoneField
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def contact():
    with isolate_apps("tests"):

        class Contact(models.Model):
            phone = encrypted(PhoneField("telephone", region="DE", null=True, blank=True))
            masked = encrypted(PhoneField(null=True, blank=True), key="lab", on_denied="mask")
            pair = encrypted(PairField(null=True))
            coins = encrypted(CoinsField(max_digits=8, decimal_places=2, null=True))
            weight = encrypted(models.IntegerField(default=70))

            class Meta:
                app_label = "tests"

        return Contact


@pytest.fixture(autouse=True)
def table(contact):
    with connection.schema_editor() as editor:
        editor.create_model(contact)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(contact)


def test_values(contact, monkeypatch):
    monkeypatch.setattr("django.apps.apps.get_model", lambda *_: contact)  # as copies do
    made = contact(phone="+491", pair=(1, 2), coins="1.5 coins")
    assert made.phone == Phone("+491")
    assert made.coins == "1.5 coins"
    made.save()
    assert all(stored(made, each)[:1] == b"\x01" for each in ("phone", "pair", "coins", "weight"))
    assert stored(made, "masked") is None
    found = contact.objects.get()
    assert (found.phone, found.pair, found.weight) == (Phone("+491"), (1, 2), 70)
    assert found.coins == "1.50 coins"
    assert found.masked is None
    before = stored(found, "phone")
    contact.objects.get().save()
    assert stored(found, "phone") == before
    contact.objects.update(phone="+492", pair=(0, 0))
    assert contact.objects.values_list("phone", "pair", "coins").get() == (
        Phone("+492"), (0, 0), Decimal("1.50"),
    )  # fmt: skip
    deferred = contact.objects.defer("phone").get()
    assert deferred.phone == Phone("+492")
    deferred.phone = "+493"
    contact.objects.bulk_update([deferred], ["phone"])
    assert contact.objects.get().phone == Phone("+493")
    assert copy.deepcopy(contact.objects.get()).phone == Phone("+493")
    with pytest.raises(FieldError):
        contact.objects.filter(phone="+493").exists()


def test_what_is_no_value_is_not_shown(contact):
    made = contact.objects.create(phone="+491")
    with pytest.raises((TypeError, ValueError)) as caught:
        contact.objects.update(phone="s3cret")
    error = caught.value
    while error is not None:
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__
    assert contact.objects.get() == made


def test_masks(contact, django_user_model):
    create_master_key("lab")
    made = contact.objects.create(masked="+491")
    before = stored(made, "masked")
    with acting_as(django_user_model.objects.create_user("nora")):
        found = contact.objects.get()
        assert isinstance(found.masked, Mask)
        assert DOTS in modelform_factory(contact, fields=["masked"])(instance=found).as_p()
        found.save()
        found.masked = found.masked
        found.save()
    assert stored(made, "masked") == before


@pytest.mark.parametrize("format", ["json", "xml", "python"])
def test_fixtures(contact, format, monkeypatch):
    contact.objects.create(phone="+491", pair=(1, 2))
    monkeypatch.setattr("django.apps.apps.get_model", lambda *_: contact)
    text = serializers.serialize(format, contact.objects.all())
    assert "+491" not in str(text)
    contact.objects.all().delete()
    for loaded in serializers.deserialize(format, text):
        loaded.save()
    assert contact.objects.get().phone == Phone("+491")
    assert contact.objects.get().pair == (1, 2)


def test_forms(contact):
    kind = modelform_factory(contact, fields=["phone", "weight"])
    form = kind({"phone": "no number", "weight": "x"})
    assert set(form.errors) == {"phone", "weight"}
    assert form.fields["phone"].label == "Telephone"
    form = kind({"phone": "+491", "weight": "5"})
    assert form.is_valid(), form.errors
    form.save()
    assert 'value="+491"' in kind(instance=contact.objects.get()).as_p()


def test_a_migration_says_what_was_declared(contact):
    field = contact._meta.get_field("masked")
    name, path, args, kwargs = field.deconstruct()
    assert (name, path) == ("masked", "envelope_fields.fields.encrypted")
    assert kwargs == {"key": "lab", "on_denied": "mask"}
    assert type(args[0]) is PhoneField
    assert args[0].deconstruct()[3] == {
        "null": True, "blank": True, "region": None, "max_length": 20,
    }  # fmt: skip
    source, imports = MigrationWriter.serialize(field)
    assert source.startswith("envelope_fields.fields.encrypted(tests.models.others.PhoneField(")
    assert imports == {"import envelope_fields.fields", "import tests.models.others"}
    again = eval(
        source,
        {
            "envelope_fields": __import__("envelope_fields.fields"),
            "tests": __import__("tests.models.others"),
        },
    )
    assert MigrationWriter.serialize(again)[0] == source


def test_copies(contact):
    field = encrypted(PhoneField(region="DE", null=True), key="lab")
    for again in (field.clone(), copy.copy(field), copy.deepcopy(field), pickled(field)):
        assert type(again) is type(field)
        assert MigrationWriter.serialize(again) == MigrationWriter.serialize(field)
    changed = field.clone()
    changed.default = "+49"  # as AddField does
    assert changed.deconstruct()[2][0].default == "+49"
    assert pickled(contact._meta.get_field("phone")) is not None


def pickled(field):
    if hasattr(field, "model"):
        return field.__reduce__()
    return pickle.loads(pickle.dumps(field))


def test_it_is_what_it_extends(contact):
    field = contact._meta.get_field("phone")
    assert isinstance(field, PhoneField)
    assert isinstance(field, EncryptedCharField)
    assert field.get_internal_type() == "CharField"
    assert field.region == "DE"
    assert [each.name for each in contact._meta.fields] == [
        "id", "phone", "masked", "pair", "coins", "weight",
    ]  # fmt: skip
    assert not [each for each in contact.check() if each.is_serious()]


@pytest.mark.parametrize(
    "given",
    [None, models.CharField, EncryptedCharField(max_length=5), models.AutoField(primary_key=True),
     models.ForeignKey("self", models.CASCADE), models.ManyToManyField("self"),
     models.CompositePrimaryKey("a", "b"), models.FileField(), models.ImageField(),
     models.GeneratedField(expression=Value(1), output_field=models.TextField(), db_persist=True)],
    ids=repr,
)  # fmt: skip
def test_what_is_no_field_of_values_is_refused(given):
    with pytest.raises(TypeError, match=r"^encrypted\(\) takes|^Encrypted\w+ is refused: the "):
        encrypted(given)


@pytest.mark.parametrize(
    "plain_class",
    [models.FileField, models.ImageField, models.ForeignKey, models.ManyToManyField,
     models.BigAutoField, models.GeneratedField],
)  # fmt: skip
@pytest.mark.parametrize("ours", [EncryptedCharField, EncryptedFieldMixin])
def test_nor_is_a_class_made_of_one(plain_class, ours):
    with pytest.raises(TypeError, match=r"^Own is refused: the "):
        type("Own", (ours, plain_class), {})


@isolate_apps("tests")
def test_what_a_column_of_envelopes_cannot_have_is_found_by_the_checks():
    class Wrong(models.Model):
        phone = encrypted(PhoneField(unique=True))

        class Meta:
            app_label = "tests"

    assert "envelope_fields.E010" in [each.id for each in Wrong.check()]


@isolate_apps("tests")
def test_one_class_statement_with_the_mixin():
    class EncryptedPhoneField(EncryptedCharField, PhoneField):
        pass

    class Contact(models.Model):
        phone = EncryptedPhoneField(region="DE")

        class Meta:
            app_label = "tests"

    field = Contact._meta.get_field("phone")
    assert field.region == "DE"
    with pytest.raises(ValidationError):
        field.clean("no number", None)
    assert field.to_plaintext("+491") == b"+491"


@isolate_apps("tests")
def test_options_that_a_field_does_not_deconstruct():
    """As those of some editors; its migrations do without them, with us or not."""

    class LetterField(models.TextField):
        def __init__(self, *args, editor="plain", **kwargs):
            super().__init__(*args, **kwargs)
            self.editor = editor

        def formfield(self, **kwargs):
            return super().formfield(help_text=self.editor, **kwargs)

    class Letter(models.Model):
        text = encrypted(LetterField(editor="rich", blank=True), key="lab")

        class Meta:
            app_label = "tests"

    field = Letter._meta.get_field("text")
    assert (field.editor, field.key, field.blank) == ("rich", "lab", True)
    assert modelform_factory(Letter, fields=["text"])().fields["text"].help_text == "rich"
    assert field.deconstruct()[2][0].deconstruct()[3] == {"blank": True}
    assert encrypted(models.SlugField()).db_index is False
    used = models.DecimalField(max_digits=5, decimal_places=2)
    assert used.context.prec == 5
    assert encrypted(used).context is None


class LineField(models.JSONField):
    """Its values are of a class that JSON does not know, as those of django-pydantic-field."""

    def to_python(self, value):
        return value if isinstance(value, range) else range(*value)

    def get_prep_value(self, value):
        return super().get_prep_value([value.start, value.stop])

    def validate(self, value, model_instance):
        models.Field.validate(self, value, model_instance)


def test_validating_values_of_a_class_that_the_field_prepares_for_json():
    field = encrypted(LineField())
    assert field.clean([1, 5], None) == range(1, 5)
    assert field.to_plaintext(range(1, 5)) == b"[1, 5]"
