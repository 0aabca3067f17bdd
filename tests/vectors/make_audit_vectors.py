"""Make audit-trail-v1.json, the test vectors of docs/spec/audit-trail-v1.md.

    python -m tests.vectors.make_audit_vectors

The trails are built here from the text of the specification, and not with the package, which is
tested against them. What would be random is a hash of a name, so the file comes out the same each
time.
"""

import copy
import hmac
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.vectors.make_envelope_vectors import b64encode, derive, integer, pae, xaes

FILE = Path(__file__).with_name("audit-trail-v1.json")

NOTES = [
    "Every binary value is hexadecimal. The spec is docs/spec/audit-trail-v1.md.",
    "`mac_key` is the key of all trails here, with its wrapping by a local root key."
    " `invalid_mac_keys` are rows that a verifier refuses.",
    "`json`: what a value of `before` or `after` may be written as, and its canonical bytes.",
    "`trails`: the rows of a trail, the head row, a head that was kept elsewhere (or null), whether"
    " the key of the trail is there, and the problems that a verifier finds. Where there are none,"
    " the trail is intact, and `messages` are the messages of its events.",
    "Whole numbers of rows are text, since JSON readers may lack 64 bits. `before` and `after` are"
    " the text of a JSON value, as a database may write it.",
    "`heads`: texts that are the head of a trail, and texts that are not.",
]
NO_MAC = bytes(32)
Row = dict[str, Any]


def drawn(name: str, length: int) -> bytes:
    """Return what would be drawn at random, the same each time."""
    return sha256(f"audit-trail-v1.json: {name}".encode()).digest()[:length]


MATERIAL, VERSION_ID = drawn("material", 32), drawn("version id", 8)
SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value, as the specification has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(map(_escaped, value)) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    items = sorted(value.items())
    return "{" + ",".join(f"{canonical(key)}:{canonical(item)}" for key, item in items) + "}"


def _escaped(character: str) -> str:
    if character in SHORT:
        return SHORT[character]
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be")
    pairs = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(f"\\u{unit:04x}" for unit in pairs)


def microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def signed(number: str | int) -> bytes:
    return int(number).to_bytes(8, "little", signed=True)


def message(row: Row, predecessor: bytes) -> bytes:
    texts = ("action", "outcome", "actor_type", "actor_id", "actor_name")
    return pae(
        b"audit-event-v1",
        predecessor,
        signed(row["number"]),
        signed(microseconds(row["occurred_at"])),
        *(row[name].encode() for name in texts),
        UUID(row["key_id"]).bytes if row["key_id"] else b"",
        row["key_alias"].encode(),
        signed(row["version_number"]) if row["version_number"] else b"",
        canonical(json.loads(row["before"])).encode(),
        canonical(json.loads(row["after"])).encode(),
        row["address"].encode(),
        row["request_id"].encode(),
        bytes.fromhex(row["mac_version"]),
    )


def mac(row: Row, predecessor: bytes, key: bytes = MATERIAL) -> bytes:
    return hmac.digest(key, message(row, predecessor), sha256)


def event(number: int, **columns: Any) -> Row:
    return {
        "number": str(number),
        "previous": str(number - 1) if number > 1 else None,
        "occurred_at": f"2026-11-28T02:13:{number:02}.123000+00:00",
        "action": "rotate",
        "outcome": "done",
        "actor_type": "application",
        "actor_id": "",
        "actor_name": "",
        "key_id": str(UUID(bytes=drawn("key id", 16))),
        "key_alias": "default",
        "version_number": str(number),
        "before": "{}",
        "after": "{}",
        "address": "",
        "request_id": "",
        "mac_version": VERSION_ID.hex(),
        **columns,
    }


def chained(*rows: Row) -> list[Row]:
    predecessor, made = NO_MAC, []
    for row in rows:
        predecessor = mac(row, predecessor)
        made.append({**row, "mac": predecessor.hex()})
    return made


def head(rows: list[Row]) -> str:
    return f"{rows[-1]['number']}:{rows[-1]['mac']}" if rows else f"0:{NO_MAC.hex()}"


ODD = "\x01\x1f\x7f\x80\x9f é ‖ \u2028 \ufeff \ud7ff\ue000\uffff 🩺 \"\\/ <>&'\b\f\n\r\t"
ODD_JSON = {
    "text": ODD,
    "é": 1,
    "z": [2**63 - 1, -(2**63) + 1, 0, -1, 2**53 + 1],
    "Z": {"b": [None, True, False, {}, []], "a": ""},
    "": {"🩺": 1, "\uffff": 2, "\x7f": 3},
}


def good_rows() -> list[Row]:
    return chained(
        event(1, action="create_key", after='{"alias": "default", "rotation_period": null}'),
        event(2, before='{"number": 1}', after='{ "number" : 2 }'),
        event(3, actor_type="auth.user", actor_id="7", actor_name="Zoë \x7f 🩺", address="::1"),
        event(4, before='{"\u007f": ["\U0001fa7a"]}', after='{"\\u007f":["\\ud83e\\ude7a"]}'),
        event(5, key_id=None, key_alias="", version_number=None, outcome="denied"),
        event(6, occurred_at="1969-12-31T23:59:59.999000+00:00", request_id="a" * 200),
        event(7, occurred_at="2300-01-01T00:00:00+00:00", actor_name="x" * 253 + "…"),
        event(8, before=json.dumps(ODD_JSON), after=json.dumps(ODD_JSON, ensure_ascii=False)),
        event(9, occurred_at="2026-11-28T02:13:09.016", actor_name=" Ann ", key_alias=" a "),
        event(10, occurred_at="2026-11-28T07:58:10.999+05:45", action=" rotate "),
        event(11, occurred_at="2286-02-28T23:59:59.997000+00:00", request_id="\t"),
    )


def trails() -> list[Row]:  # noqa: C901 - case after case
    made: list[Row] = []
    all_rows = good_rows()
    good = all_rows[:5]

    def add(
        name: str,
        rows: list[Row],
        *problems: tuple[int, int, str],
        row_head: str | None = None,
        known: str | None = None,
        key: bool = True,
    ) -> None:
        made.append(
            {
                "name": name,
                "key": key,
                "events": rows,
                "head_row": head(rows) if row_head is None else row_head,
                "known_head": known,
                "problems": [
                    {"first": first, "last": last, "cause": cause}
                    for first, last, cause in problems
                ],
            }
        )

    def changed(number: int, **columns: Any) -> list[Row]:
        rows = copy.deepcopy(good)
        rows[number - 1].update(columns)
        return rows

    def without(*numbers: int) -> list[Row]:
        return [row for row in copy.deepcopy(good) if int(row["number"]) not in numbers]

    add("intact", all_rows)
    add("intact, a known head", good, known=head(good))
    add("intact, an older known head", good, known=head(good[:3]))
    add("intact, one event", good[:1])
    add("intact, a known head before the first event", good, known=head([]))
    add("nothing happened yet", [], key=False)

    for column, value in {
        "occurred_at": "2026-11-28T02:13:03.124000+00:00", "action": "rotatf", "outcome": "denied",
        "actor_type": "auth.User", "actor_id": "8", "actor_name": "Zoe\u0308 \x7f 🩺",
        "key_id": None, "key_alias": "Default", "version_number": "4", "before": '{"a": 1}',
        "after": '{"a": null}', "address": "::2", "request_id": " ", "previous": "1",
        "mac": NO_MAC.hex(),
    }.items():  # fmt: skip
        add(f"changed: {column}", changed(3, **{column: value}), (3, 3, "changed"))
    add("changed: microseconds", changed(3, occurred_at="2026-11-28T02:13:03.123001+00:00"),
        (3, 3, "changed"))  # fmt: skip
    add("changed: a number that is a fraction", changed(2, before='{"number": 1.0}'),
        (2, 2, "changed"))  # fmt: skip
    add("changed: a number that is true", changed(2, before='{"number": true}'), (2, 2, "changed"))
    add("changed: JSON that cannot be read", changed(2, before='{"number": 1'), (2, 2, "changed"))
    for name, text in {
        "a number with an exponent": '{"number": 1e0}', "true in other letters": '{"number": True}',
        "text behind the JSON": '{"number": 1} 1', "no JSON": "", "no object": "1",
        "a number beyond 64 bits": '{"number": 18446744073709551617}',
        "a name twice": '{"number": 1, "number": 2}',
    }.items():  # fmt: skip
        add(f"changed: {name}", changed(2, before=text), (2, 2, "changed"))
    add("changed: the last MAC", changed(5, mac=NO_MAC.hex()), (5, 5, "changed"))
    two = changed(3, action="rotatf")
    two[4]["action"] = "rotatf"
    add("two changed", two, (3, 3, "changed"), (5, 5, "changed"))
    neighbours = changed(3, action="rotatf")
    neighbours[3]["action"] = "rotatf"
    add("two neighbours changed", neighbours, (3, 4, "changed"))
    add("changed, and its MAC made without the key",
        changed(3, action="x", mac=mac({**good[2], "action": "x"}, bytes.fromhex(good[1]["mac"]),
                                       NO_MAC).hex()), (3, 4, "changed"))  # fmt: skip

    many = copy.deepcopy(all_rows)
    for row in many[2:6]:
        row["mac"] = drawn(f"no mac {row['number']}", 32).hex()
    add("the MACs of three neighbours changed", [*many[:5], *all_rows[5:]], (3, 5, "changed"))
    add("the MACs of four neighbours changed: one more than is remembered", many,
        (3, 7, "changed"))  # fmt: skip

    exchanged = copy.deepcopy(good)
    for one, other in ((1, 2), (2, 1)):
        exchanged[one] = {**copy.deepcopy(good[other]), "number": good[one]["number"],
                          "previous": good[one]["previous"]}  # fmt: skip
    add("two that were exchanged", exchanged, (2, 4, "changed"))

    add("one removed", without(3), (3, 3, "missing"), (4, 4, "unproven"))
    add("several removed", without(2, 3, 4), (2, 4, "missing"), (5, 5, "unproven"))
    add("the first removed", without(1), (1, 1, "missing"), (2, 2, "unproven"))
    add("two removed, with one between", without(2, 4), (2, 2, "missing"), (3, 3, "unproven"),
        (4, 4, "missing"), (5, 5, "unproven"))  # fmt: skip
    after_gap = [row for row in changed(4, before="{") if row["number"] != "3"]
    add("one removed, and the next cannot be read", after_gap, (3, 3, "missing"),
        (4, 4, "unproven"))  # fmt: skip
    renumbered = without(3)
    for row in renumbered[2:]:
        row["number"] = str(int(row["number"]) - 1)
        row["previous"] = str(int(row["number"]) - 1)
    add("one removed, and those after it renumbered", renumbered, (3, 4, "changed"))

    other = drawn("another version id", 8).hex()
    add("under another key", changed(3, mac_version=other), (3, 3, "forged"))
    add("without the key", good, (1, 5, "forged"), key=False)
    add("under another key, and it cannot be read", changed(3, mac_version=other, after="{"),
        (3, 3, "forged"))  # fmt: skip
    gone = [row for row in changed(4, mac_version=other) if row["number"] != "3"]
    add("one removed, and the next under another key", gone, (3, 3, "missing"), (4, 4, "forged"))
    add("one removed, and the next not what the known head is of", without(3), (3, 3, "missing"),
        (4, 4, "unproven"), known=f"4:{NO_MAC.hex()}")  # fmt: skip
    add("changed, and not what the known head is of", changed(3, action="rotatf"),
        (3, 3, "changed"), known=f"3:{NO_MAC.hex()}")  # fmt: skip

    short = good[:3]
    add("a tail that was cut off, the head row left", short, (4, 5, "cut"), row_head=head(good))
    add("a tail that was cut off, a known head", short, (4, 5, "cut"), known=head(good))
    add("a tail that was cut off, and nobody knows a later head", short)
    add("a tail that was cut off, and the head row alone knows", short, (4, 5, "cut"),
        row_head=head(good), known=head(good[:2]))  # fmt: skip
    add("a tail that was cut off, and the known head is the later", short, (4, 5, "cut"),
        row_head=head(good[:4]), known=head(good))  # fmt: skip
    add("a head row that is behind", good, (5, 5, "head"), row_head=head(short))
    add("a head row that is behind, a known head", good, (5, 5, "head"), row_head=head(short),
        known=head(good))  # fmt: skip
    add("a head row that is behind, and an event changed", changed(3, action="rotatf"),
        (3, 3, "changed"), (5, 5, "head"), row_head=head(short))  # fmt: skip
    add("no head row", good, (5, 5, "head"), row_head=head([]))
    add("a head row with another MAC", good, (5, 5, "head"), row_head=f"5:{NO_MAC.hex()}")
    grown = chained(*short, event(4, action="other"), event(5, action="other"))
    add("a tail that was cut off, and grew again", grown, (5, 5, "replaced"), known=head(good))
    longer = chained(*grown, event(6, action="other"))
    add("a tail that was cut off, and grew longer", longer, (5, 5, "replaced"), known=head(good))
    add("a trail made anew", longer, (4, 4, "replaced"), known=head(good[:4]))
    add("a shorter tail that grew again", grown[:4], (5, 5, "cut"), known=head(good))

    add("emptied, the key left", [], (1, 1, "emptied"))
    add("emptied, the head row left", [], (1, 5, "cut"), row_head=head(good), key=False)
    add("emptied, a known head", [], (1, 5, "cut"), known=head(good), key=False)
    add("emptied, a known head, the key left", [], (1, 5, "cut"), known=head(good))

    for trail in made:
        if not trail["problems"]:
            trail["messages"] = messages(trail["events"])
    return made


def messages(rows: list[Row]) -> list[str]:
    before = [NO_MAC, *(bytes.fromhex(row["mac"]) for row in rows)]
    return [message(row, mac_before).hex() for row, mac_before in zip(rows, before, strict=False)]


def json_vectors() -> list[Row]:
    written = [
        "{}", "[]", '""', "null", "true", "false", "0", "-1", "9223372036854775807",
        "-9223372036854775807", ' { "b" : 1 , "a" : [ 1 , 2 ] } ', '"\\u007f"', '"\x7f"',
        '"\\u00e9"', '"é"', '"\\ud83e\\ude7a"', '"🩺"', '"\\/"', '"/"', '"\\u0041"',
        '"\\b\\f\\n\\r\\t\\"\\\\"', '"\\u0008\\u000c\\u000a\\u000d\\u0009\\u0022\\u005c"',
        '"\\u0000\\u001f"', '"\\u2028"', '{"\\uffff": 1, "\\ud83e\\ude7a": 2, "z": 3, "Z": 4}',
        '{"a\\u0062": 1, "a": 2, "a\\u007f": 3}', json.dumps(ODD_JSON), "-0", "[-0, 0]",
        '{"b": 1, "a": 2, "b": 3}', '{"a": 1, "\\u0061": {"c": 1, "c": 2}}', "\t[ ]\r\n",
    ]  # fmt: skip
    return [{"written": text, "canonical": canonical(json.loads(text))} for text in written]


def mac_key() -> Row:
    key_id, root_key = UUID(bytes=drawn("audit key id", 16)), drawn("root key", 32)
    nonce, usage = drawn("nonce", 24), "generate_verify_mac"
    context = pae(b"master-key-version", key_id.bytes, VERSION_ID, integer(1), usage.encode())
    return {
        "id": str(key_id),
        "version_id": VERSION_ID.hex(),
        "number": "1",
        "usage": usage,
        "root_key_base64": b64encode(root_key).decode(),
        "context": context.hex(),
        "derived_key": derive(root_key, nonce[:12]).hex(),
        "wrapped_material": (b"\x01" + nonce + xaes(root_key, nonce, MATERIAL, context)).hex(),
        "material": MATERIAL.hex(),
    }


def invalid_mac_keys() -> list[Row]:
    """Rows whose material does not open as the key of a trail."""
    good, root_key, nonce = mac_key(), drawn("root key", 32), drawn("nonce", 24)
    key_id = UUID(good["id"]).bytes
    wrapped = bytes.fromhex(good["wrapped_material"])

    def row(name: str, wrapped_material: bytes = wrapped, **other: str) -> Row:
        shown = ("id", "version_id", "number", "usage", "root_key_base64")
        return {"name": name, **{each: good[each] for each in shown},
                "wrapped_material": wrapped_material.hex(), **other}  # fmt: skip

    def bound(*parts: bytes) -> bytes:
        return b"\x01" + nonce + xaes(root_key, nonce, MATERIAL, pae(*parts) if parts else b"")

    domain, mac, one = b"master-key-version", b"generate_verify_mac", integer(1)
    encrypt = bound(domain, key_id, VERSION_ID, one, b"encrypt_decrypt")
    second = bound(domain, key_id, VERSION_ID, integer(2), mac)
    return [
        row("another id", id=str(UUID(bytes=drawn("another id", 16)))),
        row("another version id", version_id=drawn("another version id", 8).hex()),
        row("another root key", root_key_base64=b64encode(drawn("other", 32)).decode()),
        row("the material of a key that encrypts", encrypt),
        row("the material of a key that encrypts, and says so", encrypt, usage="encrypt_decrypt"),
        row("the material of a second version", second),
        row("the material of a second version, and says so", second, number="2"),
        row("bound to nothing", bound()),
        row("bound without the usage", bound(domain, key_id, VERSION_ID, one)),
        row("of another format", b"\x02" + wrapped[1:]),
        row("a byte after the end", wrapped + b"\0"),
        row("altered", wrapped[:-1] + bytes([wrapped[-1] ^ 1])),
        row("nothing", b""),
    ]


def heads() -> Row:
    zeros, mac_ = "0" * 64, drawn("head", 32).hex()
    return {
        "valid": [f"0:{zeros}", f"1:{mac_}", f"9223372036854775807:{mac_}"],
        "invalid": [
            "", ":", f"1{mac_}", f":{mac_}", f"1:{mac_[:-1]}", f"1:{mac_}0", f"01:{mac_}",
            f"+1:{mac_}", f"-1:{mac_}", f"1.0:{mac_}", f"0x1:{mac_}", f"1_000:{mac_}",
            f"\u0661:{mac_}", f"1:{mac_[:-2]} 0", f"1:{mac_.upper()}", f"1: {mac_[1:]}",
            f"1:{mac_[:-1]}g", f"1;{mac_}", f"0:{mac_}", f"00:{zeros}", f"1:{mac_[:-2]}",
            f"-0:{zeros}", f"1:{mac_}:", f"10000000000000000000:{mac_}", f"\uff11:{mac_}",
        ],
    }  # fmt: skip


def vectors() -> Row:
    return {
        "format": "audit trail, version 1",
        "notes": NOTES,
        "mac_key": mac_key(),
        "invalid_mac_keys": invalid_mac_keys(),
        "json": json_vectors(),
        "trails": trails(),
        "heads": heads(),
    }


def render() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="ascii")
