"""The admin of users who are known by an encrypted address."""

from django.contrib import admin

from envelope_fields.fields.admin import EncryptedAdminMixin
from tests.accounts.models import Letter, User


@admin.register(User)
class UserAdmin(EncryptedAdminMixin, admin.ModelAdmin):
    fields = ["email", "nickname", "is_active"]
    list_display = ["email"]
    ordering = ["-pk"]
    sortable_by = []
    search_fields = ["=email"]


@admin.register(Letter)
class LetterAdmin(admin.ModelAdmin):
    autocomplete_fields = ["to"]
    search_fields = ["text", "=to__email"]
