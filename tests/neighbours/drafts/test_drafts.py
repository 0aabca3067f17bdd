"""A value goes through drafts, publishing and reverting, and is never opened on another way."""

import json

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import transaction
from wagtail.models import Locale, Revision
from wagtail_localize.models import OverridableSegment, String, Translation, TranslationSource

from envelope_fields.checks.copies import check_copies_of_values, check_texts
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.neighbours.drafts.models import Booklet, Folder, Leaflet, Letter, Sheet

pytestmark = pytest.mark.django_db

LOCALES = ["en", "fr"]
VALUES = {"subject": "s", "text": "the text", "data": {"a": [1]}, "secret": "hidden"}


@pytest.fixture(autouse=True)
def key():
    return create_master_key("lab")


@pytest.fixture
def letter():
    return Letter.objects.create(**VALUES)


def values(letter):
    return {name: getattr(letter, name) for name in VALUES}


def published(letter):
    with acting_as(APPLICATION):
        return values(Letter.objects.get(pk=letter.pk))


def test_a_draft_holds_no_plaintext(letter):
    letter.save_revision()
    content = json.dumps(Revision.objects.get().content)
    assert content.count("envelope:") == 3
    for value in ("the text", "hidden"):
        assert value not in content


def test_publishing_keeps_the_value_each_time(letter):
    for number in range(3):
        letter = Letter.objects.get()
        letter.subject = f"s{number}"
        letter.save_revision().publish()
        assert published(letter) == {**VALUES, "subject": f"s{number}"}


def test_a_draft_that_is_not_published_yet(letter):
    draft = Letter.objects.get()
    draft.text, draft.data = "new", [0]
    draft.save_revision()
    assert published(letter) == VALUES
    latest = Letter.objects.get().get_latest_revision_as_object()
    assert values(latest) == {**VALUES, "text": "new", "data": [0]}
    latest.subject = "newer"
    latest.save_revision().publish()
    assert published(letter) == {**VALUES, "subject": "newer", "text": "new", "data": [0]}


def test_reverting(letter):
    first = letter.save_revision()
    letter.text = "changed"
    letter.save_revision().publish()
    assert published(letter)["text"] == "changed"
    first.publish()
    assert published(letter) == VALUES


def test_null_and_empty():
    letter = Letter.objects.create(subject="s", text="", data=None, secret="x")
    letter.save_revision().publish()
    assert published(letter) == {"subject": "s", "text": "", "data": None, "secret": "x"}


def test_the_parts_of_a_draft():
    folder = Folder(name="f")
    folder.sheets = [Sheet(text="one"), Sheet(text="two")]
    folder.save()
    folder.save_revision().publish()
    assert Folder.objects.get().name == "f"
    assert sorted(sheet.text for sheet in Sheet.objects.all()) == ["one", "two"]


class TestTranslations:
    """wagtail-localize copies what it does not translate, by way of a draft of its own."""

    @pytest.fixture
    def translation(self):
        english, french = (Locale.objects.get_or_create(language_code=each)[0] for each in LOCALES)
        leaflet = Leaflet.objects.create(
            locale=english, subject="s", text="the text", secret="hidden"
        )
        source, _ = TranslationSource.update_or_create_from_instance(leaflet)
        return Translation.objects.create(source=source, target_locale=french)

    def test_the_value_is_copied_and_is_no_string(self, translation):
        translation.save_target(publish=True)
        french = Leaflet.objects.get(locale__language_code="fr")
        assert (french.text, french.secret) == ("the text", "hidden")
        assert list(String.objects.values_list("data", flat=True)) == ["s"]
        assert not OverridableSegment.objects.exists()
        assert "the text" not in translation.source.content_json

    def test_a_user_who_may_not_read_leaves_it_alone(self, translation, django_user_model):
        with acting_as(django_user_model.objects.create_user("nora")):
            leaflet = Leaflet.objects.get()
            source, _ = TranslationSource.update_or_create_from_instance(leaflet)
        assert "hidden" not in source.content_json
        assert source.as_instance().secret == "hidden"

    def test_the_check(self):
        found = [each for each in check_copies_of_values() if each.obj in (Leaflet, Booklet)]
        assert [(each.id, each.obj) for each in found] == [("envelope_fields.W072", Booklet)]
        assert found[0].msg.startswith("wagtail-localize keeps values of text, email in clear")


class TestWhoMayNotRead:
    @pytest.fixture
    def user(self, django_user_model):
        return django_user_model.objects.create_user("nora")

    def test_a_draft_shows_dots(self, letter, user):
        letter.save_revision()
        with acting_as(user):
            draft = Letter.objects.get().get_latest_revision_as_object()
            assert isinstance(draft.secret, Mask)
            assert draft.text == "the text"

    def test_publishing_publishes_the_draft(self, letter, user):
        letter.secret = "newly hidden"
        letter.save_revision()
        with acting_as(user):
            Letter.objects.get().get_latest_revision().publish()
        assert published(letter)["secret"] == "newly hidden"

    def test_a_draft_keeps_what_is_masked(self, letter, user):
        with acting_as(user):
            draft = Letter.objects.get()
            draft.subject = "by nora"
            draft.save_revision()
            draft = Letter.objects.get().get_latest_revision_as_object()
            draft.text = "also by nora"
            draft.save_revision().publish()
        assert published(letter) == {**VALUES, "subject": "by nora", "text": "also by nora"}

    def test_the_mask_of_another_row_is_refused(self, letter, user):
        other = Letter.objects.create(subject="o", secret="other")
        with acting_as(user):
            draft, other = Letter.objects.get(pk=letter.pk), Letter.objects.get(pk=other.pk)
            draft.secret = other.secret
            with pytest.raises(ValidationError, match="cannot be opened for you"):
                draft.save_revision()
            with pytest.raises(FieldError, match="another object"):
                Letter._meta.get_field("secret").value_to_string(draft)


class TestNothingElseOpens:
    """The text of an envelope, from a dump or a log, is refused wherever a value is given."""

    @pytest.fixture
    def envelope(self, letter):
        return Letter._meta.get_field("text").value_to_string(letter)

    def test_values(self, letter, envelope):
        for write in (
            lambda: Letter.objects.create(text=envelope),
            lambda: Letter.objects.update(text=envelope),
            lambda: Letter(pk=letter.pk, text=envelope).save(),
        ):
            with pytest.raises(FieldError, match="text of an envelope"), transaction.atomic():
                write()
        with pytest.raises(ValidationError):
            Letter(subject="s", secret="x", text=envelope).full_clean()
        with pytest.raises(FieldError, match="text of an envelope"):
            Letter(text=envelope).save_revision(clean=False)
        assert published(letter) == VALUES

    def test_validators_refuse_what_to_python_makes_of_it(self, envelope):
        """As a serializer field calls both that is made of the model's own."""
        field = Letter._meta.get_field("text")
        with pytest.raises(ValidationError):
            field.run_validators(field.to_python(envelope))

    def test_an_envelope_of_another_field(self, envelope):
        letter = Letter(text="x")
        data = {**letter.serializable_data(), "pk": None, "secret": envelope}
        with pytest.raises(Exception, match=r"Letter\.secret"):
            _ = Letter.from_serializable_data(data).secret


class TestPages:
    """What an editor, who may not read the secret, does in Wagtail's own pages."""

    @pytest.fixture
    def address(self, letter, admin_client):
        return f"/cms/snippets/drafts/letter/edit/{letter.pk}/"

    @staticmethod
    def posted(**changed):
        return {**VALUES, "data": '{"a": [1]}', **changed}

    def test_saving_and_publishing(self, letter, address, admin_client):
        page = admin_client.get(address)
        assert page.status_code == 200
        assert "the text" in page.text
        assert DOTS in page.text
        for number in range(2):
            posted = self.posted(text=f"text {number}")
            assert admin_client.post(address, posted).status_code == 302
            assert published(letter)["text"] == (f"text {number - 1}" if number else "the text")
            assert f"text {number}" in admin_client.get(address).text
            assert (
                admin_client.post(
                    address, posted | {"action-publish": "action-publish"}
                ).status_code
                == 302
            )
            assert published(letter) == {**VALUES, "text": f"text {number}"}

    def test_an_envelope_is_an_error_of_its_field(self, letter, address, admin_client):
        envelope = Letter._meta.get_field("text").value_to_string(letter)
        page = admin_client.post(address, self.posted(text=envelope))
        assert page.status_code == 200
        assert "text of an encrypted value" in page.text
        assert not Revision.objects.exists()

    def test_lists(self, letter, admin_client):
        for order in ("subject", "text", "-text"):
            page = admin_client.get("/cms/snippets/drafts/letter/", {"ordering": order})
            assert page.status_code == 200
            assert "the text" in page.text


class TestIndexes:
    def found(self, **lookups):
        return list(Letter.objects.filter(**lookups).values_list("subject", flat=True))

    def test_a_draft_of_a_new_one(self):
        letter = Letter(**VALUES, live=False)
        letter.save()
        letter.text = "NEW"
        letter.save_revision()
        assert self.found(text="new") == []
        Letter.objects.get().get_latest_revision().publish()
        assert self.found(text="new") == self.found(secret="HIDDEN") == ["s"]
        assert self.found(text="the text") == []

    def test_drafts_and_reverting(self, letter):
        first = letter.save_revision()
        draft = Letter.objects.get()
        draft.text = "changed"
        draft.save_revision().publish()
        assert (self.found(text="CHANGED"), self.found(text="the text")) == (["s"], [])
        first.publish()
        assert (self.found(text="CHANGED"), self.found(text="The text")) == ([], ["s"])

    def test_a_value_that_the_editor_may_not_read(self, letter, django_user_model):
        with acting_as(django_user_model.objects.create(username="editor")):
            draft = Letter.objects.get()
            assert isinstance(draft.secret, Mask)
            draft.subject = "new"
            draft.save_revision().publish()
        assert self.found(secret="hidden") == ["new"]

    def test_one_without_a_value(self):
        letter = Letter.objects.create(subject="s", text="", secret="x")
        letter.save_revision().publish()
        assert Letter.objects.filter(text_index__isnull=True).count() == 1


def test_a_check_of_the_texts_that_it_keeps(monkeypatch):
    assert check_texts() == []
    monkeypatch.setattr(Folder, "__str__", lambda self: self.name)
    monkeypatch.setattr(Sheet, "__str__", lambda self: self.text)  # which it keeps of no part
    (message,) = check_texts()
    assert (message.id, message.obj) == ("envelope_fields.W047", Folder)
    assert "Wagtail keeps that text in clear, in Revision.object_str" in message.msg
