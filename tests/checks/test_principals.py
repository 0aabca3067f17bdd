"""The middleware that says who is acting, and the grants that count on it."""

import pytest
from django.apps import apps
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.core.checks import Tags, run_checks
from django.test import override_settings

from envelope_fields.checks.principals import check_grants, check_middleware
from envelope_fields.lifecycle import create_master_key
from envelope_fields.middleware import PrincipalMiddleware
from envelope_fields.models import KeyGrant

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
