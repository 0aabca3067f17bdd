"""Login, passwords and the admin with an encrypted address; run by `test_accounts`."""

import re
from io import StringIO

from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, get_user_model
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm, UserCreationForm
from django.core import checks, mail, serializers
from django.core.exceptions import FieldError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from tests.accounts.models import Letter, User

ADA, OTHER_ADA = "Ada@example.org", " ADA@Example.ORG"
PASSWORD = "a long passphrase"


class CreationForm(UserCreationForm):
    class Meta:
        model = User
        fields = ["email"]


class BaseCreationForm(BaseUserCreationForm):
    class Meta:
        model = User
        fields = ["email"]


class Accounts(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ada = User.objects.create_superuser(ADA, PASSWORD)

    def test_the_checks_find_nothing(self):
        messages = checks.run_checks(databases=["default"])
        assert [each for each in messages if each.is_serious() or "auth" in each.id] == []

    def test_login(self):
        for email in (ADA, OTHER_ADA):
            assert authenticate(username=email, password=PASSWORD) == self.ada
        assert authenticate(username=ADA, password="wrong") is None
        assert authenticate(username="x@example.org", password=PASSWORD) is None
        form = AuthenticationForm(None, {"username": OTHER_ADA.strip(), "password": PASSWORD})
        assert form.is_valid(), form.errors
        response = self.client.post("/accounts/login/", {"username": ADA, "password": PASSWORD})
        assert response.status_code == 302

    def test_what_no_account_can_have(self):
        """Not an error of the project: a client may send it in a header, without a form."""
        for email in ("", " ", "\u3000", "\x00"):
            assert authenticate(username=email, password=PASSWORD) is None
            assert async_to_sync(aauthenticate)(username=email, password=PASSWORD) is None
            with self.assertRaisesMessage(User.DoesNotExist, "does not exist"):
                User.objects.get_by_natural_key(email)
        with self.assertRaisesMessage(CommandError, "cannot be blank"):
            call_command("createsuperuser", email="", interactive=False)
        with self.assertRaisesMessage(FieldError, "leaves nothing"):
            User.objects.filter(email="")

    def test_the_address_is_in_no_statement(self):
        with CaptureQueriesContext(
            connection,
        ) as asked:
            authenticate(username=ADA, password=PASSWORD)
        assert "xample" not in str(asked.captured_queries)

    def test_natural_keys(self):
        assert User.objects.get_by_natural_key(OTHER_ADA) == self.ada

    def test_createsuperuser(self):
        call_command(
            "createsuperuser", email="root@example.org", interactive=False, stdout=StringIO()
        )
        assert User.objects.get(email="root@example.org").is_superuser
        with self.assertRaisesMessage(CommandError, "already taken"):
            call_command("createsuperuser", email=OTHER_ADA.strip(), interactive=False)

    def test_creation_forms(self):
        for form_class in (CreationForm, BaseCreationForm):
            data = {"password1": PASSWORD, "password2": PASSWORD}
            form = form_class({"email": "ADA@example.org", **data})
            assert list(form.errors) == ["email"]
            form = form_class({"email": f"{form_class.__name__}@example.org", **data})
            assert form.is_valid(), form.errors
            assert form.save() == User.objects.get(email=form.cleaned_data["email"])

    def test_password_reset(self):
        self.client.post("/accounts/password_reset/", {"email": "ADA@EXAMPLE.org"})
        (letter,) = mail.outbox
        assert letter.to == [ADA]
        path = re.search(r"/accounts/reset/\S+", letter.body)[0]
        response = self.client.get(path, follow=True)
        new = "another passphrase"
        self.client.post(
            response.redirect_chain[-1][0], {"new_password1": new, "new_password2": new}
        )
        assert authenticate(username=ADA, password=new) == self.ada

    def test_no_letter_goes_to_an_unknown_address(self):
        self.client.post("/accounts/password_reset/", {"email": "x@example.org"})
        assert mail.outbox == []

    def test_fixtures(self):
        text = serializers.serialize("json", User.objects.all())
        assert "xample" not in text
        User.objects.all().delete()
        for each in serializers.deserialize("json", text):
            each.save()
        assert authenticate(username=ADA, password=PASSWORD).pk == self.ada.pk

    def test_the_default_user_model_is_ours(self):
        assert get_user_model() is User


class Admin(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ada = User.objects.create_superuser(ADA, PASSWORD, nickname="a")
        cls.ben = User.objects.create_user("ben@example.org", PASSWORD)
        Letter.objects.create(to=cls.ben, text="Hello")

    def setUp(self):
        self.client.force_login(self.ada)

    def found(self, path, term):
        response = self.client.get(f"/admin/accounts/{path}/", {"q": term})
        assert response.status_code == 200
        return list(response.context["cl"].result_list)

    def test_search(self):
        assert self.found("user", "BEN@example.org") == [self.ben]
        assert self.found("user", "ben") == []
        assert self.found("user", "") == [self.ben, self.ada]
        assert len(self.found("letter", "ben@example.org")) == 1
        assert len(self.found("letter", "hello")) == 1
        assert len(self.found("letter", "hello ben@example.org")) == 1

    def test_search_for_nothing_that_could_be_found(self):
        assert self.found("user", '" "') == []

    def test_autocompletion(self):
        response = self.client.get(
            "/admin/autocomplete/",
            {"term": "ben@example.org", "app_label": "accounts", "model_name": "letter",
             "field_name": "to"},
        )  # fmt: skip
        assert [each["id"] for each in response.json()["results"]] == [str(self.ben.pk)]

    def test_the_error_is_at_the_field(self):
        path = f"/admin/accounts/user/{self.ben.pk}/change/"
        response = self.client.post(path, {"email": "ADA@example.org", "nickname": ""})
        self.assertContains(response, "User with this Email already exists.")
        response = self.client.post(path, {"email": "new@example.org", "is_active": "on"})
        assert response.status_code == 302
        assert User.objects.get(email="new@example.org") == self.ben
