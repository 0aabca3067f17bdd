"""Data operations over HTTP."""

import base64
import os
import sys
import uuid
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings as project
from django.core.signals import got_request_exception
from django.views.debug import ExceptionReporter
from rest_framework.renderers import JSONRenderer

from envelope_fields import kms
from envelope_fields.api.data import DataOperationFailed
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import AuditEvent
from envelope_fields.policy import APPLICATION, Action
from tests.admin import officer
from tests.api import problem, url, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

NAMES = [
    "generate-data-key",
    "generate-data-key-without-plaintext",
    "encrypt",
    "decrypt",
    "re-encrypt",
]
SECRET = "c3RyaWN0bHktc2VjcmV0"  # strictly-secret


def call(client, name, **content):
    response = client.post(url("data", name), content)
    assert response["Cache-Control"] == "no-store"
    return response


def said(response):
    assert response.status_code == 200, response.content
    return response.json()


def b64(content):
    return base64.b64encode(content).decode()


class TestOperations:
    def test_a_data_key(self, api, key):
        made = said(call(api, "generate-data-key", key="alias:tenant", context={"file": "1"}))
        assert set(made) == {"key_id", "plaintext", "ciphertext"}
        assert made["key_id"] == str(key.pk)
        plaintext = base64.b64decode(made["plaintext"])
        assert len(plaintext) == 32
        opened = call(api, "decrypt", ciphertext=made["ciphertext"], context={"file": "1"})
        assert said(opened) == {"key_id": str(key.pk), "plaintext": made["plaintext"]}
        assert kms.decrypt(base64.b64decode(made["ciphertext"]), {"file": "1"}) == plaintext

    def test_one_without_plaintext(self, api, key):
        made = said(call(api, "generate-data-key-without-plaintext", key=str(key.pk)))
        assert set(made) == {"key_id", "ciphertext"}
        assert len(base64.b64decode(made["ciphertext"])) == 129
        opened = said(call(api, "decrypt", ciphertext=made["ciphertext"], key="alias:tenant"))
        assert len(base64.b64decode(opened["plaintext"])) == 32

    @pytest.mark.parametrize("size", [0, 1, 2, 3, 4096])
    def test_encrypt_and_decrypt(self, api, size):
        text = b64(os.urandom(size))
        made = said(call(api, "encrypt", key="alias:tenant", plaintext=text))
        assert said(call(api, "decrypt", ciphertext=made["ciphertext"]))["plaintext"] == text

    def test_re_encrypt(self, api, olga, key):
        other = create_master_key("other", actor=olga)
        made = said(call(api, "encrypt", key="alias:tenant", plaintext="eA==", context={"a": "b"}))
        moved = said(
            call(api, "re-encrypt", ciphertext=made["ciphertext"], context={"a": "b"},
                 destination_key="alias:other", destination_context={"c": "d"}, key=str(key.pk))
        )  # fmt: skip
        assert (moved["key_id"], moved["source_key_id"]) == (str(other.pk), str(key.pk))
        opened = call(api, "decrypt", ciphertext=moved["ciphertext"], context={"c": "d"})
        assert said(opened)["plaintext"] == "eA=="

    def test_uses_are_not_in_the_trail(self, api, key):
        before = AuditEvent.objects.count()
        call(api, "encrypt", key="alias:tenant", plaintext="")
        assert AuditEvent.objects.count() == before

    def test_any_text_is_a_context(self, api):
        context = {"": "", "é": "\U0001f511", " a ": " b ", "x" * 1024: "y" * 1024}
        made = said(call(api, "encrypt", key="alias:tenant", plaintext="eA==", context=context))
        opened = call(api, "decrypt", ciphertext=made["ciphertext"], context=context)
        assert said(opened)["plaintext"] == "eA=="


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            ({}, {"key", "plaintext"}),
            ({"plaintext": None}, {"plaintext"}),
            ({"plaintext": 5}, {"plaintext"}),
            ({"plaintext": "secret"}, {"plaintext"}),
            ({"plaintext": "eA="}, {"plaintext"}),
            ({"plaintext": "eA==\n"}, {"plaintext"}),
            ({"plaintext": "eB=="}, {"plaintext"}),  # not its one form
            ({"plaintext": "_w=="}, {"plaintext"}),
            ({"plaintext": "é==="}, {"plaintext"}),
            ({"plaintext": "\0"}, {"plaintext"}),
            ({"plaintext": b64(bytes(4097))}, {"plaintext"}),
            ({"plaintext": b64(bytes(4099))}, {"plaintext"}),
            ({"key": "tenant"}, {"key"}),
            ({"key": "alias:"}, {"key"}),
            ({"key": 5}, {"key"}),
            ({"key": "alias:" + "x" * 201}, {"key"}),
            ({"context": []}, {"context"}),
            ({"context": "x"}, {"context"}),
            ({"context": None}, {"context"}),
            ({"context": {"a": 5}}, {"context.a"}),
            ({"context": {"a": None}}, {"context.a"}),
            ({"context": {"a": {"b": "c"}}}, {"context.a"}),
            ({"context": {"a": "x" * 1025}}, {"context.a"}),
            ({"context": {"x" * 1025: "a"}}, {"context"}),
            ({"context": dict.fromkeys(map(str, range(65)), "")}, {"context"}),
            ({"context": {"a": "\0"}}, {"context.a"}),
            ({"colour": "red"}, {"colour"}),
        ],
    )
    def test_is_named_and_not_repeated(self, api, content, wrong):
        given = {"key": "alias:tenant", "plaintext": "eA==", **content} if content else content
        response = call(api, "encrypt", **given)
        assert wrong_fields(response) == wrong
        assert "secret" not in response.text

    def test_half_a_character(self, api):
        for context in ('{"a": "\\ud800"}', '{"\\ud800": "a"}'):
            content = f'{{"key": "alias:tenant", "plaintext": "eA==", "context": {context}}}'
            address = url("data", "encrypt")
            problem(api.post(address, content, content_type="application/json"), 400, "invalid")

    @pytest.mark.parametrize(
        ("ciphertext", "code"),
        [
            ("eA==", "malformed_envelope"),
            (b64(bytes(129)), "malformed_envelope"),
            (b64(b"\1" + bytes(128)), "not_found"),
            ("", "invalid"),
            (b64(bytes(4194)), "invalid"),
        ],
    )
    @pytest.mark.parametrize("name", ["decrypt", "re-encrypt"])
    def test_no_ciphertext(self, api, name, ciphertext, code):
        more = {"destination_key": "alias:tenant"} if name == "re-encrypt" else {}
        response = call(api, name, ciphertext=ciphertext, **more)
        problem(response, 404 if code == "not_found" else 400, code)

    def test_an_altered_one(self, api):
        envelope = bytearray(kms.encrypt("tenant", b"secret", {}))
        envelope[-1] ^= 1
        said = problem(call(api, "decrypt", ciphertext=b64(envelope)), 400, "decryption_failed")
        assert said["errors"][0]["field"] == "ciphertext"

    def test_another_context_or_key(self, api, olga):
        create_master_key("other", actor=olga)
        envelope = b64(kms.encrypt("tenant", b"secret", {"a": "b"}))
        problem(call(api, "decrypt", ciphertext=envelope), 400, "decryption_failed")
        pinned = call(api, "decrypt", ciphertext=envelope, context={"a": "b"}, key="alias:other")
        problem(pinned, 400, "decryption_failed")

    def test_the_value_of_a_field_does_not_open(self, api):
        from tests.models import TenantNote
        from tests.stored import stored

        note = TenantNote.objects.create(tenant="tenant", text="a")
        problem(call(api, "decrypt", ciphertext=b64(stored(note, "text"))), 400)


class TestAccess:
    @pytest.mark.parametrize("name", NAMES)
    def test_off_unless_switched_on(self, api, settings, name):
        without = {key: value for key, value in project.ENVELOPE_FIELDS.items() if key != "API"}
        settings.ENVELOPE_FIELDS = without
        there = problem(call(api, name), 404)
        assert there == problem(api.post(url("data", "none")), 404)

    @pytest.mark.parametrize("name", NAMES)
    def test_takes_its_permission(self, client_of, key, name):
        officers = [
            officer("a", permissions=[], key=key),
            officer("b", permissions=["view_masterkey"], key=key),
        ]
        for user in officers:
            problem(call(client_of(user), name, key="alias:tenant"), 403)

    def test_takes_no_other(self, client_of, key):
        client = client_of(officer("a", permissions=["use_masterkey"], key=key))
        assert said(call(client, "encrypt", key="alias:tenant", plaintext=""))
        assert client.get(url()).status_code == 200
        problem(client.get(url("keys")), 403)

    def test_takes_a_grant_of_the_action(self, client_of, key):
        user = officer("a", key=key, actions=[Action.ENCRYPT, Action.DESCRIBE])
        client = client_of(user)
        made = said(call(client, "encrypt", key="alias:tenant", plaintext="eA=="))
        problem(call(client, "decrypt", ciphertext=made["ciphertext"]), 403)
        problem(call(client, "generate-data-key", key="alias:tenant"), 403)
        event = AuditEvent.objects.latest("number")
        assert (event.outcome, event.actor_name) == ("denied", "a")

    def test_a_key_that_one_may_only_use(self, client_of, key):
        client = client_of(officer("a", key=key, actions=[Action.ENCRYPT]))
        said(call(client, "encrypt", key="alias:tenant", plaintext="eA=="))
        disable(key, actor=APPLICATION)
        problem(call(client, "encrypt", key="alias:tenant", plaintext="eA=="), 409)

    def test_unseen_keys_look_like_unknown_ones(self, client_of, key):
        client = client_of(officer("a"))
        off = create_master_key("off")
        sealed = [kms.encrypt(name, b"x", {}) for name in ("tenant", "off")]
        sealed.append(bytes([1]) + os.urandom(140))
        disable(off)
        answers = [
            call(client, name, key=key, **({"plaintext": ""} if name == "encrypt" else {}))
            for name in NAMES[:3]
            for key in ("alias:tenant", "alias:off", "alias:none", str(uuid.uuid4()))
        ]
        answers += [call(client, "decrypt", ciphertext=b64(each)) for each in sealed]
        answers += [
            call(client, "decrypt", ciphertext=b64(kms.encrypt("default", b"", {})), key=key)
            for key in ("alias:tenant", "alias:off", "alias:none")
        ]
        answers += [
            call(client, "re-encrypt", ciphertext=b64(each), destination_key="alias:default")
            for each in sealed
        ]
        assert len({answer.content for answer in answers}) == 1
        problem(answers[0], 404)


class TestFaults:
    """Errors are reported with the variables of their frames: none holds what was sent."""

    def reported(self, api, name, **content):
        """Return a fault, and what is reported of it, as Django does: where it catches it."""
        reports = []

        def report(*, request, **_):
            kind, error, traceback = sys.exc_info()
            reporter = ExceptionReporter(request, kind, error, traceback)
            reports.append(error)
            reports.append(reporter.get_traceback_html() + reporter.get_traceback_text())

        api.raise_request_exception = False
        got_request_exception.connect(report)
        try:
            assert api.post(url("data", name), content).status_code == 500
        finally:
            got_request_exception.disconnect(report)
        return reports

    @pytest.mark.parametrize("place", ["kms.encrypt", "api.views.see", "api.data.answer"])
    def test_show_nothing(self, api, monkeypatch, place):
        def fail(*args, **options):
            raise ZeroDivisionError(SECRET)

        monkeypatch.setattr(f"envelope_fields.{place}", fail)
        error, report = self.reported(api, "encrypt", key="alias:tenant", plaintext=SECRET)
        assert type(error) is DataOperationFailed
        assert "ZeroDivisionError" in str(error)
        assert "test_data.py" in str(error)
        assert SECRET not in report
        assert "strictly-secret" not in report
        assert error.__cause__ is error.__context__ is None

    def test_the_data_key_is_not_shown(self, api, monkeypatch):
        shown = []
        render = JSONRenderer.render

        def fail(self, data, *args, **options):
            if "plaintext" not in data:
                return render(self, data, *args, **options)
            shown.append(data)
            raise ZeroDivisionError

        monkeypatch.setattr(JSONRenderer, "render", fail)
        _, report = self.reported(api, "generate-data-key", key="alias:tenant")
        plaintext = shown[0]["plaintext"]
        assert plaintext not in report

    @pytest.mark.parametrize("kind", [RootKeyUnavailable, RootKeyRefused])
    def test_of_the_root_key(self, api, monkeypatch, kind):
        def fail(*args, **options):
            raise kind("It does not answer.")

        monkeypatch.setattr("envelope_fields.kms.encrypt", fail)
        response = call(api, "encrypt", key="alias:tenant", plaintext=SECRET)
        if kind is RootKeyUnavailable:
            problem(response, 503, "root_key_unavailable")
            assert response["Retry-After"] == "5"
        else:
            problem(response, 502, "root_key_refused")

    def test_plaintexts_are_in_no_log(self, api, caplog):
        with caplog.at_level("DEBUG"), suppress(ZeroDivisionError):
            call(api, "encrypt", key="alias:tenant", plaintext=SECRET)
            call(api, "encrypt", key="alias:tenant", plaintext=SECRET + "!")
            call(api, "encrypt", key="alias:none", plaintext=SECRET)
        assert SECRET not in caplog.text


def test_a_file(api, tmp_path):
    """As a client does it: only the wrapped form of the data key is stored."""
    made = said(call(api, "generate-data-key", key="alias:tenant", context={"file": "scan"}))
    nonce = os.urandom(12)
    sealed = AESGCM(base64.b64decode(made["plaintext"])).encrypt(nonce, b"x-ray", None)
    (tmp_path / "scan").write_bytes(base64.b64decode(made["ciphertext"]) + nonce + sealed)
    stored = (tmp_path / "scan").read_bytes()
    opened = call(api, "decrypt", ciphertext=b64(stored[:129]), context={"file": "scan"})
    data_key = base64.b64decode(said(opened)["plaintext"])
    assert AESGCM(data_key).decrypt(stored[129:141], stored[141:], None) == b"x-ray"
