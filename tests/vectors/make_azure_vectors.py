"""Make azure-root-wrap-v1.json, the test vectors of docs/spec/azure-root-wrap-v1.md.

    python -m tests.vectors.make_azure_vectors

They are built here from the text of the specification, and not with the package, which is tested
against them. RSA draws at random, so the file comes out another each time: it is made once.
"""

import json
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from tests.vectors.make_envelope_vectors import integer, pae

FILE = Path(__file__).with_name("azure-root-wrap-v1.json")
NOTES = [
    "Every binary value is hexadecimal. The spec is docs/spec/azure-root-wrap-v1.md.",
    "`keys`: the secret key, or the primes of the RSA key (public exponent 65537).",
    "`valid` opens to `material` for `context`; `invalid` is refused, where `asks` is false"
    " without a question to the private or secret key.",
]
OAEP = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
PSS = padding.PSS(padding.MGF1(SHA256()), salt_length=32)
ROW = {"key_id": str(UUID(int=1)), "version_id": b"version1".hex(), "number": 1}
USAGE = "encrypt_decrypt"


def drawn(name, length):
    return sha256(f"azure-root-wrap-v1.json: {name}".encode()).digest()[:length]


def context(number=1):
    parts = (UUID(int=1).bytes, b"version1", integer(number), USAGE.encode())
    return pae(b"master-key-version", *parts)


MATERIAL = drawn("material", 32)
VERSION = drawn("version", 16).hex().encode()


def head(form, version=VERSION):
    return bytes([form, len(version)]) + version


def joined(number=1):
    return MATERIAL + sha256(context(number)).digest()


def gcm(key, number=1, plaintext=None):
    nonce = drawn(f"nonce {number} {plaintext}", 12)
    return nonce + AESGCM(key).encrypt(nonce, plaintext or joined(number), context(number))


def signed(key, ciphertext, domain=b"azure-key-vault-rsa", version=VERSION, number=1):
    message = pae(domain, version, ciphertext, context(number))
    return ciphertext + key.sign(message, PSS, SHA256())


def symmetric():
    key = drawn("symmetric key", 32)
    valid = {
        "a1": head(0xA1) + gcm(key),
        "a2": head(0xA2) + keywrap.aes_key_wrap(key, joined()),
    }
    invalid = {
        "a1 of another context": (head(0xA1) + gcm(key, number=2), True),
        "a1 without a digest": (head(0xA1) + gcm(key, plaintext=MATERIAL), False),
        "a1 with the digest of another context": (
            head(0xA1) + gcm(key, plaintext=joined(2)),
            True,
        ),
        "a2 of another context": (head(0xA2) + keywrap.aes_key_wrap(key, joined(2)), True),
        "a1, cut": (valid["a1"][:-1], False),
        "a1 and a byte": (valid["a1"] + b"\x00", False),
        "a form that is none": (head(0xA0) + valid["a1"][34:], False),
        "a version that is a path": (head(0xA1, b"../../x") + valid["a1"][34:], False),
    }
    return key, valid, invalid


def asymmetric():
    key = rsa.generate_private_key(65537, 2048)
    ciphertext = key.public_key().encrypt(joined(), OAEP)
    valid = {"a3": head(0xA3) + signed(key, ciphertext)}
    mallory = rsa.generate_private_key(65537, 2048)
    without_digest = key.public_key().encrypt(MATERIAL, OAEP)
    rows = {
        "no signature": ciphertext,
        "signed by another key": signed(mallory, ciphertext),
        "signed for another context": signed(key, ciphertext, number=2),
        "signed for another version": signed(key, ciphertext, version=b"0" * 32),
        "signed in another domain": signed(key, ciphertext, domain=b"azure-key-vault"),
        "the ciphertext of another wrap": key.public_key().encrypt(joined(), OAEP)
        + valid["a3"][-256:],
    }
    invalid = {name: (head(0xA3) + body, False) for name, body in rows.items()}
    invalid["signed without a digest"] = (head(0xA3) + signed(key, without_digest), True)
    return key, valid, invalid


def main():
    secret, valid, invalid = symmetric()
    private, more_valid, more_invalid = asymmetric()
    numbers = private.private_numbers()
    vectors = {
        "notes": NOTES,
        "version": VERSION.decode(),
        "row": {**ROW, "usage": USAGE},
        "context": context().hex(),
        "material": MATERIAL.hex(),
        "keys": {"oct-HSM": secret.hex(), "RSA": [f"{numbers.p:x}", f"{numbers.q:x}"]},
        "valid": [
            {"name": name, "wrapped": wrapped.hex()}
            for name, wrapped in {**valid, **more_valid}.items()
        ],
        "invalid": [
            {"name": name, "wrapped": wrapped.hex(), "asks": asks}
            for name, (wrapped, asks) in {**invalid, **more_invalid}.items()
        ],
    }
    FILE.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
