"""The process that test_memory.py looks into: it reads, writes, and stands still to be scanned.

Run as `python -m tests.crypto.memory_child`. It prints its master key; after each step it sends an
empty line and stands still until it gets one, so that no later work overwrites what the step left;
then it prints the step and its envelopes. Keys leave it as hexadecimal, which is not what is
searched for.
"""

import gc
import json
import os
from collections.abc import Sequence
from contextlib import suppress

from envelope_fields.crypto import context, envelope, format as layout, xaes
from envelope_fields.crypto.buffers import random_buffer, wipe
from envelope_fields.crypto.envelope import Rewrapper, WrappingKey
from envelope_fields.exceptions import DecryptionFailed

VALUES_PER_STEP = 3
CONTEXT = context.field_context("clinic.patient.notes")
PREFIX = b"prefix of 12"


def stand_still() -> None:
    os.write(1, b"\n")
    os.read(0, 1)


def report(step: str, envelopes: Sequence[bytes] = ()) -> None:
    line = json.dumps({"step": step, "envelopes": [stored.hex() for stored in envelopes]})
    os.write(1, line.encode() + b"\n")


def flipped(stored: bytes, at: int) -> bytes:
    altered = bytearray(stored)
    altered[at] ^= 1
    return bytes(altered)


def write(key: WrappingKey) -> list[bytes]:
    # No process draws the data keys but this one, and no plaintext is like another.
    return [
        envelope.encrypt(key, f"value {number}".encode() * 20, CONTEXT)
        for number in range(VALUES_PER_STEP)
    ]


def read(key: WrappingKey, stored: bytes) -> None:
    with suppress(DecryptionFailed):
        envelope.decrypt(key.aead, stored, CONTEXT)


def rewrap(key: WrappingKey, envelopes: Sequence[bytes]) -> None:
    with Rewrapper(key, CONTEXT, len(envelopes)) as rewrapper:
        for stored in envelopes:
            with suppress(DecryptionFailed):
                rewrapper.rewrap(key.aead, stored, CONTEXT)


def main() -> None:
    master_key = random_buffer(xaes.KEY_BYTES)
    os.write(1, master_key.hex().encode() + b"\n")
    key = WrappingKey(layout.header(b"version1"), PREFIX, xaes.derive(master_key, PREFIX))

    written = write(key)
    stand_still()
    report("write", written)

    for stored in written:
        read(key, stored)
    stand_still()
    report("read", written)

    written = [envelope.encrypt(key, b"", CONTEXT) for _ in range(VALUES_PER_STEP)]
    stand_still()
    report("write of nothing", written)

    for step, at in (("payload", -1), ("wrapping", layout.PAYLOAD_AT - 1)):
        written = write(key)
        altered = [flipped(stored, at) for stored in written]
        for stored in altered:
            read(key, stored)
        stand_still()
        report(f"read with an altered {step}", written)

    written = write(key)
    rewrap(key, written)
    stand_still()
    report("rewrap", written)

    written = write(key)
    rewrap(key, [written[0], *(flipped(stored, layout.PAYLOAD_AT - 1) for stored in written[1:])])
    stand_still()
    report("rewrap of altered wrappings", written)

    written = write(key)
    left_behind = [
        key.aead.decrypt(
            stored[layout.DERIVATION_BYTES : layout.WRAPPED_DATA_KEY_AT],
            stored[layout.WRAPPED_DATA_KEY_AT : layout.PAYLOAD_AT],
            stored[: layout.HEADER_BYTES] + CONTEXT,
        )
        for stored in written
    ]
    stand_still()
    report("control: data keys left behind", written)
    del left_behind

    del key
    gc.collect()
    stand_still()
    report("wrapping key dropped")

    wipe(master_key)
    stand_still()
    report("master key wiped")


if __name__ == "__main__":
    main()
