"""What key versions are used for and for whom, how often and when last.

The policy admits to each use. Uses are counted without a write, and harvested. An attempt that the
state of a version refuses is not a use, and is counted beside them: something still needs what is
under it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from threading import RLock, local

from envelope_fields import forks
from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.rows import KeyRow
from envelope_fields.policy import Action, Attempt, KeyVersionState, decisions
from envelope_fields.policy.data import PolicyData


class Purpose:
    """What a key is used for, and through which channel: `fields`, `kms` or `rotation`."""

    __slots__ = ("action", "channel")

    def __init__(self, action: Action, channel: str) -> None:
        self.action, self.channel = action, channel


READ_FIELD = Purpose(Action.DECRYPT, "fields")
WRITE_FIELD = Purpose(Action.ENCRYPT, "fields")
MOVE_VALUE = Purpose(Action.RE_ENCRYPT, "rotation")
VERIFY_VALUE = Purpose(Action.DECRYPT, "rotation")
WRITE_INDEX = Purpose(Action.GENERATE_MAC, "fields")
FILL_INDEX = Purpose(Action.RE_ENCRYPT, "rotation")
SEARCH_INDEX = Purpose(Action.VERIFY_MAC, "fields")
VERIFY_INDEX = Purpose(Action.RE_ENCRYPT, "rotation")

Which = tuple[bytes, Purpose]
# Whom a derived key serves without asking the policy: its uses for fields; whether it serves every
# principal; whether it serves unbound code, outside of requests; and the version that it is derived
# from. A plain tuple, which is taken apart much faster than a named one: for every value.
Serving = tuple["Uses", bool, bool, KeyVersionState]


class Uses:
    """The uses of a key version for one purpose: who makes one sets `at`, and takes the next count.

    `next` on a count is one step for all threads. `at` is of `age.uptime`.
    """

    __slots__ = ("at", "count")

    def __init__(self) -> None:
        self.at = 0.0
        self.count: Iterator[int] = count()

    def one(self) -> None:
        """Count a use that is made now."""
        self.at = uptime()
        next(self.count)


@dataclass(slots=True)
class UseCount:
    """How often something was done, and when last, on the clock of `age.uptime`."""

    times: int = 0
    at: float = 0.0

    def add(self, times: int, at: float) -> None:
        self.times += times
        self.at = max(self.at, at)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a key version was used for since this was last asked, and its state refused."""

    version_id: bytes  # its making may have been rolled back
    action: str
    channel: str
    used: UseCount
    refused: UseCount


# Counts outlive tables, so forgetting what is known of keys loses no use.
_counts: dict[Which, Uses] = {}
_harvested: dict[Which, int] = {}
_many: dict[Which, UseCount] = {}  # what was counted in one go
_refused: dict[Which, UseCount] = {}
_lock = RLock()  # a signal handler may read a value, too
_first_uses: list[Callable[[], None]] = []
_refusing: list[Callable[[bytes, Purpose], None]] = []


class _ThisThread(local):
    """What is known of this thread: whether it has used a key since its request or task began."""

    has_used_key = False


this_thread = _ThisThread()


def admit(policy_data: PolicyData, row: KeyRow, field_path: str, purpose: Purpose) -> None:
    """Ask the policy, then whether the state allows it: who may not is not told the state.

    Args:
        policy_data: what is known of users, as it was before anything of the key was read.
        row: the key version.
        field_path: `app.model.field`, for the value of a field.
        purpose: what the key is needed for.

    Raises:
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        MasterKeyUnusable: the state forbids it, or something could not be read.
    """
    version = row.state
    attempt = Attempt(purpose.action, version.key_id, version.alias, field_path)
    lasts = decisions.admit(attempt, row.policy, policy_data, configuration().database)
    try:
        version.check(purpose.action)
    except MasterKeyUnusable:
        refused(version.version_id, purpose)
        raise
    if lasts:
        actor = decisions.known_actor()
        policy_data.admitted.add((actor, purpose, version.version_id, field_path))


def serving(row: KeyRow, purpose: Purpose) -> Serving:
    """Return what is kept with a derived key: whom it serves without being asked."""
    uses, policy = counted(row.state.version_id, purpose), row.policy
    return uses, policy.serves_everybody, policy.serves_unbound_code, row.state


def on_first_use(listener: Callable[[], None]) -> None:
    """Call `listener` when this process begins to use a version for something."""
    if listener not in _first_uses:  # apps may be made ready several times
        _first_uses.append(listener)


def on_refused(listener: Callable[[bytes, Purpose], None]) -> None:
    """Call `listener` with each attempt that the state of a version has refused."""
    if listener not in _refusing:
        _refusing.append(listener)


def counted(version_id: bytes, purpose: Purpose) -> Uses:
    """Return the uses of a key version for a purpose, for the caller to count its own."""
    uses = _counts.get((version_id, purpose))
    if uses is None:
        uses = _counts.setdefault((version_id, purpose), Uses())
        for listener in _first_uses:
            listener()
    return uses


def count_many(used: Mapping[bytes, int], purpose: Purpose) -> None:
    """Count several uses of each of some key versions at once."""
    now = uptime()
    with _lock:
        for version_id, times in used.items():
            _many.setdefault((version_id, purpose), UseCount()).add(times, now)


def refused(version_id: bytes, purpose: Purpose) -> None:
    """Count an attempt that the state of a version, or of its key, refuses."""
    with _lock:
        _refused.setdefault((version_id, purpose), UseCount()).add(1, uptime())
    for listener in _refusing:
        listener(version_id, purpose)


def harvest() -> list[Harvest]:
    """Return what was counted in this process since this was last asked."""
    found: dict[Which, tuple[UseCount, UseCount]] = {}
    with _lock:
        for which, uses in list(_counts.items()):
            now = next(uses.count)
            times = now - _harvested.get(which, 0)
            _harvested[which] = now + 1  # asking is a step of the count, too
            if times:
                found[which] = UseCount(times, uses.at), UseCount()
        for index, counts in enumerate((_many, _refused)):
            for which in tuple(counts):
                one = counts.pop(which)
                both = found.setdefault(which, (UseCount(), UseCount()))
                both[index].add(one.times, one.at)
    return [
        Harvest(version_id, str(purpose.action), purpose.channel, *both)
        for (version_id, purpose), both in found.items()
    ]


def _after_fork() -> None:
    """Count anew: the parent writes what it has counted."""
    global _lock
    _lock = RLock()
    _counts.clear()
    _harvested.clear()
    _many.clear()
    _refused.clear()


forks.in_child(_after_fork)
