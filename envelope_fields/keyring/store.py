"""A store of plaintext material, by what its root key bound it to; what leaves it is wiped."""

from __future__ import annotations

from math import inf

from envelope_fields.crypto.buffers import wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.keyring.age import Material, moment


class Store(dict[KeyVersionContext, Material]):
    """The material of key versions, as long as it may be used.

    By the whole context: a row that was altered since is not taken for the same. The caller has a
    lock of it, since others must not wipe what is used; a signal handler of its own thread may
    come in between two steps.
    """

    def usable(self, context: KeyVersionContext) -> Material | None:
        """Return the material of a version, if it is here and its time is not over."""
        material = self.get(context)
        if material is not None and material.is_over():
            self.drop(context, material)
            return None
        return material

    def replace(self, context: KeyVersionContext, material: Material, found: Material) -> None:
        """Have other material in the place of some; wipe it where that was evicted meanwhile."""
        if self.get(context) is not material:
            wipe(found)
            return
        self[context] = found
        wipe(material)

    def drop(self, context: KeyVersionContext, material: Material) -> None:
        """Wipe material, here or not."""
        if self.get(context) is material:
            self.pop(context, None)
        wipe(material)

    def ask_soon(self, root_key: str) -> None:
        """Have a root key that refused one version be asked for the others that it opened."""
        for material in tuple(self.values()):
            if material.root_key == root_key:
                material.ask_soon()

    def remaining_seconds(self) -> float:
        """Return for how long all that is here may be used yet; what may not be is wiped."""
        self.wipe_what_is_over()
        now = moment()
        return min((each.remaining_seconds(now) for each in tuple(self.values())), default=inf)

    def lasts(self, context: KeyVersionContext, until: float) -> bool:
        """Whether material is here, and may be used until a time of `age.uptime`."""
        now, material = moment(), self.get(context)
        return material is not None and material.remaining_seconds(now) >= until - now.boot

    def wipe_what_is_over(self) -> None:
        """Wipe what may not be used any more, and what nothing has asked for since."""
        for context in tuple(self):
            self.usable(context)

    def wipe(self) -> None:
        """Wipe everything."""
        for context, material in tuple(self.items()):
            self.drop(context, material)
