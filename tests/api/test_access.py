"""Who comes in, and what they see: unknown keys look like keys that one may not see."""

import base64
import uuid
from types import ModuleType

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.urls import include, path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient

from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent
from envelope_fields.policy import APPLICATION, Action, acting_as, current_principal
from envelope_fields.policy.requests import in_flight
from tests.admin import officer
from tests.api import ROOT, key_url, last_event, problem, reader, url

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

MIDDLEWARE = "envelope_fields.middleware.PrincipalMiddleware"


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert current_principal() is APPLICATION
    assert not in_flight


def basic(name, password="secret"):
    client = APIClient()
    client.default_format = "json"
    token = base64.b64encode(f"{name}:{password}".encode()).decode()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {token}")
    return client


ADDRESSES = [
    "",
    "schema/",
    "keys/",
    "events/",
    "keys/alias:tenant/",
    "keys/alias:none/",
    "keys/alias:tenant/versions/",
    "keys/alias:tenant/grants/",
    "keys/x/census/",
]


class TestNobody:
    @pytest.mark.parametrize("address", ADDRESSES)
    def test_sees_nothing(self, key, address):
        response = APIClient().get(ROOT + address)
        said = problem(response, 403, "not_authenticated")
        assert "tenant" not in str(said)

    def test_is_asked_for_a_name_where_there_are_tokens(self, key, settings):
        settings.REST_FRAMEWORK = {
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.BasicAuthentication"]
        }
        # The classes are taken when a view is made.
        from envelope_fields.api.keys import Keys

        with pytest.MonkeyPatch.context() as patch:
            from rest_framework.authentication import BasicAuthentication

            patch.setattr(Keys, "authentication_classes", [BasicAuthentication])
            response = APIClient().get(url("keys"))
        problem(response, 401, "not_authenticated")
        assert response["WWW-Authenticate"] == 'Basic realm="api"'

    def test_with_a_token_that_is_refused_in_many_words(self, key, monkeypatch):
        """As Simple JWT does it, whose errors have a shape of their own."""
        from envelope_fields.api.keys import Keys

        class Tokens(BaseAuthentication):
            def authenticate(self, request):
                messages = [{"message": "Token is invalid"}]
                raise AuthenticationFailed({"detail": "Not valid", "messages": messages})

        monkeypatch.setattr(Keys, "authentication_classes", [Tokens])
        said = problem(APIClient().get(url("keys")), 403, "authentication_failed")
        assert said["detail"] == "Not valid"

    def test_with_a_wrong_password(self, olga):
        problem(basic("olga", "wrong").get(url("keys")), 403, "authentication_failed")

    @pytest.mark.parametrize("name", ["\0", "olga\0", "\ud7ff", "x" * 100_000, ""])
    def test_with_a_name_that_is_none(self, key, name):
        problem(basic(name).get(url("keys")), 403)

    @pytest.mark.parametrize("given", ["Basic", "Basic x", "Basic =", "Basic /w==", "Bearer x", ""])
    def test_with_a_header_that_is_none(self, key, given):
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=given)
        problem(client.get(url("keys")), 403)

    def test_inactive(self, olga):
        olga.is_active = False
        olga.save()
        problem(basic("olga").get(url("keys")), 403)


class TestSomebodyWithoutPermissions:
    """Such as a customer of a project whose default key everybody may use."""

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_sees_nothing(self, client_of, key, address):
        client = client_of(User.objects.create_user("carl"))
        problem(client.get(ROOT + address), 403, "permission_denied")

    @pytest.mark.parametrize(
        ("address", "tried"),
        [("keys/{}/rotate/", "rotate"), ("keys/{}/shred/", "schedule_deletion"),
         ("keys/{}/grants/", "describe"), ("data/decrypt/", "decrypt"),
         ("rotations/{}/cancel/", "re_encrypt")],
    )  # fmt: skip
    def test_what_they_try_is_in_the_trail(self, client_of, key, address, tried):
        carl = User.objects.create_user("carl")
        grant(key, carl, list(Action), actor=APPLICATION)
        problem(client_of(carl).post(ROOT + address.format(key.pk)), 403, "permission_denied")
        event = AuditEvent.objects.latest("number")
        assert (event.action, event.outcome, event.actor_name) == (tried, "denied", "carl")
        assert event.key_id == (key.pk if address.startswith("keys") else None)

    def test_who_may_change_sees(self, client_of, key):
        """As in the admin."""
        client = client_of(officer("carl", permissions=["change_masterkey"], key=key))
        assert client.get(key_url(key)).status_code == 200
        problem(client.get(url("rotations")), 403)

    def test_superusers_need_grants(self, client_of, key):
        client = client_of(User.objects.create_superuser("sue"))
        problem(client.get(key_url(key)), 404)


class TestTheReader:
    def test_reads(self, client_of, rita, key):
        client = client_of(rita)
        for parts in [(), ("versions",), ("versions", 1), ("grants",), ("census",)]:
            assert client.get(key_url(key, *parts)).status_code == 200, parts
        assert client.get(url("events")).status_code == 200

    def test_changes_nothing(self, client_of, rita, key):
        client = client_of(rita)
        grant_url = key_url(key, "grants", key.grants.get().pk)
        before = AuditEvent.objects.filter(outcome="done").count()
        problem(client.post(url("keys"), {"alias": "new"}), 403)
        problem(client.patch(key_url(key), {"description": "x"}), 403)
        problem(client.patch(key_url(key), {"alias": "x"}), 403)
        problem(client.patch(key_url(key), {}), 403)
        problem(client.post(key_url(key, "grants"), {}), 403)
        problem(client.delete(grant_url), 403)
        problem(client.post(url("data", "encrypt"), {}), 403)
        assert AuditEvent.objects.filter(outcome="done").count() == before


UNSEEN = [
    ("get", ()), ("patch", ()), ("post", ("rotate",)), ("post", ("enable",)),
    ("post", ("disable",)), ("post", ("schedule-deletion",)), ("post", ("cancel-deletion",)),
    ("post", ("shred",)), ("get", ("shred",)), ("get", ("versions",)), ("get", ("versions", 1)),
    ("post", ("versions", 1, "disable")), ("get", ("grants",)), ("post", ("grants",)),
    ("get", ("grants", 1)), ("delete", ("grants", 1)), ("get", ("census",)),
]  # fmt: skip


class TestUnseenKeys:
    @pytest.mark.parametrize(("method", "parts"), UNSEEN)
    def test_look_like_unknown_ones(self, client_of, key, method, parts):
        create_master_key("secret")
        client = client_of(officer("oscar"))
        answers = [
            getattr(client, method)(url("keys", named, *parts))
            for named in (key.pk, uuid.uuid4(), "alias:secret", "alias:unknown", "x", "alias:é")
        ]
        bodies = {answer.content for answer in answers}
        assert len(bodies) == 1
        problem(answers[0], 404, "not_found")
        headers = [
            {name: value for name, value in answer.items() if name != "X-Request-ID"}
            for answer in answers
        ]
        assert all(each == headers[0] for each in headers)

    def test_who_tries_to_make_one_is_in_the_trail(self, client_of, rita):
        problem(client_of(rita).post(url("keys"), {"alias": "new"}), 403)
        event = last_event()
        assert (event.action, event.outcome, event.actor_name) == ("create_key", "denied", "rita")

    def test_who_tries_is_in_the_trail(self, client_of, key):
        client_of(officer("oscar")).post(key_url(key, "rotate"))
        event = AuditEvent.objects.latest("number")
        assert (event.outcome, event.action, event.actor_name) == ("denied", "rotate", "oscar")
        assert event.key_id == key.pk

    def test_are_in_no_list(self, client_of, key):
        client = client_of(officer("oscar"))
        found = client.get(url("keys")).json()
        assert [each["alias"] for each in found["results"]] == ["default"]
        assert found["count"] == 1
        assert client.get(url("keys"), {"alias": "tenant"}).json()["count"] == 0
        assert client.get(url("events"), {"key": "alias:tenant"}).json()["results"] == []
        assert client.get(url("events"), {"key": str(key.pk)}).json()["results"] == []


class TestWhoIsActing:
    def test_whom_the_framework_authenticated(self, olga, rita, key):
        client = basic("olga")
        client.login(username="rita", password="secret")
        # The session is asked first, and says rita; with the header alone it is olga.
        problem(client.post(key_url(key, "rotate")), 403)
        assert basic("olga").post(key_url(key, "rotate")).status_code == 200
        assert AuditEvent.objects.latest("number").actor_name == "olga"

    def test_without_the_middleware(self, olga, key, settings):
        settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if path != MIDDLEWARE]
        client = basic("olga")
        headers = {"X-Request-ID": "deploy-7"}
        assert client.post(key_url(key, "rotate"), headers=headers).status_code == 200
        event = AuditEvent.objects.latest("number")
        assert (event.actor_name, event.request_id, event.address) == (
            "olga", "deploy-7", "127.0.0.1",
        )  # fmt: skip
        officer("oscar")
        problem(basic("oscar").post(key_url(key, "rotate")), 404)
        assert AuditEvent.objects.latest("number").actor_name == "oscar"

    def test_whoever_was_bound_around_it(self, key):
        officer("oscar")
        with acting_as(APPLICATION):
            problem(basic("oscar").post(key_url(key, "rotate")), 404)

    def test_a_user_of_another_kind(self, key, monkeypatch):
        from rest_framework.authentication import BaseAuthentication

        from envelope_fields.api.keys import Keys

        class Robot:
            is_authenticated = is_active = True
            pk = 1

            def has_perm(self, name):
                return True

        class Robots(BaseAuthentication):
            def authenticate(self, request):
                return Robot(), None

        monkeypatch.setattr(Keys, "authentication_classes", [Robots])
        said = problem(APIClient().get(url("keys")), 403)
        assert "no grants" in said["detail"]

    def test_a_fault_leaves_nobody_behind(self, api, key, monkeypatch):
        from envelope_fields.lifecycle import Operation

        def fail(**given):
            raise ZeroDivisionError

        monkeypatch.setattr(Operation.ROTATE, "perform", fail)
        with pytest.raises(ZeroDivisionError):
            api.post(key_url(key, "rotate"))

    def test_a_missing_root_key_is_a_fault(self, api, settings):
        settings.ENVELOPE_FIELDS = {}
        with pytest.raises(ImproperlyConfigured):
            api.post(url("keys"), {"alias": "new"})

    def test_forged_in_a_browser(self, olga, key):
        client = APIClient(enforce_csrf_checks=True)
        client.login(username="olga", password="secret")
        said = problem(client.post(key_url(key, "rotate")), 403)
        assert "CSRF" in said["detail"]
        assert key.versions.count() == 1


def test_groups_count(client_of, key):
    from django.contrib.auth.models import Group

    nurses = Group.objects.create(name="nurses")
    user = reader("nina")
    user.groups.add(nurses)
    problem(client_of(user).get(key_url(key)), 404)
    grant(key, nurses, [Action.DESCRIBE], actor=APPLICATION)
    assert client_of(user).get(key_url(key)).status_code == 200


@pytest.fixture
def served_at(settings):
    """Have the project include the API below an address."""

    def served_at(address, namespace=None):
        module = ModuleType("urls")
        module.urlpatterns = [
            path(address, include("envelope_fields.api.urls", namespace=namespace))
        ]
        settings.ROOT_URLCONF = module

    return served_at


class TestNamespaces:
    @pytest.mark.parametrize(
        ("namespace", "status"), [(None, 200), ("keys", 200), ("v1", 200), ("v2", 404)]
    )
    def test_name_the_version(self, api, served_at, namespace, status):
        served_at("somewhere/", namespace)
        response = api.get("/somewhere/")
        assert response.status_code == status, response.content
        if status == 200:
            assert response.json()["keys"] == "http://testserver/somewhere/keys/"
            made = api.post("/somewhere/keys/", {"alias": "new"})
            assert made["Location"].startswith("http://testserver/somewhere/keys/")


class TestParametersAround:
    """Such as those of the framework's URLPathVersioning, and of a tenant."""

    def test_stay_in_addresses(self, api, served_at):
        served_at("of/<slug:tenant>/<int:year>/<str:version>/")
        root = "/of/acme/2030/v1/"
        assert api.get(root).json()["keys"] == f"http://testserver{root}keys/"
        assert api.get(f"{root}schema/").json()["servers"] == [
            {"url": f"http://testserver{root[:-1]}"}
        ]
        assert api.get(f"{root}keys/alias:tenant/versions/1/").json()["number"] == 1
        assert api.post(f"{root}keys/alias:tenant/rotate/").json()["current_version"] == 2
        made = api.post(f"{root}keys/", {"alias": "new"})
        assert made["Location"] == f"http://testserver{root}keys/{made.json()['id']}/"
        assert api.get(f"{root}keys")["Location"] == f"{root}keys/"
        problem(api.get(f"{root}none/"), 404)

    @pytest.mark.parametrize(("version", "status"), [("v1", 200), ("1.0", 200), ("v2", 404)])
    def test_name_the_version(self, api, served_at, version, status):
        served_at("<str:version>/")
        assert api.get(f"/{version}/keys/").status_code == status
