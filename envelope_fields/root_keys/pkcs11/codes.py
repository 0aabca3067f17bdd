"""What a PKCS#11 module answers, sorted (PKCS#11 3.0, section 5.1, "Function return values")."""

import logging
from typing import Final

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered

_logger = logging.getLogger("envelope_fields.root_keys")

# The token is there, and does not do this with the key.
REFUSED: Final = frozenset(
    {
        pkcs11.CKR_ACTION_PROHIBITED,
        pkcs11.CKR_FUNCTION_REJECTED,
        pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED,
    }
)
# What was to be opened is not what the key made.
ALTERED: Final = frozenset(
    {
        pkcs11.CKR_AEAD_DECRYPT_FAILED,
        pkcs11.CKR_ENCRYPTED_DATA_INVALID,
        pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE,
        pkcs11.CKR_WRAPPED_KEY_INVALID,
        pkcs11.CKR_WRAPPED_KEY_LEN_RANGE,
    }
)
# One code for several: SoftHSM answers a wrong tag as others do a device that fails.
UNCLEAR: Final = frozenset(
    {
        pkcs11.CKR_DATA_INVALID,
        pkcs11.CKR_DATA_LEN_RANGE,
        pkcs11.CKR_FUNCTION_FAILED,
        pkcs11.CKR_GENERAL_ERROR,
    }
)
# The token, or what lies between it and us; a new session may help.
UNAVAILABLE: Final = UNCLEAR | {
    pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
    pkcs11.CKR_DEVICE_ERROR,
    pkcs11.CKR_DEVICE_MEMORY,
    pkcs11.CKR_DEVICE_REMOVED,
    pkcs11.CKR_FUNCTION_CANCELED,
    pkcs11.CKR_HOST_MEMORY,
    pkcs11.CKR_KEY_HANDLE_INVALID,
    pkcs11.CKR_OBJECT_HANDLE_INVALID,
    pkcs11.CKR_OPERATION_ACTIVE,
    pkcs11.CKR_OPERATION_NOT_INITIALIZED,
    pkcs11.CKR_SESSION_CLOSED,
    pkcs11.CKR_SESSION_COUNT,
    pkcs11.CKR_SESSION_HANDLE_INVALID,
    pkcs11.CKR_SLOT_ID_INVALID,
    pkcs11.CKR_TOKEN_NOT_PRESENT,
    pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
    pkcs11.CKR_TOKEN_RESOURCE_EXCEEDED,
    pkcs11.CKR_USER_NOT_LOGGED_IN,
    pkcs11.CKR_USER_PIN_NOT_INITIALIZED,  # also SoftHSM's, while others log in
}
# The key or the token cannot do what the settings say.
UNSUITABLE: Final = frozenset(
    {
        pkcs11.CKR_KEY_SIZE_RANGE,
        pkcs11.CKR_KEY_TYPE_INCONSISTENT,
        pkcs11.CKR_MECHANISM_INVALID,
    }
)
# A device that chooses the IV itself does not take ours.
IV_NOT_TAKEN: Final = frozenset({pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_MECHANISM_PARAM_INVALID})

WRONG_PIN: Final = frozenset(
    {pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE}
)


def name(code: int) -> str:
    """Return what PKCS#11 calls a code, such as "CKR_DEVICE_REMOVED (0x00000032)"."""
    return str(pkcs11.PyKCS11Error(code))


def failure(code: int, key: object, mechanism: str) -> Exception:
    """Return the error that a code stands for.

    Args:
        code: what the module answered.
        key: the root key, for the message.
        mechanism: what was to be done with it.
    """
    if code in ALTERED:
        return altered(key)
    if code in REFUSED:
        return RootKeyRefused(f"{key} does not allow {mechanism}: {name(code)}")
    if code in UNSUITABLE:
        return ValueError(
            f"{key} cannot be used with {mechanism}: {name(code)}. Name another mechanism, "
            "or a key that the token can use with this one"
        )
    if code not in UNAVAILABLE:
        _logger.warning("%s: %s is in no list, and counts as unavailable", key, name(code))
    return RootKeyUnavailable(f"{key} cannot be asked: {name(code)}")


def altered(key: object) -> WrappedKeyAltered:
    """Return the error for bytes that the key did not make."""
    return WrappedKeyAltered(
        f"{key} does not open this master key version: another key wrapped it, or the row was "
        "altered"
    )
