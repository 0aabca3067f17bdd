from django.http import HttpResponse
from django.urls import include, path

from tests.neighbours.impersonation.models import Note


def text(request):
    return HttpResponse(str(Note.objects.get().text))


urlpatterns = [
    path("text/", text),
    path("hijack/", include("hijack.urls")),
    path("impersonate/", include("impersonate.urls")),
]
