"""Our own vectors: generated as committed, true by two implementations, and refused as they say."""

import hashlib
import json

import pytest

from envelope_fields.crypto import context, envelope, format as layout, xaes
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    MalformedEnvelope,
    MasterKeyNotFound,
    RootKeyRefused,
)
from envelope_fields.keyring import values
from envelope_fields.root_keys.local import LocalRootKey
from tests.crypto import keys, reference
from tests.vectors import make_envelope_vectors as generator

VECTORS = json.loads(generator.FILE.read_text(encoding="ascii"))
KEY_VERSIONS = {
    bytes.fromhex(version): bytes.fromhex(key) for version, key in VECTORS["key_versions"].items()
}
ERRORS = {
    error.__name__: error
    for error in (MalformedEnvelope, MasterKeyNotFound, UnwrapFailed, DecryptionFailed)
}


class Bytes:
    """A vector whose hexadecimal values are read as bytes."""

    def __init__(self, vector):
        self.vector = vector

    def __getattr__(self, name):
        return bytes.fromhex(self.vector[name])


def each(kind):
    return pytest.mark.parametrize(
        "vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]
    )


def version_context(vector):
    """Return what a root key binds, of a vector that has its parts."""
    key_id, number = generator.UUID(vector["master_key_id"]), vector["number"]
    return context.KeyVersionContext(key_id, Bytes(vector).version_id, number, vector["usage"])


def decrypt(stored: bytes, bound_to: bytes) -> bytes:
    """Read as the keyring does: the id picks one key, and no other is tried."""
    parts = layout.parse(stored)
    if parts.version_id not in KEY_VERSIONS:
        raise MasterKeyNotFound(parts.version_id.hex())
    key = xaes.derive(bytearray(KEY_VERSIONS[parts.version_id]), parts.nonce[:12])
    return envelope.decrypt(key, stored, bound_to)


def test_the_file_is_what_the_generator_makes():
    assert generator.FILE.read_bytes() == generator.render().encode("ascii")


def test_the_file_covers_what_the_specification_names():
    assert {vector["error"] for vector in VECTORS["invalid"]} == set(ERRORS)
    assert len(VECTORS["valid"]) >= 13
    lengths = {len(vector["plaintext"]) // 2 for vector in VECTORS["valid"]}
    assert {0, 1, 1000} <= lengths
    assert [len(Bytes(v).envelope) for v in VECTORS["valid"] if v["name"] == "kms: data key"] == [
        129
    ]
    names = [v["name"] for kind in ("valid", "invalid", "invalid_text") for v in VECTORS[kind]]
    assert len(names) == len(set(names))


@each("valid")
def test_valid_opens(vector):
    v = Bytes(vector)
    assert decrypt(v.envelope, v.context) == v.plaintext
    assert layout.decode_text(vector["text"]) == v.envelope
    assert layout.encode_text(v.envelope) == vector["text"]
    assert len(v.envelope) == 97 + len(v.plaintext)


class Given:
    """Stands for random parts, and gives what it is told to, once."""

    def __init__(self, *parts):
        self.left = [(*map(bytearray, parts), None)]
        self.draw, self.put_back = self.left.pop, lambda drawn: None


@each("valid")
def test_valid_is_what_we_write(vector, monkeypatch):
    v = Bytes(vector)
    monkeypatch.setattr(envelope, "_suffix_and_data_key", Given(v.nonce[12:], v.data_key))
    derived = xaes.derive(bytearray(v.master_key), v.nonce[:12])
    key = WrappingKey(layout.header(v.version_id), v.nonce[:12], derived)
    assert envelope.encrypt(key, v.plaintext, v.context) == v.envelope


@each("valid")
def test_valid_by_the_reference_with_every_intermediate_value(vector):
    v = Bytes(vector)
    if "label" in vector:
        bound_to = reference.pae(b"field", vector["label"].encode())
    else:
        pairs = [(k.encode(), value.encode()) for k, value in vector["encryption_context"].items()]
        bound_to = reference.pae(b"kms", *(part for pair in sorted(pairs) for part in pair))
    derived = reference.derive(v.master_key, v.nonce[:12])
    additional_data = b"\x01" + v.version_id + bound_to

    assert v.master_key == KEY_VERSIONS[v.version_id]
    assert v.context == bound_to
    assert v.derived_key == derived
    assert v.wrap_additional_data == additional_data
    assert v.wrapped_data_key == reference.gcm_encrypt(
        derived, v.nonce[12:], v.data_key, additional_data
    )
    assert v.payload == reference.gcm_encrypt(v.data_key, bytes(12), v.plaintext, b"\x01")
    assert v.envelope == b"\x01" + v.version_id + v.nonce + v.wrapped_data_key + v.payload


@each("contexts")
def test_contexts(vector):
    if "repeated" in vector:
        byte, times = vector["repeated"]
        encoded = context.encode([bytes.fromhex(byte) * times])
        assert hashlib.sha256(encoded).hexdigest() == vector["context_sha256"]
        return
    if "parts" in vector:
        encoded = context.encode(bytes.fromhex(part) for part in vector["parts"])
    elif "label" in vector:
        bindings = [(name, bytes.fromhex(value)) for name, value in vector["bindings"]]
        encoded = context.field_context(vector["label"], bindings)
    elif "encryption_context" in vector:
        encoded = context.kms_context(vector["encryption_context"])
    else:
        encoded = version_context(vector).encode()
    assert encoded.hex() == vector["context"]


def test_root_wrap():
    v = Bytes(VECTORS["root_wrap"])
    derived = reference.derive(v.root_key, v.nonce[:12])
    sealed = reference.gcm_encrypt(derived, v.nonce[12:], v.material, v.context)
    root_key = LocalRootKey(key=VECTORS["root_wrap"]["root_key_base64"])

    assert v.derived_key == derived
    assert v.wrapped_material == b"\x01" + v.nonce + sealed
    [vector] = [each for each in VECTORS["contexts"] if each.get("context") == v.context.hex()]
    assert root_key.unwrap(v.wrapped_material, version_context(vector)) == v.material


@each("invalid_root_wraps")
def test_invalid_root_wraps_are_refused(vector):
    bound_to = version_context(vector)
    assert bound_to.encode().hex() == vector["context"]
    root_key = LocalRootKey(key=vector["root_key_base64"])
    with pytest.raises(RootKeyRefused):
        root_key.unwrap(Bytes(vector).wrapped_material, bound_to)


@each("several_contexts")
def test_several_contexts_are_tried_in_order(vector, monkeypatch):
    """By the keyring, which is given a field's contexts and has the key that the envelope names."""
    tried, opened = [], envelope.decrypt

    def decrypt_and_note(key, stored, bound_to):
        tried.append(bound_to.hex())
        return opened(key, stored, bound_to)

    monkeypatch.setattr(values.envelopes, "decrypt", decrypt_and_note)
    stored = Bytes(vector).envelope
    contexts = [bytes.fromhex(each) for each in vector["contexts"]]

    def read():
        version_id = layout.parse(stored).version_id
        if version_id not in KEY_VERSIONS:
            raise MasterKeyNotFound(version_id.hex())
        key = xaes.derive(bytearray(KEY_VERSIONS[version_id]), stored[9:21])
        return values.decrypted(key, stored, contexts)

    if "error" in vector:
        if vector["contexts"]:  # a field always has one
            with pytest.raises(EnvelopeError) as caught:
                read()
            said = f"{caught.typename} ({caught.typename}) {caught.value}"
            assert f"({vector['error']})" in said
        return
    assert read() == Bytes(vector).plaintext
    assert tried == vector["contexts"][: vector["opened_by"] + 1]


@each("rewraps")
def test_rewraps(vector, monkeypatch):
    v = Bytes(vector)
    key = xaes.derive(bytearray(KEY_VERSIONS[v.version_id]), v.nonce[:12])
    wrapping_key = WrappingKey(layout.header(v.version_id), v.nonce[:12], key)
    before = layout.parse(v.before)
    unwrapping_key = xaes.derive(bytearray(KEY_VERSIONS[before.version_id]), before.nonce[:12])
    monkeypatch.setattr(envelope, "urandom", lambda size: v.nonce[12:])

    front = keys.rewrap(unwrapping_key, v.before, v.context_before, wrapping_key, v.context)

    assert front + v.before[81:] == v.after
    assert decrypt(v.after, v.context) == decrypt(v.before, v.context_before) == v.plaintext
    assert reference.unwrap(KEY_VERSIONS[v.version_id], v.after, v.context) == reference.unwrap(
        KEY_VERSIONS[before.version_id], v.before, v.context_before
    )


@each("invalid")
def test_invalid_is_refused_for_its_reason(vector):
    v = Bytes(vector)
    with pytest.raises(EnvelopeError) as caught:
        decrypt(v.envelope, v.context)
    assert caught.type is ERRORS[vector["error"]]


@each("invalid_text")
def test_invalid_text_is_refused(vector):
    with pytest.raises(EnvelopeError) as caught:
        layout.decode_text(vector["text"])
    assert caught.type is ERRORS[vector["error"]]
