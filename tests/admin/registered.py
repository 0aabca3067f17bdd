"""The admin of the test project, as plain as can be."""

from django.contrib import admin

from tests.models import Note

admin.site.register(Note)
