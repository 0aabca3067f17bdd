"""The vectors pass a reader that is right, and catch each one that is wrong in one thing."""

import hashlib
import json

import pytest

from tests.crypto.readers import WRONG, Reader, Refused
from tests.vectors.make_envelope_vectors import FILE

VECTORS = json.loads(FILE.read_text(encoding="ascii"))
KEYS = {bytes.fromhex(key): bytes.fromhex(value) for key, value in VECTORS["key_versions"].items()}


def outcome(read):
    try:
        return read()
    except Refused as refusal:
        return str(refusal)


def context_of(reader, vector):
    if "label" in vector:
        return reader.field_context(vector["label"])
    if "encryption_context" in vector:
        return reader.kms_context(vector["encryption_context"])
    return bytes.fromhex(vector["context"])


def opened(reader, vector):
    envelope = bytes.fromhex(vector["envelope"])
    return reader.open(envelope, [context_of(reader, vector)])[0].hex()


def opened_by_several(reader, vector):
    contexts = [reader.field_context(label) for label in vector["labels"]]
    plaintext, index = reader.open(bytes.fromhex(vector["envelope"]), contexts)
    return plaintext.hex(), index


def encoded(reader, vector):
    if "repeated" in vector:
        byte, times = vector["repeated"]
        return hashlib.sha256(reader.pae([bytes.fromhex(byte) * times])).hexdigest()
    if "parts" in vector:
        return reader.pae([bytes.fromhex(part) for part in vector["parts"]]).hex()
    return context_of(reader, vector).hex()


def failed(reader):
    """Yield the names of the vectors that a reader does not pass."""
    expected = [
        ("contexts", encoded, lambda v: v.get("context_sha256", v.get("context"))),
        ("valid", opened, lambda v: v["plaintext"]),
        ("valid", lambda r, v: r.decode(v["text"]).hex(), lambda v: v["envelope"]),
        ("several_contexts", opened_by_several,
         lambda v: v.get("error") or (v["plaintext"], v["opened_by"])),
        ("invalid", opened, lambda v: v["error"]),
        ("invalid_text", lambda r, v: r.decode(v["text"]).hex(), lambda v: v["error"]),
        ("invalid_root_wraps", lambda r, v: r.open_master_key(v), lambda v: v["error"]),
    ]  # fmt: skip
    for kind, read, right in expected:
        for vector in VECTORS[kind]:
            if vector.get("bindings"):
                continue  # reserved
            if outcome(lambda read=read, vector=vector: read(reader, vector)) != right(vector):
                yield f"{kind}: {vector['name']}"


def test_the_reader_of_the_specification_passes():
    assert list(failed(Reader(KEYS))) == []
    row = {**VECTORS["contexts"][-1], **VECTORS["root_wrap"]}
    assert Reader(KEYS).open_master_key(row).hex() == VECTORS["root_wrap"]["material"]


@pytest.mark.parametrize("reader", WRONG, ids=lambda reader: reader.__name__)
def test_a_wrong_reader_does_not(reader):
    assert next(failed(reader(KEYS)), None) is not None


def test_all_of_them_are_tried():
    assert len(WRONG) >= 40
