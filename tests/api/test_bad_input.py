"""Whatever is sent to whatever address is a 4xx that says what is wrong; never a 500."""

import copy
import json
import re

import pytest
from django.db.models import Count, Q

from envelope_fields import rotation
from envelope_fields.api import schema
from envelope_fields.grants import grant
from envelope_fields.lifecycle import adopt, create_master_key
from envelope_fields.models import AuditEvent, BlindIndex
from envelope_fields.policy import APPLICATION, Action
from tests.api import ROOT
from tests.models import TenantNote

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("worker"),
]

JSON = "application/json"
VALUES = [
    None, True, 0, -1, 1.5, 1e308, 2**31, 2**63, 10**40, "", " ", "\0", "a\0b", "\ud800", "é",
    "x" * 70_000, "'\";--", "%00", "../..", "1", [], [None], [[[]]], {}, {"a": {"b": [1]}},
    ["x"] * 300,
]  # fmt: skip
BODIES = [
    b"", b" ", b"{", b"[]", b"null", b"0", b'"x"', b"true", b"\0", b"\xff\xfe", b"[" * 50_000,
    b'{"a":' * 50_000, b'{"\\u0000": 1}', b'{"\\ud800": 1}', b'{"a": 1e999}', b"{}{}",
    b'{"": ""}', b'{"__proto__": 1, "constructor": 2}', b"9" * 5000, b'{"a": ' + b"9" * 4000 + b"}",
]  # fmt: skip
TYPES = [
    "", "x", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
    "multipart/form-data; boundary=" + "x" * 300, "application/json; charset=utf-7",
    "application/json, application/json", "application/problem+json", "\xff", "*/*",
]  # fmt: skip
HEADERS = [
    "If-Match", "Idempotency-Key", "X-Request-ID", "Accept", "Accept-Language", "Authorization",
    "Cookie", "X-HTTP-Method-Override", "If-None-Match", "Range", "Content-Encoding", "X-CSRFToken",
]  # fmt: skip
QUERIES = [
    "x=1", "x=%00", "x=%ff", "%ff=1", "page=0", "page=-1", "page=1e3", "page=" + "9" * 400,
    "page=%00", "page_size=0", "page_size=99999999999999999999", "page_size=", "page=1&page=2",
    "format=xml", "format=json&format=json", "format=%00", "before=x", "after=" + "9" * 18,
    "since=x", "since=9999-12-31T23:59:59-23:59", "since=0000-01-01T00:00:00Z", "key=%00",
    "key=alias:" + "x" * 400, "state=%00", "search=%00", "search=" + "x" * 300, "search=%25_%5c",
    "actor=%00", "override=%00", "due=2", "&&&", "=", "a[]=1", "x" * 9000,
]  # fmt: skip
NAMES = [
    "%00", "x", "alias:", "alias:%00", "alias:é", "%ff", "..", "%2e%2e", "x" * 3000, "0", "-1",
    "alias:" + "x" * 300, "1e3", "9" * 400, "00000000-0000-0000-0000-000000000000", "%0a", "²",
    "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1%0a", "alias:tenant%0a", "١", "1%00", "alias:tenant/",
    "{}", "%7B%7D",
]  # fmt: skip

# What databases differ in: the length of text, its characters, and how large a number may be.
ODD_VALUES = [2**31, 2**63, 10**40, "\0", "a\0b", "\ud800", "é", "x" * 70_000, "'\";--"]
ODD_HEADERS = ["Idempotency-Key", "X-Request-ID"]
ODD_QUERIES = [
    "page=" + "9" * 400, "after=" + "9" * 18, "since=9999-12-31T23:59:59-23:59",
    "since=0000-01-01T00:00:00Z", "key=%00", "key=alias:" + "x" * 400, "state=%00", "search=%00",
    "search=" + "x" * 300, "search=%25_%5c", "actor=%00",
]  # fmt: skip
ODD_NAMES = [
    "%00", "alias:%00", "alias:é", "%ff", "x" * 3000, "alias:" + "x" * 300, "9" * 400, "²", "١",
    "alias:tenant%0a",
]  # fmt: skip


def operations():
    document = schema.document_for(with_data_operations=True)
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            yield method, path, said


OPERATIONS = list(operations())


def each(methods):
    found = [operation for operation in OPERATIONS if operation[0] in methods]
    names = [said["operationId"] for _, _, said in found]
    return pytest.mark.parametrize(("method", "path", "said"), found, ids=names)


EACH = each(["get", "post", "patch", "delete"])
READING = each(["get"])
CHANGING = each(["post", "patch", "delete"])


def bodies_of(said):
    """Return what the schema gives as an example of a body."""
    content = said.get("requestBody", {}).get("content", {}).get(JSON, {})
    return [example["value"] for example in content.get("examples", {}).values()]


@pytest.fixture
def names(olga):
    """What the examples of the schema speak of is there."""
    adopt(create_master_key("billing", actor=olga))
    create_master_key("archive", actor=olga)  # other examples
    TenantNote.objects.create(tenant="billing", text="a", data={})
    run = rotation.start("billing", actor=olga)
    given = grant("billing", olga, [Action.DECRYPT], actor=APPLICATION)
    BlindIndex.objects.create(
        label="clinic.patient.index", name="field:clinic.patient.index", normalizer="exact",
        normalizer_version=1, fingerprint="0" * 32,
    )  # fmt: skip
    return {"id": "alias:billing", "number": "1", "grant": str(given.pk), "run": str(run.pk),
            "index": "clinic.patient.index"}  # fmt: skip


def acts_that_stand():
    """Count what was done, less what was taken back with its reason, as deletions are."""
    counted = AuditEvent.objects.filter(outcome="done").aggregate(
        done=Count("pk"), taken_back=Count("pk", filter=Q(after__has_key="because"))
    )
    return counted["done"] - 2 * counted["taken_back"]


@pytest.fixture
def known(api, olga):
    """The officer is known without her session, which would be a seventh of the time."""
    api.force_authenticate(olga)


@pytest.fixture
def send(api, names):
    """Send something; if it is refused, it says why, and has changed nothing."""

    before = acts_that_stand()

    def send(method, address, content=None, kind=JSON, **headers):
        nonlocal before
        body = content if isinstance(content, bytes) or content is None else json.dumps(content)
        more = {} if body is None else {"data": body, "content_type": kind}
        response = api.generic(method.upper(), ROOT + address.lstrip("/"), **more, headers=headers)
        told = method, address, repr(content)[:200], kind, headers, response.content[:500]
        assert response.status_code < 500, told
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json", told
            assert method == "head" or response.json()["detail"], told
            assert len(response.content) < 20_000, told
            assert acts_that_stand() == before, told
        else:
            before = acts_that_stand()
        return response

    return send


@pytest.mark.any_database
@pytest.mark.usefixtures("known")
@CHANGING
def test_bodies(send, names, method, path, said):
    address = path.format(**names)
    for body in BODIES:
        send(method, address, body)
    for kind in TYPES:
        send(method, address, b"{}", kind)


@pytest.mark.any_database
@pytest.mark.usefixtures("known")
@CHANGING
def test_values(send, names, method, path, said):
    send_values(send, method, path.format(**names), said, VALUES)


def send_values(send, method, address, said, values):
    """Put each value in the place of each that the examples have; errors name the field."""
    for example in bodies_of(said):
        for name in example:
            for value in values:
                response = send(method, address, {**copy.deepcopy(example), name: value})
                if response.status_code == 400:
                    errors = response.json().get("errors", [{"field": name}])
                    named = {each["field"].split(".")[0] for each in errors}
                    assert named <= {*example}, (name, value)


@pytest.mark.any_database
@pytest.mark.usefixtures("known")
@EACH
def test_addresses(send, names, method, path, said):
    send_names(send, names, method, path, NAMES)


def send_names(send, names, method, path, others):
    for parameter in re.findall(r"{(\w+)}", path):
        for name in others:
            send(method, path.format(**{**names, parameter: name}))


@pytest.mark.any_database
@pytest.mark.usefixtures("known")
@READING
def test_queries(send, names, method, path, said):
    send_queries(send, method, path.format(**names), QUERIES)


def send_queries(send, method, address, queries):
    for query in queries:
        send(method, f"{address}?{query}")


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("get", "keys/alias:billing/", None), ("post", "rotations/", {"key": "alias:archive"}),
     ("post", "data/encrypt/", {"key": "alias:archive", "plaintext": ""})],
)  # fmt: skip
def test_headers(send, names, method, path, body):
    send_headers(send, method, path, body, HEADERS)


def send_headers(send, method, path, body, headers):
    for name in headers:
        for value in ("", "\0", "\xff", "x" * 9000, '"', "a, b", "*", "%00", "W/"):
            send(method, path, body, **{name: value})


@pytest.mark.usefixtures("known")
def test_what_databases_differ_in(send, names):
    for method, path, said in OPERATIONS:
        address = path.format(**names)
        send_names(send, names, method, path, ODD_NAMES)
        if method == "get":
            send_queries(send, method, address, ODD_QUERIES)
        else:
            send_values(send, method, address, said, ODD_VALUES)
    send_headers(send, "post", "rotations/", {"key": "alias:archive"}, ODD_HEADERS)


@pytest.mark.any_database
@pytest.mark.usefixtures("known")
@EACH
def test_methods(send, names, method, path, said):
    address = path.format(**names)
    assert send("options", address).status_code == 200
    for other in ("put", "trace", "fly", "x" * 300):
        assert send(other, address).status_code == 405
    if method == "get":
        seen, head = send("get", address), send("head", address)
        assert (head.status_code, head.content) == (seen.status_code, b"")
