"""Make envelope-v1.json, the test vectors of docs/spec/envelope-v1.md.

    python -m tests.vectors.make_envelope_vectors

The envelopes are built here from the text of the specification, step by step, and not with the
package, which is tested against them. What would be random is a hash of a name, so the file
comes out the same each time.
"""

import json
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

FILE = Path(__file__).with_name("envelope-v1.json")

NOTES = [
    "Every binary value is hexadecimal. The spec is docs/spec/envelope-v1.md.",
    "A reader of these vectors knows the key versions under `key_versions` and no others.",
    "`valid`: the reader opens `envelope` under the context and gets `plaintext`; a writer that"
    " draws this data key and nonce makes this envelope.",
    "`rewraps`: `after` is `before` under another key version and context.",
    "Where there is a `label` or an `encryption_context`, a reader makes the context of it."
    " `bindings` are reserved: a reader of version 1 passes over them.",
    "`several_contexts`: the reader is given the present context and the previous ones, in order,"
    " and opens the envelope under the one with the index `opened_by`, or refuses it.",
    "`invalid`: the reader must refuse `envelope` (or `text`) with exactly this error.",
    "`invalid_root_wraps`: what a local root key must refuse for the row that is described.",
    "MalformedEnvelope: not an envelope. MasterKeyNotFound: a key version that the reader does not"
    " know. UnwrapFailed: the data key does not open. DecryptionFailed: the payload does not.",
]

Json = dict[str, Any]


def drawn(name: str, length: int) -> bytes:
    """Return what a writer would draw at random, the same each time."""
    return sha256(f"envelope-v1.json: {name}".encode()).digest()[:length]


KEY_VERSIONS = {
    drawn(f"version id {number}", 8): drawn(f"master key {number}", 32) for number in (1, 2)
}
FIRST, SECOND = KEY_VERSIONS


def integer(value: int) -> bytes:
    return value.to_bytes(8, "little")


def pae(*parts: bytes) -> bytes:
    return integer(len(parts)) + b"".join(integer(len(part)) + part for part in parts)


def field(label: str, *bound: bytes) -> bytes:
    return pae(b"field", label.encode(), *bound)


def kms(**pairs: str) -> bytes:
    encoded = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    return pae(b"kms", *(part for pair in encoded for part in pair))


def derive(key: bytes, prefix: bytes) -> bytes:
    """XAES-256-GCM's derivation: AES-CMAC over a counter, the label X, and the nonce prefix."""
    halves = []
    for counter in (1, 2):
        mac = CMAC(AES(key))
        mac.update(bytes([0, counter]) + b"X\x00" + prefix)
        halves.append(mac.finalize())
    return b"".join(halves)


def xaes(key: bytes, nonce: bytes, plaintext: bytes, additional_data: bytes) -> bytes:
    return AESGCM(derive(key, nonce[:12])).encrypt(nonce[12:], plaintext, additional_data)


def wrap(version: bytes, nonce: bytes, data_key: bytes, context: bytes) -> bytes:
    """Return the first 81 bytes of an envelope."""
    header = b"\x01" + version
    return header + nonce + xaes(KEY_VERSIONS[version], nonce, data_key, header + context)


def text_form(envelope: bytes) -> str:
    return "envelope:" + urlsafe_b64encode(envelope).decode().rstrip("=")


def hexed(values: Json) -> Json:
    return {key: v.hex() if isinstance(v, bytes) else v for key, v in values.items()}


def valid(name: str, plaintext: bytes, context: bytes, about: Json) -> Json:
    nonce, data_key = drawn(f"{name}: nonce", 24), drawn(f"{name}: data key", 32)
    front = wrap(FIRST, nonce, data_key, context)
    payload = AESGCM(data_key).encrypt(bytes(12), plaintext, b"\x01")
    return hexed(
        {
            "name": name,
            **about,
            "version_id": FIRST,
            "master_key": KEY_VERSIONS[FIRST],
            "nonce": nonce,
            "context": context,
            "derived_key": derive(KEY_VERSIONS[FIRST], nonce[:12]),
            "wrap_additional_data": b"\x01" + FIRST + context,
            "data_key": data_key,
            "wrapped_data_key": front[33:],
            "plaintext": plaintext,
            "payload": payload,
            "envelope": front + payload,
            "text": text_form(front + payload),
        }
    )


LABEL, PREVIOUS = "clinic.patient.notes", "clinic.patient.remarks"


def valid_field(name: str, plaintext: bytes, label: str = LABEL) -> Json:
    return valid(name, plaintext, field(label), {"label": label})


def valid_kms(name: str, plaintext: bytes, pairs: dict[str, str]) -> Json:
    return valid(name, plaintext, kms(**pairs), {"encryption_context": pairs})


def valid_vectors() -> list[Json]:
    umlauts = "Befund: Müdigkeit – 37,2 °C · 発熱なし · 🩺"
    return [
        valid_field("empty", b""),
        valid_field("one byte", b"\x00"),
        valid_field("ascii", b"No known allergies."),
        valid_field("utf-8", umlauts.encode()),
        valid_field("json", '{"resourceType":"Patient","name":"Zoë","active":true}'.encode()),
        valid_field("json null", b"null"),
        valid_field("long", b"0123456789" * 100),
        valid_field("looks like an envelope", b"\x01" + bytes(96)),
        valid_field("previous context", b"Written before the rename.", PREVIOUS),
        valid_field("label in utf-8", b"Pinned with context=.", "klinik.patient.größe"),
        valid_field("label in mixed case", b"Pinned with context=.", "Clinic.Patient.NOTES"),
        valid_field("label that is not normalised", b"A.", "clinic.patient.re\u0301sume\u0301"),
        valid_field("label of compatibility characters", b"A.", "clinic.\u212b.\ufb01eld\u00b2"),
        valid_field("label of 300 bytes", b"A.", "x" * 300),
        valid_field("label with white space around", b"A.", " clinic.patient.notes\t"),
        valid_field("label beyond 16 bits", b"A.", "clinic.patient.\U0001fa7a"),
        valid_field("label with a zero byte", b"A.", "clinic.patient\0notes"),
        valid_kms("kms: no pairs", b"A session token.", {}),
        valid_kms("kms: keys in the order of their bytes, not of UTF-16", b"A.",
                  {"\uff5e": "1", "\U0001fa7a": "2", "\u00e9": "3"}),
        valid_kms("kms: keys that begin another", b"A.", {"ab": "a", "a": "z", "a!": "", "a=": ""}),
        valid_kms("kms: text that is not normalised", b"A.", {"e\u0301": "\u212b", "é": "Å"}),
        valid_kms("kms: text in mixed case", b"A.", {"A": "B", "a": "b"}),
        valid_kms("kms: white space around", b"A.", {" a": "b ", "a ": "\tb", "": ""}),
        valid_kms("kms: zero bytes", b"A.", {"a": "z", "a\0": "", "a\0b": "\0"}),
        valid_kms("kms: 261 parts", b"A.", {f"key {n:03}": str(n) for n in range(130)}),
        valid_kms("kms: a value of 256 bytes", b"A.", {"a": "0123456789abcdef" * 16}),
        valid_kms(
            "kms: pairs in any order", b"A report.", {"tenant": "7", "Purpose": "", "a": "b"}
        ),
        valid_kms("kms: data key", drawn("kms: data key: payload", 32), {"file": "scan-1.dcm"}),
    ]  # fmt: skip


def context_vectors() -> list[Json]:
    key_id = UUID(bytes=drawn("master key id", 16))
    version = pae(b"master-key-version", key_id.bytes, FIRST, integer(1), b"encrypt_decrypt")
    return [
        hexed({"name": "PAE of nothing", "parts": [], "context": pae()}),
        hexed({"name": "PAE of one empty part", "parts": [""], "context": pae(b"")}),
        {
            "name": "PAE of one part of 65,537 bytes 61",
            "repeated": ["61", 65_537],
            "context_sha256": sha256(pae(b"a" * 65_537)).hexdigest(),
        },
        hexed({"name": "field", "label": LABEL, "bindings": [], "context": field(LABEL)}),
        hexed(
            {
                "name": "field bound to a column: the encoding of values is reserved",
                "label": LABEL,
                "bindings": [["id", "00ff"]],
                "context": field(LABEL, b"id", b"\x00\xff"),
            }
        ),
        hexed(
            {"name": "kms", "encryption_context": {"b": "", "a": "ä"}, "context": kms(b="", a="ä")}
        ),
        hexed(
            {
                "name": "master key version",
                "master_key_id": str(key_id),
                "version_id": FIRST,
                "number": 1,
                "usage": "encrypt_decrypt",
                "context": version,
            }
        ),
    ]


def root_wrap_vector() -> Json:
    """The local root key's wrapping of the first key version."""
    root_key, nonce = drawn("root key", 32), drawn("root wrap nonce", 24)
    context = context_vectors()[-1]["context"]
    sealed = xaes(root_key, nonce, KEY_VERSIONS[FIRST], bytes.fromhex(context))
    return hexed(
        {
            "root_key": root_key,
            "root_key_base64": b64encode(root_key).decode(),
            "context": context,
            "nonce": nonce,
            "derived_key": derive(root_key, nonce[:12]),
            "material": KEY_VERSIONS[FIRST],
            "wrapped_material": b"\x01" + nonce + sealed,
        }
    )


def invalid_root_wrap_vectors() -> list[Json]:  # noqa: C901 - case after case
    """What is not the wrapping of the row that it stands in."""
    good, row = root_wrap_vector(), context_vectors()[-1]
    wrapped, root_key = (bytes.fromhex(good[name]) for name in ("wrapped_material", "root_key"))
    nonce, material = wrapped[1:25], bytes.fromhex(good["material"])
    made: list[Json] = []

    def bound(about: Json) -> bytes:
        return pae(
            b"master-key-version", UUID(about["master_key_id"]).bytes,
            bytes.fromhex(about["version_id"]), integer(about["number"]), about["usage"].encode(),
        )  # fmt: skip

    def refuse(name: str, wrapped_material: bytes, **other: Any) -> None:
        about = {each: row[each] for each in ("master_key_id", "version_id", "number", "usage")}
        about = {"root_key_base64": good["root_key_base64"], **about, **other}
        said = {"name": name, **about, "context": bound(about), "error": "RootKeyRefused"}
        made.append(hexed({**said, "wrapped_material": wrapped_material}))

    def sealed(content: bytes, context: bytes) -> bytes:
        return b"\x01" + nonce + xaes(root_key, nonce, content, context)

    for length in (0, 1, 24, 25, 41, 57, 72):
        refuse(f"truncated to {length} bytes", wrapped[:length])
    refuse("a byte after the end", wrapped + b"\x00")
    for bits in (0x00, 0x02, 0x03, 0x05, 0x09, 0x11, 0x21, 0x41, 0x81, 0xFF):
        refuse(f"format {bits:02x}", bytes([bits]) + wrapped[1:])
    context = bound(row)
    for length in (0, 16, 31, 33, 64):
        content = (material * 2)[:length]
        refuse(f"material of {length} bytes", sealed(content, context))
    for name, at in {"nonce prefix": 1, "nonce suffix": 24, "material": 25, "tag": 72}.items():
        refuse(f"altered: {name}", wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :])
    refuse("another number", wrapped, number=2)
    refuse("number 0", wrapped, number=0)
    refuse("another version id", wrapped, version_id=SECOND.hex())
    refuse("another master key", wrapped, master_key_id=str(UUID(bytes=drawn("other key id", 16))))
    refuse("another usage", wrapped, usage="generate_verify_mac")
    refuse("the usage in another case", wrapped, usage="ENCRYPT_DECRYPT")
    other = b64encode(drawn("another root key", 32)).decode()
    refuse("another root key", wrapped, root_key_base64=other)
    refuse("not bound", sealed(material, b""))
    parts = (UUID(row["master_key_id"]).bytes, bytes.fromhex(row["version_id"]))
    usage = row["usage"].encode()
    domain, one, text_id = b"master-key-version", integer(1), row["master_key_id"].encode()
    for name, bound_to in {
        "without the domain": pae(*parts, one, usage),
        "without the master key's id": pae(domain, parts[1], one, usage),
        "without the version id": pae(domain, parts[0], one, usage),
        "without the number": pae(domain, *parts, usage),
        "without the usage": pae(domain, *parts, one),
        "to the number in the other byte order": pae(domain, *parts, one[::-1], usage),
        "to the number in 32 bits": pae(domain, *parts, one[:4], usage),
        "to the number in decimal": pae(domain, *parts, b"1", usage),
        "to the master key's id as text": pae(domain, text_id, parts[1], one, usage),
        "to the master key's id as text without hyphens": pae(
            domain, text_id.replace(b"-", b""), parts[1], one, usage
        ),
        "to the master key's id as Windows orders it": pae(
            domain, UUID(row["master_key_id"]).bytes_le, parts[1], one, usage
        ),
        "to the format, too": b"\x01" + context,
    }.items():
        refuse(f"bound {name}", sealed(material, bound_to))
    without = AESGCM(root_key).encrypt(nonce[12:], material, context)
    refuse("wrapped by AES-GCM without derivation", b"\x01" + nonce + without)
    return made


def several_contexts_vectors(made: dict[str, Json]) -> list[Json]:
    ascii_, previous = made["ascii"], made["previous context"]
    unknown, oldest = "clinic.patient.text", "clinic.patient.comment"
    vectors: list[Json] = []

    def add(name: str, envelope: str, labels: list[str], **outcome: Any) -> None:
        contexts = [field(label).hex() for label in labels]
        said = {"name": name, "labels": labels, "contexts": contexts, "envelope": envelope}
        vectors.append({**said, **outcome})

    opened, refused = ascii_["plaintext"], {"error": "UnwrapFailed"}
    env, old = ascii_["envelope"], previous["envelope"]
    add("the present one", env, [LABEL, PREVIOUS], plaintext=opened, opened_by=0)
    add("the first of the previous ones", old, [LABEL, PREVIOUS, oldest],
        plaintext=previous["plaintext"], opened_by=1)  # fmt: skip
    add("the last of the previous ones", old, [LABEL, oldest, unknown, PREVIOUS],
        plaintext=previous["plaintext"], opened_by=3)  # fmt: skip
    add("the present one stands behind", env, [PREVIOUS, LABEL], plaintext=opened, opened_by=1)
    add("none of them", env, [unknown, PREVIOUS, oldest], **refused)
    add("none at all", env, [], **refused)
    add("none of them under the key of the envelope, one under another",
        under_another_key(ascii_, PREVIOUS).hex(), [LABEL, PREVIOUS], **refused)  # fmt: skip
    joined = field(LABEL) + field(PREVIOUS)
    front, data_key = bytes.fromhex(env), bytes.fromhex(ascii_["data_key"])
    in_one = _rewrapped(front, data_key, KEY_VERSIONS[FIRST], front[:9] + joined)
    add("bound to all of them at once", in_one.hex(), [LABEL, PREVIOUS], **refused)
    broken = bytes.fromhex(old)
    broken = broken[:-1] + bytes([broken[-1] ^ 1])
    add("a previous one, and the payload was altered", broken.hex(), [LABEL, PREVIOUS, oldest],
        error="DecryptionFailed")  # fmt: skip
    unknown_version = b"\x01" + drawn("no version", 8) + bytes.fromhex(old)[9:]
    add("a key version that is not known", unknown_version.hex(), [LABEL, PREVIOUS],
        error="MasterKeyNotFound")  # fmt: skip
    return vectors


def under_another_key(vector: Json, label: str = "") -> bytes:
    """Return an envelope that names the first key version, and was wrapped under the second."""
    envelope, data_key = (bytes.fromhex(vector[name]) for name in ("envelope", "data_key"))
    additional_data = envelope[:9] + field(label or LABEL)
    return _rewrapped(envelope, data_key, KEY_VERSIONS[SECOND], additional_data)


def _rewrapped(envelope: bytes, data_key: bytes, key: bytes, additional_data: bytes) -> bytes:
    return envelope[:33] + xaes(key, envelope[9:33], data_key, additional_data) + envelope[81:]


def rewrap_vectors(made: dict[str, Json]) -> list[Json]:
    def rewrapped(name: str, before: Json, label: str) -> Json:
        old = bytes.fromhex(before["envelope"])
        nonce = drawn(f"rewrap {name}: nonce", 24)
        front = wrap(SECOND, nonce, bytes.fromhex(before["data_key"]), field(label))
        return hexed(
            {
                "name": name,
                "before": old,
                "context_before": before["context"],
                "version_id": SECOND,
                "nonce": nonce,
                "context": field(label),
                "after": front + old[81:],
                "plaintext": before["plaintext"],
            }
        )

    return [
        rewrapped("under the next key version", made["ascii"], LABEL),
        rewrapped("from a previous context to the present one", made["previous context"], LABEL),
    ]


def invalid_vectors(made: dict[str, Json]) -> list[Json]:  # noqa: C901 - case after case
    ascii_, context = bytes.fromhex(made["ascii"]["envelope"]), field(LABEL)
    other = bytes.fromhex(made["utf-8"]["envelope"])
    kms_vector = made["kms: data key"]
    vectors: list[Json] = []

    def refuse(
        name: str, envelope: bytes, error: str, under: bytes = context, **about: Any
    ) -> None:
        if "label" in about:
            under = field(about["label"])
        if "encryption_context" in about:
            under = kms(**about["encryption_context"])
        said = {"name": name, **about, "envelope": envelope, "context": under, "error": error}
        vectors.append(hexed(said))

    def flipped(at: int, bit: int = 0) -> bytes:
        return ascii_[:at] + bytes([ascii_[at] ^ 1 << bit]) + ascii_[at + 1 :]

    for length in (0, 1, 8, 9, 20, 21, 32, 33, 80, 81, 96):
        refuse(f"truncated to {length} bytes", ascii_[:length], "MalformedEnvelope")
    for format_byte in (b"\x00", b"\x02", b"e", b"\xff"):
        refuse(f"format {format_byte.hex()}", format_byte + ascii_[1:], "MalformedEnvelope")
    refuse("a plaintext, never encrypted", b"No known allergies. " * 6, "MalformedEnvelope")
    refuse("the text form as bytes", made["ascii"]["text"].encode(), "MalformedEnvelope")
    refuse("version id of no known version", flipped(1), "MasterKeyNotFound")
    for name, version in {
        "begins as a known one": FIRST[:7] + bytes([FIRST[7] ^ 1]),
        "ends as a known one": bytes([FIRST[0] ^ 1]) + FIRST[1:],
        "is a known one, reversed": FIRST[::-1],
    }.items():
        refuse(f"version id that {name}", b"\x01" + version + ascii_[9:], "MasterKeyNotFound")
    refuse("version id of another version", b"\x01" + SECOND + ascii_[9:], "UnwrapFailed")

    for name, at in [("prefix, first byte", 9), ("prefix, last byte", 20)]:
        refuse(f"nonce {name}", flipped(at), "UnwrapFailed")
    for name, at in [("suffix, first byte", 21), ("suffix, last byte", 32)]:
        refuse(f"nonce {name}", flipped(at, 7), "UnwrapFailed")
    nonce = ascii_[9:33]
    halves = ascii_[:9] + nonce[12:] + nonce[:12] + ascii_[33:]
    refuse("halves of the nonce exchanged", halves, "UnwrapFailed")
    refuse("wrapped data key, first byte", flipped(33), "UnwrapFailed")
    refuse("wrapped data key, last byte", flipped(64, 7), "UnwrapFailed")
    refuse("tag of the wrapped data key, first byte", flipped(65), "UnwrapFailed")
    refuse("tag of the wrapped data key, last byte", flipped(80, 7), "UnwrapFailed")
    refuse("wrapped data key of another envelope", ascii_[:33] + other[33:81] + ascii_[81:],
           "UnwrapFailed")  # fmt: skip

    refuse("another label", ascii_, "UnwrapFailed", field("clinic.patient.record"))
    refuse("the label in another case", ascii_, "UnwrapFailed", label="clinic.Patient.notes")
    refuse("the previous context not declared", bytes.fromhex(made["previous context"]["envelope"]),
           "UnwrapFailed")  # fmt: skip
    refuse("bound to a column that it was not", ascii_, "UnwrapFailed", field(LABEL, b"id", b"1"))
    refuse("no context", ascii_, "UnwrapFailed", b"")
    refuse("a field's value opened as kms", ascii_, "UnwrapFailed", pae(b"kms", LABEL.encode()))
    kms_envelope = bytes.fromhex(kms_vector["envelope"])
    refuse("kms opened as a field's value", kms_envelope, "UnwrapFailed", field("file"))
    refuse("kms with another value", kms_envelope, "UnwrapFailed", kms(file="scan-2.dcm"))
    refuse("kms with a pair more", kms_envelope, "UnwrapFailed", kms(file="scan-1.dcm", a=""))

    odd = {name: bytes.fromhex(vector["envelope"]) for name, vector in made.items()}
    refuse("the label in lower case", odd["label in mixed case"], "UnwrapFailed", label=LABEL)
    refuse("the label normalised (NFC)", odd["label that is not normalised"], "UnwrapFailed",
           label="clinic.patient.r\u00e9sum\u00e9")  # fmt: skip
    refuse("the label decomposed (NFD)", odd["label in utf-8"], "UnwrapFailed",
           label="klinik.patient.gro\u0308\u00dfe")  # fmt: skip
    refuse("kms with a value in another case", kms_envelope, "UnwrapFailed",
           encryption_context={"file": "Scan-1.dcm"})  # fmt: skip
    refuse("kms with a key in another case", kms_envelope, "UnwrapFailed",
           encryption_context={"File": "scan-1.dcm"})  # fmt: skip

    data_key, header = bytes.fromhex(made["ascii"]["data_key"]), ascii_[:9]
    plain_gcm = AESGCM(KEY_VERSIONS[FIRST]).encrypt(nonce[12:], data_key, header + context)
    refuse("wrapped by AES-GCM without derivation", ascii_[:33] + plain_gcm + ascii_[81:],
           "UnwrapFailed")  # fmt: skip
    unbound = xaes(KEY_VERSIONS[FIRST], nonce, data_key, context)
    refuse("wrapped without the header", ascii_[:33] + unbound + ascii_[81:], "UnwrapFailed")
    for name, additional_data in {
        "bound to the format, without the id": b"\x01" + context,
        "bound to the id, without the format": FIRST + context,
        "bound to the context before the header": context + header,
        "bound to the context between format and id": b"\x01" + context + FIRST,
        "bound to the id in the other byte order": b"\x01" + FIRST[::-1] + context,
        "bound to the nonce, too": ascii_[:33] + context,
        "bound to the encoding of header and context": pae(header, context),
        "bound to the header alone": header,
        "bound to the format alone": b"\x01",
        "bound to nothing": b"",
    }.items():
        other_wrap = _rewrapped(ascii_, data_key, KEY_VERSIONS[FIRST], additional_data)
        refuse(f"wrapped, {name}", other_wrap, "UnwrapFailed")
    refuse("wrapped under another known key", under_another_key(made["ascii"]), "UnwrapFailed")
    nobody = b"\x01" + drawn("no version", 8)
    unnamed = _rewrapped(nobody + ascii_[9:], data_key, KEY_VERSIONS[FIRST], nobody + context)
    refuse("wrapped under a known key, the id of no version", unnamed, "MasterKeyNotFound")
    lengths = b"".join(
        len(part).to_bytes(4, "little") + part for part in (b"field", LABEL.encode())
    )
    short_pae = header + (2).to_bytes(4, "little") + lengths
    short_bound = _rewrapped(ascii_, data_key, KEY_VERSIONS[FIRST], short_pae)
    refuse("wrapped, bound to a context with lengths of 32 bits", short_bound, "UnwrapFailed")
    short = xaes(KEY_VERSIONS[FIRST], nonce, data_key[:31], header + context)
    refuse("wrapped data key of 31 bytes", ascii_[:33] + short + ascii_[81:], "UnwrapFailed")

    refuse("payload, first byte", flipped(81), "DecryptionFailed")
    refuse("payload, last byte", flipped(len(ascii_) - 17, 7), "DecryptionFailed")
    refuse("tag, first byte", flipped(len(ascii_) - 16), "DecryptionFailed")
    refuse("tag, last byte", flipped(len(ascii_) - 1, 7), "DecryptionFailed")
    refuse("payload without its last byte", ascii_[:-1], "DecryptionFailed")
    refuse("payload cut to the length of a tag", ascii_[:97], "DecryptionFailed")
    refuse("a byte after the end", ascii_ + b"\x00", "DecryptionFailed")
    refuse("payload of another envelope", ascii_[:81] + other[81:], "DecryptionFailed")
    plaintext = bytes.fromhex(made["ascii"]["plaintext"])
    unbound = AESGCM(data_key).encrypt(bytes(12), plaintext, b"")
    refuse("payload without the format byte as additional data", ascii_[:81] + unbound,
           "DecryptionFailed")  # fmt: skip
    for name, payload_nonce, additional_data in [
        ("the header as additional data", bytes(12), header),
        ("the header and the context as additional data", bytes(12), header + context),
        ("the context as additional data", bytes(12), context),
        ("the format and the context as additional data", bytes(12), b"\x01" + context),
        ("the header and the nonce as additional data", bytes(12), ascii_[:33]),
        ("the first 81 bytes as additional data", bytes(12), ascii_[:81]),
        ("the prefix as its nonce", nonce[:12], b"\x01"),
        ("the key version id in its nonce", FIRST + bytes(4), b"\x01"),
        ("a nonce of ones", b"\xff" * 12, b"\x01"),
        ("the suffix as its nonce", nonce[12:], b"\x01"),
        ("a nonce of one", bytes(11) + b"\x01", b"\x01"),
        ("a nonce of one, in the other byte order", b"\x01" + bytes(11), b"\x01"),
    ]:
        payload = AESGCM(data_key).encrypt(payload_nonce, plaintext, additional_data)
        refuse(f"payload with {name}", ascii_[:81] + payload, "DecryptionFailed")
    in_front = nonce[:12] + AESGCM(data_key).encrypt(nonce[:12], plaintext, b"\x01")
    refuse("payload with a nonce in front", ascii_[:81] + in_front, "DecryptionFailed")
    behind = in_front[12:] + in_front[:12]
    refuse("payload with a nonce behind", ascii_[:81] + behind, "DecryptionFailed")
    tag_first = ascii_[:81] + ascii_[-16:] + ascii_[81:-16]
    refuse("payload with its tag in front", tag_first, "DecryptionFailed")
    refuse_other_formats(refuse, made["ascii"])
    return vectors


def refuse_other_formats(refuse: Any, vector: Json) -> None:
    """Envelopes that are whole but for their first byte, which enters what is authenticated."""
    envelope, data_key = (bytes.fromhex(vector[name]) for name in ("envelope", "data_key"))
    plaintext, context = (bytes.fromhex(vector[name]) for name in ("plaintext", "context"))
    for bits in (0x00, 0x02, 0x03, 0x05, 0x09, 0x11, 0x21, 0x41, 0x81, 0xF1, 0xFE):
        format_byte = bytes([bits])
        header = format_byte + envelope[1:9]
        payload = AESGCM(data_key).encrypt(bytes(12), plaintext, format_byte)
        made = header + envelope[9:81] + payload
        made = _rewrapped(made, data_key, KEY_VERSIONS[FIRST], header + context)
        refuse(f"format {format_byte.hex()}, and all else made for it", made, "MalformedEnvelope")


def invalid_text_vectors(made: dict[str, Json]) -> list[Json]:
    good = made["empty"]["text"]  # 97 bytes: two characters and 4 unused bits at the end
    body = good.removeprefix("envelope:")
    other = next(v["text"] for v in made.values() if "-" in v["text"] and "_" in v["text"])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits_set = good[:-1] + alphabet[alphabet.index(good[-1]) + 1]
    short = bytes.fromhex(made["empty"]["envelope"])[:96]
    texts = {
        "nothing": "",
        "no prefix": body,
        "prefix in another case": "Envelope:" + body,
        "space in front": " " + good,
        "newline at the end": good + "\n",
        "space inside": good[:50] + " " + good[50:],
        "line break inside": good[:85] + "\r\n" + good[85:],
        "padding": good + "==",
        "padding, one character": good + "=",
        "the standard alphabet": other.replace("-", "+").replace("_", "/"),
        "unused bits set": bits_set,
        "a length that no bytes have": good + "AAA",
        "a character of no alphabet": good[:50] + "!" + good[51:],
        "not ascii": good[:50] + "é" + good[51:],
        "fullwidth digit": good[:50] + "\uff11" + good[51:],
        "zero byte at the end": good + "\x00",
        "zero byte inside": good[:50] + "\x00" + good[50:],
        "tab at the end": good + "\t",
        "tab behind the prefix": "envelope:\t" + body,
        "carriage return at the end": good + "\r",
        "form feed at the end": good + "\f",
        "escape inside": good[:50] + "\x1b" + good[50:],
        "delete at the end": good + "\x7f",
        "next line at the end": good + "\x85",
        "no-break space in front": "\xa0" + good,
        "line separator at the end": good + "\u2028",
        "byte order mark in front": "\ufeff" + good,
        "byte order mark behind the prefix": "envelope:\ufeff" + body,
        "byte order mark at the end": good + "\ufeff",
        "zero-width space inside": good[:50] + "\u200b" + good[50:],
        "right-to-left mark at the end": good + "\u200f",
        "two line ends": good + "\n\n",
        "vertical tab at the end": good + "\v",
        "information separators at the end": good + "\x1c\x1d\x1e\x1f",
        "twice": good + good,
        "the prefix twice": "envelope:" + good,
        "nothing inside": "envelope:",
        "truncated inside": text_form(short),
        "another format inside": text_form(b"\x02" + short[1:] + b"\x00"),
    }
    return [{"name": n, "text": t, "error": "MalformedEnvelope"} for n, t in texts.items()]


def vectors() -> Json:
    made = {vector["name"]: vector for vector in valid_vectors()}
    return {
        "format": "envelope, version 1",
        "notes": NOTES,
        "key_versions": {version.hex(): key.hex() for version, key in KEY_VERSIONS.items()},
        "contexts": context_vectors(),
        "root_wrap": root_wrap_vector(),
        "invalid_root_wraps": invalid_root_wrap_vectors(),
        "valid": list(made.values()),
        "rewraps": rewrap_vectors(made),
        "several_contexts": several_contexts_vectors(made),
        "invalid": invalid_vectors(made),
        "invalid_text": invalid_text_vectors(made),
    }


def render() -> str:
    return json.dumps(vectors(), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="ascii")
