"""The clocks that keys go by, moved: those of material, and that of what is known of keys."""

import sys

from envelope_fields.keyring import age

_BY_THESE_CLOCKS = ("envelope_fields.keyring", "envelope_fields.fields.attribute")


class Clock:
    """Moves them for one test; the clocks of everything else go on as they are.

    Nothing is renewed early, so that a test can say to the second when something is asked.
    """

    def __init__(self, monkeypatch):
        self._start = age.moment()
        self._moved = {"monotonic": 0, "boot": 0, "wall": 0}
        for name, module in list(sys.modules.items()):
            if module is age or not name.startswith(_BY_THESE_CLOCKS):
                continue
            if vars(module).get("moment") is age.moment:
                monkeypatch.setattr(module, "moment", self.moment)
            if vars(module).get("uptime") is age.uptime:
                monkeypatch.setattr(module, "uptime", self.uptime)
        monkeypatch.setattr(age, "moment", self.moment)
        monkeypatch.setattr(age, "EARLY_SHARE", 0)

    def moment(self):
        """Return now, as `age.moment` does; it stands still until it is moved."""
        return age.Moment(*(getattr(self._start, name) + by for name, by in self._moved.items()))

    def uptime(self):
        return self.moment().boot

    def move(self, seconds, *clocks):
        """Let time pass, by all clocks or by some of "monotonic", "boot", "wall"."""
        for name in clocks or self._moved:
            self._moved[name] += seconds
