"""The middleware that says who is acting, and the grants that count on it."""

import importlib
import sys

import pytest
from django.apps import apps
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import Tags, run_checks
from django.db import models
from django.test import override_settings
from django.urls import include, path

from envelope_fields.checks.principals import (
    check_channels,
    check_declared,
    check_grants,
    check_middleware,
    check_surfaces,
)
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import create_master_key
from envelope_fields.middleware import PrincipalASGIMiddleware, PrincipalMiddleware
from envelope_fields.models import KeyGrant
from envelope_fields.tenants import TenantKey

pytestmark = pytest.mark.any_database

OURS = "envelope_fields.middleware.PrincipalMiddleware"
DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"
SUBCLASS = f"{__name__}.Subclass"


class Subclass(PrincipalMiddleware):
    pass


class Authentication(AuthenticationMiddleware):
    pass


@pytest.fixture
def grant(db):
    return KeyGrant.objects.create(
        master_key=create_master_key("lab"), principal_type="auth.user", principal_id="1"
    )


def ids(messages):
    return [message.id for message in messages]


class TestGrants:
    def test_with_the_middleware(self, grant):
        assert check_grants(databases=["default"]) == []

    @pytest.mark.parametrize("middleware", [[], [DJANGOS, "no.such.middleware"]])
    def test_without_it(self, grant, settings, middleware):
        settings.MIDDLEWARE = middleware
        (error,) = check_grants(databases=["default"])
        assert error.id == "envelope_fields.E006"
        assert error.is_serious()
        assert OURS in error.hint

    def test_a_subclass_will_do(self, grant, settings):
        settings.MIDDLEWARE = [SUBCLASS]
        assert check_grants(databases=["default"]) == []

    @pytest.mark.django_db
    def test_without_grants_nobody_needs_it(self, settings):
        settings.MIDDLEWARE = []
        assert check_grants(databases=["default"]) == []

    @pytest.mark.parametrize("databases", [None, [], ["other"]])
    def test_other_databases_are_not_asked(self, grant, settings, databases):
        settings.MIDDLEWARE = []
        assert check_grants(databases=databases) == []

    @pytest.mark.django_db
    def test_before_the_tables_exist(self, settings, monkeypatch):
        settings.MIDDLEWARE = []
        monkeypatch.setattr(KeyGrant._meta, "db_table", "not_there")
        assert check_grants(databases=["default"]) == []

    def test_django_runs_it(self, grant, settings):
        settings.MIDDLEWARE = []
        found = run_checks(tags=[Tags.database], databases=["default"])
        assert "envelope_fields.E006" in ids(found)


class TestDeclared:
    """What not every user may read, by its declaration."""

    @pytest.fixture
    def found(self, registry, settings):
        settings.MIDDLEWARE = [DJANGOS]
        return lambda: ids(check_declared(app_configs=registry.get_app_configs()))

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"on_denied": "mask"}, ["envelope_fields.E009"]),
            ({"key": TenantKey("a/{id}", managed_by="customer")}, ["envelope_fields.E009"]),
            ({"key": TenantKey("a/{id}")}, []),
            ({"key": "lab"}, []),
            ({}, []),
        ],
    )
    def test_without_the_middleware(self, found, settings, options, expected):
        class Paper(models.Model):
            text = EncryptedTextField(**options)

            class Meta:
                app_label = "tests"

        assert found() == expected
        settings.MIDDLEWARE = [DJANGOS, SUBCLASS]
        assert found() == []

    @pytest.mark.django_db(databases="__all__")  # Django 6.1 looks into databases, too
    def test_a_plain_check_says_so(self, settings):
        settings.MIDDLEWARE = [DJANGOS]
        found = run_checks()
        assert "tests.MaskedNote.text shows dots" in " ".join(error.msg for error in found)
        assert "envelope_fields.W006" in ids(found)


class TestSurfaces:
    def test_with_the_middleware(self):
        assert check_surfaces() == []

    def test_both(self, settings):
        settings.MIDDLEWARE = []
        (warning,) = check_surfaces()
        assert warning.id == "envelope_fields.W006"
        assert warning.msg.startswith(
            "Rights on keys can be granted by the key admin and the HTTP API,"
        )

    def test_views_of_the_api_at_addresses_of_the_project(self, settings, monkeypatch):
        settings.MIDDLEWARE, settings.ROOT_URLCONF = [], __name__
        views = importlib.import_module("envelope_fields.api.urls").urlpatterns[:1]
        urls = [path("keys/", include(views))]
        monkeypatch.setattr(sys.modules[__name__], "urlpatterns", urls, raising=False)
        (warning,) = check_surfaces()
        assert "the HTTP API" in warning.msg

    def test_neither(self, settings, monkeypatch):
        settings.MIDDLEWARE, settings.ROOT_URLCONF = [], "tests.neighbours.urls"
        monkeypatch.setattr("django.contrib.admin.sites.all_sites", set())
        assert check_surfaces() == []

    @pytest.mark.parametrize("addresses", ["no.such.module", None])
    def test_addresses_that_are_not_to_be_had(self, settings, addresses):
        settings.MIDDLEWARE, settings.ROOT_URLCONF = [], addresses
        (warning,) = check_surfaces()
        assert "by the key admin, and" in warning.msg


class Router:
    """What Channels has: a mapping of protocols to applications."""

    def __init__(self, mapping):
        self.application_mapping = mapping


class Inner:
    """A middleware of Channels."""

    def __init__(self, inner):
        self.inner = inner


def consumer(scope, receive, send):
    """An application that leads to no other."""


def events(scope, receive, send):
    """A consumer of HTTP, as Channels makes it."""


events.consumer_class = object

bound = Router({"http": consumer, "websocket": Inner(PrincipalASGIMiddleware(consumer))})
unbound = Router({"http": consumer, "websocket": Inner(consumer)})
unbound_inside = Inner(Inner(unbound))
bound_outside = Inner(PrincipalASGIMiddleware(unbound))
nothing_else = Router({"http": consumer, "channel": consumer})
beside_django = Router({"http": Inner(events)})
bound_beside_django = Router({"http": PrincipalASGIMiddleware(events)})


class TestChannels:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch):
        monkeypatch.setattr(apps, "is_installed", lambda name: name == "channels")

    @pytest.mark.parametrize(
        ("application", "expected"),
        [
            ("bound", []),
            ("unbound", ["envelope_fields.W007"]),
            ("unbound_inside", ["envelope_fields.W007"]),
            ("bound_outside", []),
            ("nothing_else", []),
            ("beside_django", ["envelope_fields.W007"]),
            ("bound_beside_django", []),
            ("consumer", []),
            ("not_there", ["envelope_fields.W007"]),
        ],
    )
    def test_the_application_of_the_settings(self, settings, application, expected):
        settings.ASGI_APPLICATION = f"{__name__}.{application}"
        assert ids(check_channels()) == expected

    def test_one_that_no_setting_names(self, settings):
        settings.ROOT_URLCONF = "tests.neighbours.urls"
        (warning,) = check_channels()
        assert "'tests.neighbours.asgi.application'" in warning.msg

    def test_without_channels(self, settings, monkeypatch):
        monkeypatch.setattr(apps, "is_installed", lambda name: False)
        assert check_channels() == []


class TestOrder:
    @pytest.mark.parametrize(
        ("middleware", "found"),
        [
            ([DJANGOS, OURS], []),
            ([OURS, DJANGOS], ["envelope_fields.E007"]),
            ([SUBCLASS, DJANGOS], ["envelope_fields.E007"]),
            ([OURS, f"{__name__}.Authentication"], ["envelope_fields.E007"]),
            ([OURS], []),
            ([DJANGOS], []),
        ],
    )
    def test_behind_authentication(self, middleware, found):
        with override_settings(MIDDLEWARE=middleware):
            assert ids(check_middleware()) == found

    def test_django_runs_it(self, settings):
        settings.MIDDLEWARE = [OURS, DJANGOS]
        assert "envelope_fields.E007" in ids(run_checks(tags=[Tags.security]))

    def test_without_users(self, settings, monkeypatch):
        settings.MIDDLEWARE = [OURS, DJANGOS]
        monkeypatch.setattr(apps, "is_installed", lambda name: False)
        assert check_middleware() == []
