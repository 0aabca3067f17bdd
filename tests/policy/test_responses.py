"""What a 403 of the project's own views tells of a refusal."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.exception import response_for_exception
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy import acting_as
from tests.models import LabNote

TEMPLATE = [("django.template.loaders.locmem.Loader", {"403.html": "{{ exception }}"})]


@pytest.fixture
def note(lab):
    return LabNote.objects.create(text="blood group A")


class Read(APIView):
    authentication_classes = ()

    def get(self, request):
        with acting_as(request.user):
            return Response(LabNote.objects.get().text)


@pytest.mark.parametrize("is_user", [True, False])
def test_a_view_of_django_rest_framework(note, ann, is_user):
    request = APIRequestFactory().get("/")
    force_authenticate(request, ann if is_user else AnonymousUser())
    response = Read.as_view()(request)
    assert response.status_code == 403
    assert response.data == {"detail": "You do not have permission to perform this action."}


def test_a_page_that_shows_the_error_to_anonymous(note, rf, settings):
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": TEMPLATE},
        }
    ]
    with acting_as(AnonymousUser()), pytest.raises(KeyAccessDenied) as caught:
        _ = LabNote.objects.get().text
    page = response_for_exception(rf.get("/"), caught.value)
    assert page.status_code == 403
    assert "anonymous may not decrypt values of tests.labnote.text" in page.text
    assert "lab&#x27;" not in page.text


def test_a_message_that_an_error_does_not_have():
    assert str(KeyAccessDenied()) == ""
