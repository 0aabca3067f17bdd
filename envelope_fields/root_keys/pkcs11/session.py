"""A session with a token, and the root key in it: found by its label or id, and looked over."""

from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import PyKCS11 as pkcs11

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.root_keys.pkcs11.pin import Pin

_SEEN: Final = (
    pkcs11.CKA_KEY_TYPE, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_SENSITIVE,
)  # fmt: skip
_WANTED: Final = [pkcs11.CKK_AES, 32, False, True]


class TokenNotFound(RootKeyUnavailable):
    """No token has the label, as far as the module sees now."""


class KeyName(NamedTuple):
    """What finds a key: the token's label, and the key's CKA_LABEL or CKA_ID, or both."""

    token: str
    label: str
    id: bytes

    def __str__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        key_id = f" (id {self.id.hex()})" if self.id else ""
        return f"the key{label}{key_id} of {self.token_name}"

    @property
    def token_name(self) -> str:
        return f"the token {self.token!r}"

    @property
    def uri(self) -> str:
        """The key as RFC 7512 writes it."""
        parts = [f"token={quote(self.token, safe='')}"]
        if self.label:
            parts.append(f"object={quote(self.label, safe='')}")
        if self.id:
            parts.append("id=" + "".join(f"%{byte:02x}" for byte in self.id))
        return "pkcs11:" + ";".join(parts)


class Session:
    """A session of PyKCS11 in which the user is logged in and the key was found.

    The handle of the key is good in this session alone.
    """

    def __init__(
        self, library: Any, generation: int, name: KeyName, usage: tuple[int, int], pin: Pin
    ) -> None:
        """Open one.

        Raises:
            TokenNotFound: it is not there.
            RootKeyRefused, RootKeyUnavailable, ValueError: the key or the PIN will not do.
            PyKCS11Error: as the module answers.
        """
        self.generation = generation
        self._name, self._usage = name, usage
        slot, flags = _slot(library, name)
        self.handle = library.openSession(slot)
        try:
            pin.log_in(self.handle, flags, name.token_name)
            self.key = self._found()
            self.check()
            self.wrapping_key_id = self._found_name().uri[:500]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it; the process is logged out with its last session."""
        with suppress(pkcs11.PyKCS11Error):  # it has ended
            self.handle.closeSession()

    def check(self) -> None:
        """Raise ValueError or RootKeyRefused, as above, for a key that is not fit for its use."""
        seen = self.handle.getAttributeValue(self.key, [*_SEEN, *self._usage])
        if seen[: len(_SEEN)] != _WANTED:
            raise ValueError(
                f"{self._name} is not a non-extractable AES-256 key: CKA_KEY_TYPE, CKA_VALUE_LEN, "
                f"CKA_EXTRACTABLE and CKA_SENSITIVE are {seen[: len(_SEEN)]}, and have to be "
                f"{_WANTED}. Make another key"
            )
        if not all(seen[len(_SEEN) :]):
            names = " and ".join(pkcs11.CKA[each] for each in self._usage)
            raise RootKeyRefused(
                f"{self._name} may not be used so: {names} are {seen[len(_SEEN) :]}. Allow both"
            )

    def _found(self) -> Any:
        template: list[tuple[int, Any]] = [(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY)]
        if self._name.label:
            template.append((pkcs11.CKA_LABEL, self._name.label))
        if self._name.id:
            template.append((pkcs11.CKA_ID, self._name.id))
        found = self.handle.findObjects(template)
        if not found:
            raise RootKeyRefused(
                f"{self._name} does not exist: there is no secret key like that, or the user may "
                "not see it. Correct key_label or key_id"
            )
        if len(found) > 1:
            raise ValueError(f"{self._name} is one of {len(found)}: name it by key_id as well")
        return found[0]

    def _found_name(self) -> KeyName:
        """Return the name with the label and id that the key has.

        CKA_CHECK_VALUE would say more of its material, and is a part of the key of GHASH.
        """
        attributes = [pkcs11.CKA_LABEL, pkcs11.CKA_ID]
        label, key_id = self.handle.getAttributeValue(self.key, attributes)
        return KeyName(self._name.token, str(label or ""), bytes(key_id or ()))


def _slot(library: Any, name: KeyName) -> tuple[int, int]:
    """Return the slot of the token, and the token's flags."""
    seen = {}
    for slot in library.getSlotList(tokenPresent=True):
        try:
            seen[slot] = library.getTokenInfo(slot)
        except pkcs11.PyKCS11Error:
            continue  # another token, that fails
    found = [(slot, info.flags) for slot, info in seen.items() if _label(info) == name.token]
    if not found:
        labels = ", ".join(sorted(repr(_label(info)) for info in seen.values() if _label(info)))
        raise TokenNotFound(
            f"{name.token_name} is not there; there are: {labels or 'none'}. Connect it, or "
            "correct token_label"
        )
    if len(found) > 1:
        raise ValueError(f"{len(found)} tokens have the label {name.token!r}. Rename one")
    return found[0]


def _label(info: Any) -> str:
    return str(info.label).rstrip(" \0")
