"""What an encrypted field says when a root key keeps it from its value."""

import pytest

from envelope_fields import keyring
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from tests.keyring.service import Service, begin, entry
from tests.models import Note

pytestmark = pytest.mark.django_db


class OfABackend(RootKeyRefused):
    """An error that is made of more than its message, as a backend may have one."""

    def __init__(self, message, *, code):
        super().__init__(message)
        self.code = code


@pytest.fixture
def note(settings, monkeypatch):
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry()}}
    begin(monkeypatch)
    found = Note.objects.create(text="a value", data=None)
    keyring.evict()
    return found


@pytest.fixture
def version(note):
    return keyring.rows.current_version("default").state.version_id.hex()


@pytest.mark.parametrize("message", ["no", "no."])
@pytest.mark.parametrize("error", [RootKeyRefused, RootKeyUnavailable])
def test_it_names_field_version_and_row(note, version, monkeypatch, error, message):
    monkeypatch.setattr(Service, "error", error(message))
    with pytest.raises(error) as caught:
        Note.objects.get(pk=note.pk).text  # noqa: B018
    assert str(caught.value) == (
        f"tests.Note.text: the value under key version {version} cannot be opened now: no. "
        f"It is in the row with the primary key {note.pk}."
    )


def test_one_that_is_made_of_more_than_a_message(note, version, monkeypatch):
    monkeypatch.setattr(Service, "error", OfABackend("no", code=7))
    with pytest.raises(OfABackend, match=version) as caught:
        Note.objects.get(pk=note.pk).text  # noqa: B018
    assert caught.value.code == 7
    keyring.evict()
    with pytest.raises(OfABackend, match=r"tests\.Note\.text: no") as caught:
        Note.objects.create(text="another", data=None)
    assert caught.value.code == 7
