"""The vectors of docs/spec/audit-trail-v1.md: true by this package, and by a verifier that has
nothing of it, in another language, which also finds nothing in a trail that this package made."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.db import transaction

from envelope_fields import audit, keyring
from envelope_fields.audit import events, trail, verification
from envelope_fields.audit.events import Head
from envelope_fields.audit.trail import MAC_KEY
from envelope_fields.audit.verification import Unreadable
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import AuditEvent, AuditKey
from envelope_fields.policy import APPLICATION, Principal
from tests.vectors import make_audit_vectors as generator

VECTORS = json.loads(generator.FILE.read_text(encoding="ascii"))
KEY = VECTORS["mac_key"]
VERIFIER = generator.FILE.with_name("verify_audit_trail.mjs")
NODE = shutil.which("node")


def each(kind, name="name"):
    return pytest.mark.parametrize(
        "vector", [pytest.param(vector, id=vector[name]) for vector in VECTORS[kind]]
    )


@pytest.fixture
def mac_key(settings):
    local = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["BACKEND"]
    root_key = {"BACKEND": local, "OPTIONS": {"key": KEY["root_key_base64"]}}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": root_key}}
    yield key_of(KEY)
    keyring.evict()


def key_of(row):
    return AuditKey(
        id=UUID(row["id"]),
        version_id=bytes.fromhex(row["version_id"]),
        number=int(row["number"]),
        wrapped_material=bytes.fromhex(row["wrapped_material"]),
        root_key="default",
    )


def event(row):
    """Return a row as a verification reads it: JSON may be what none can be made of."""
    moment = datetime.fromisoformat(row["occurred_at"])
    columns = {
        **row,
        "number": int(row["number"]),
        "occurred_at": moment if moment.tzinfo else moment.replace(tzinfo=UTC),
        "key_id": row["key_id"] and UUID(row["key_id"]),
        "version_number": row["version_number"] and int(row["version_number"]),
        "mac_version": bytes.fromhex(row["mac_version"]),
        "mac": bytes.fromhex(row["mac"]),
        "previous_id": row["previous"] and int(row["previous"]),
    }
    del columns["previous"]
    for name in ("before", "after"):
        try:
            columns[name] = json.loads(row[name])
        except ValueError:
            return Unreadable(columns["number"], columns["mac"], columns["mac_version"])
    return AuditEvent(**columns)


def test_the_file_is_what_the_generator_makes():
    assert generator.FILE.read_bytes() == generator.render().encode("ascii")


def test_every_cause_is_in_it():
    found = {each["cause"] for vector in VECTORS["trails"] for each in vector["problems"]}
    assert found == set(audit.Cause)


@each("trails")
def test_trails(vector, mac_key):
    known = vector["known_head"] and Head.parse(vector["known_head"])
    walk = verification._Walk(mac_key if vector["key"] else None, known)
    for row in vector["events"]:
        walk.step(event(row))
    walk.end(Head.parse(vector["head_row"]))
    problems = [
        {"first": found.first, "last": found.last, "cause": found.cause}
        for found in walk.found.problems
    ]
    assert problems == vector["problems"]


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=vector["name"])
        for vector in VECTORS["trails"]
        if "messages" in vector
    ],
)
def test_messages(vector):
    predecessor = bytes(32)
    for row, expected in zip(vector["events"], vector["messages"], strict=True):
        assert events.message(event(row), predecessor).hex() == expected
        predecessor = bytes.fromhex(row["mac"])


@pytest.mark.django_db  # where a root key refuses, further wraps are looked for
@each("invalid_mac_keys")
def test_invalid_mac_keys(vector, settings):
    if int(vector["number"]) != MAC_KEY:
        return  # a verification does not look for it
    local = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["BACKEND"]
    root_key = {"BACKEND": local, "OPTIONS": {"key": vector["root_key_base64"]}}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": root_key}}
    keyring.evict()
    with pytest.raises(EnvelopeError):
        keyring.mac(key_of(vector), b"a message")


@each("json", "written")
def test_canonical_json(vector):
    assert events._json(json.loads(vector["written"])).decode() == vector["canonical"]


def test_heads():
    for text in VECTORS["heads"]["valid"]:
        assert str(Head.parse(text)) == text
    for text in VECTORS["heads"]["invalid"]:
        with pytest.raises(ValueError, match="not the head of an audit trail"):
            Head.parse(text)


needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js, to run a verifier in it")


def verified_by_another(**given):
    done = subprocess.run(
        [NODE, str(VERIFIER)], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_another_verifier_finds_the_same():
    found = verified_by_another(**VECTORS)
    for vector, problems in zip(VECTORS["trails"], found["trails"], strict=True):
        assert (vector["name"], problems) == (vector["name"], vector["problems"])
    assert found["json"] == [vector["canonical"] for vector in VECTORS["json"]]
    assert found["refused_mac_keys"] == [True] * len(VECTORS["invalid_mac_keys"])
    valid, invalid = (len(VECTORS["heads"][kind]) for kind in ("valid", "invalid"))
    assert found["refused_heads"] == [False] * valid + [True] * invalid


@needs_node
@pytest.mark.django_db(transaction=True)
def test_another_verifier_finds_nothing_in_a_trail_of_ours(settings):
    actor = Principal("auth.user", "7", generator.ODD)
    with transaction.atomic():
        for values in ({}, {"odd": generator.ODD_JSON}, {generator.ODD: generator.ODD}):
            audit.record("look", actor=actor, using="default", before=values, after=values)
        audit.record("look", actor=APPLICATION, using="default")
    assert audit.verify().intact
    key = AuditKey.objects.get()
    options = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"]
    exported = {
        "mac_key": {
            "id": str(key.pk),
            "version_id": bytes(key.version_id).hex(),
            "number": key.number,
            "usage": "generate_verify_mac",
            "root_key_base64": options["key"],
            "wrapped_material": bytes(key.wrapped_material).hex(),
        },
        "trails": [
            {
                "key": True,
                "events": [as_row(event) for event in AuditEvent.objects.order_by("number")],
                "head_row": str(trail.head()),
                "known_head": None,
            }
        ],
    }
    assert verified_by_another(**exported)["trails"] == [[]]
    exported["trails"][0]["events"][1]["actor_name"] += " "
    assert verified_by_another(**exported)["trails"] == [
        [{"first": 2, "last": 2, "cause": "changed"}]
    ]


TEXTS = ("action", "outcome", "actor_type", "actor_id", "actor_name", "key_alias", "address")


def as_row(event):
    return {
        **{name: getattr(event, name) for name in (*TEXTS, "request_id")},
        "number": str(event.number),
        "previous": event.previous_id and str(event.previous_id),
        "occurred_at": event.occurred_at.isoformat(),
        "key_id": event.key_id and str(event.key_id),
        "version_number": event.version_number and str(event.version_number),
        "before": json.dumps(event.before, ensure_ascii=False),
        "after": json.dumps(event.after),
        "mac_version": bytes(event.mac_version).hex(),
        "mac": bytes(event.mac).hex(),
    }
