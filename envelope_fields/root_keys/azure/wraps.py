"""What is stored for a master key version that a key of Azure Key Vault or Managed HSM wraps.

What is wrapped is the material and SHA-256 of the context, 64 bytes, as `with_digest` joins them.
The kind of key decides how, and the first byte says it. Byte 1 is the length of the key's version,
which follows as ASCII; then

====== ============================= ==========================================================
byte 0 key and algorithm             what follows
====== ============================= ==========================================================
`a1`   `oct-HSM`: A256GCM, with the  nonce (12) ‖ ciphertext (64) ‖ tag (16)
       context as additional data
`a2`   `oct-HSM` that only wraps     ciphertext (72)
       keys: A256KW (RFC 3394)
`a3`   `RSA`, `RSA-HSM`:             ciphertext (k) ‖ signature (k), k the length of the modulus
       RSA-OAEP-256, signed by PS256
====== ============================= ==========================================================

RSA-OAEP is public-key encryption: with the public key, anyone who can write a row could plant
material that opens. So the vault signs each wrap with the same version of the key, over

    PAE("azure-key-vault-rsa", version, ciphertext, context)

with SHA-256 and a salt of 32 bytes (PS256 of RFC 7518). No other message of ours begins with that
part, and both the version and the context are in it. A reader verifies the signature with the
public key that the vault gives for this version, before it asks the vault to open anything: no
ciphertext of others reaches the private key, and its answers about padding tell nothing. Who may
sign with the key may plant material; who may read, encrypt or wrap may not. That one key decrypts
and signs is safe for these two: see Haber and Pinkas, "Securely combining public-key
cryptosystems" (2001). It has to serve nothing else.
"""

import re
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PSS
from cryptography.hazmat.primitives.hashes import SHA256

from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.crypto.context import KeyVersionContext, encode
from envelope_fields.exceptions import WrappedKeyAltered
from envelope_fields.root_keys.azure.session import RSA_TYPES, KeyVersion, UnsoundAnswer

RSA_DOMAIN: Final = b"azure-key-vault-rsa"
_VERSION: Final = re.compile(rb"[0-9A-Za-z-]{1,64}")
_OAEP: Final = OAEP(MGF1(SHA256()), SHA256(), None)
_PSS: Final = PSS(MGF1(SHA256()), salt_length=32)


class Form(NamedTuple):
    """A way to wrap.

    Attributes:
        first: byte 0 of what is stored.
        key_types: of Key Vault, as `kty` names them.
        operations: what the key has to permit, as `key_ops` names them.
        length: of what follows the version, in bytes; None where the key decides.
        seal: return what follows the version, for a key, what is wrapped, and its context.
        open: return what was wrapped, for a key, what follows the version, and the context.
    """

    first: int
    key_types: frozenset[str]
    operations: frozenset[str]
    length: int | None
    seal: Callable[[KeyVersion, bytearray, KeyVersionContext], bytes]
    open: Callable[[KeyVersion, bytes, KeyVersionContext], KeyBuffer]


def _seal_gcm(key: KeyVersion, joined: bytearray, context: KeyVersionContext) -> bytes:
    answer = key.operate("encrypt", alg="A256GCM", value=joined, aad=context.encode())
    return _part(answer, "iv", 12) + _part(answer, "value", len(joined)) + _part(answer, "tag", 16)


def _open_gcm(key: KeyVersion, body: bytes, context: KeyVersionContext) -> KeyBuffer:
    nonce, ciphertext, tag, aad = body[:12], body[12:-16], body[-16:], context.encode()
    fields = {"value": ciphertext, "iv": nonce, "tag": tag, "aad": aad}
    return key.operate("decrypt", alg="A256GCM", **fields)["value"]


def _seal_key_wrap(key: KeyVersion, joined: bytearray, context: KeyVersionContext) -> bytes:
    return _part(key.operate("wrapkey", alg="A256KW", value=joined), "value", len(joined) + 8)


def _open_key_wrap(key: KeyVersion, body: bytes, context: KeyVersionContext) -> KeyBuffer:
    return key.operate("unwrapkey", alg="A256KW", value=body)["value"]


def _seal_rsa(key: KeyVersion, joined: bytearray, context: KeyVersionContext) -> bytes:
    public = key.public_key()
    ciphertext = public.encrypt(bytes(joined), _OAEP)
    digest = sha256(_signed(key.name, ciphertext, context)).digest()
    answer = key.operate("sign", alg="PS256", value=digest)
    return ciphertext + _part(answer, "value", len(ciphertext))


def _open_rsa(key: KeyVersion, body: bytes, context: KeyVersionContext) -> KeyBuffer:
    public = key.public_key()
    length = (public.key_size + 7) // 8
    ciphertext, signature = body[:length], body[length:]
    try:
        public.verify(signature, _signed(key.name, ciphertext, context), _PSS, SHA256())
    except InvalidSignature:
        raise WrappedKeyAltered(
            "the vault did not sign this master key version: the row was altered, or planted"
        ) from None
    return key.operate("unwrapkey", alg="RSA-OAEP-256", value=ciphertext)["value"]


def _signed(version: str, ciphertext: bytes, context: KeyVersionContext) -> bytes:
    return encode([RSA_DOMAIN, version.encode(), ciphertext, context.encode()])


def _part(answer: Mapping[str, KeyBuffer], name: str, length: int) -> bytes:
    if len(answer[name]) != length:
        raise UnsoundAnswer
    return bytes(answer[name])


_OCT: Final = frozenset({"oct-HSM"})
FORMS: Final = (
    Form(0xA1, _OCT, frozenset({"encrypt", "decrypt"}), 92, _seal_gcm, _open_gcm),
    Form(0xA2, _OCT, frozenset({"wrapKey", "unwrapKey"}), 72, _seal_key_wrap, _open_key_wrap),
    Form(0xA3, RSA_TYPES, frozenset({"sign", "unwrapKey"}), None, _seal_rsa, _open_rsa),
)
_BY_FIRST: Final = {form.first: form for form in FORMS}


def form_for(key_type: str, operations: Collection[str]) -> Form:
    """Return the first form that a key is good for.

    Raises:
        ValueError: none; the message says what has to change.
    """
    fitting = [form for form in FORMS if key_type in form.key_types]
    if not fitting:
        raise ValueError(
            f"it is a key of type {key_type}; name an oct-HSM key of 256 bits in a Managed HSM, or "
            "an RSA key"
        )
    for form in fitting:
        if form.operations <= set(operations):
            return form
    wanted = " or ".join("+".join(sorted(form.operations)) for form in fitting)
    raise ValueError(f"it does not permit the operations {wanted}; add them to its key_ops")


def pack(form: Form, version: str, body: bytes) -> bytes:
    """Return what is stored."""
    return bytes([form.first, len(version)]) + version.encode("ascii") + body


def parse(wrapped: bytes) -> tuple[Form, str, bytes]:
    """Return the form, the version, and what follows it.

    Raises:
        WrappedKeyAltered: `pack` did not make this.
    """
    form = _BY_FIRST.get(wrapped[0]) if len(wrapped) > 1 else None
    end = 2 + wrapped[1] if form else 0
    version, body = wrapped[2:end], wrapped[end:]
    if form is None or not _VERSION.fullmatch(version) or len(body) != (form.length or len(body)):
        raise WrappedKeyAltered("this master key version was not wrapped by a key of Azure")
    return form, version.decode("ascii"), body
