"""What is agreed to before a key is destroyed, and what is certified afterwards."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from envelope_fields.census import CensusRow, NotCounted
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.context import OperationContext
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row, as_text, as_utc, named
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion


class ConfirmationRequired(EnvelopeError):
    """An act that may destroy more than the census counts, and was not confirmed by name.

    Attributes:
        expected: what to pass as `confirm=`: `alias@2026-11-28T02:13:05Z`, the name of the key and
            when it was last used; the name alone where it was never used, and for shredding. A key
            without an alias has its id for a name.
        last_use: when `kms` last used the key or version, to the second; None if it never did.
    """

    def __init__(self, message: str, expected: str, last_use: Any = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.last_use = last_use


def name_of(row: Row) -> str:
    """Return the name by which an act on a key, or on a version of it, is confirmed."""
    return str(row.master_key if isinstance(row, MasterKeyVersion) else row)


def quoting(row: Row, last_use: datetime | None) -> str:
    """Return what confirms an act: the name of the key, and its last use where there was one."""
    return name_of(row) if last_use is None else f"{name_of(row)}@{as_utc(last_use)}"


def check_quoted(
    confirm: str | None, row: Row, expected: str, reasons: Iterable[str], last_use: Any
) -> None:
    """Raise if a confirmation is for something else, or there are reasons for one and it lacks.

    Args:
        confirm: what was passed. The name alone confirms where there is no reason.
        row: the key or version.
        expected: what confirms it.
        reasons: what is lost, or may be, that was not counted; in sentences.
        last_use: when `kms` last used it.

    Raises:
        ConfirmationRequired: with these sentences, and what to pass.
    """
    if confirm == expected:
        return
    if confirm not in (None, name_of(row)):
        raise ConfirmationRequired(
            f"{confirm!r} does not confirm this: {named(row)} is confirmed by {expected!r}, which "
            "quotes its last use.",
            expected,
            last_use,
        )
    content = " ".join(reasons)
    if content:
        raise ConfirmationRequired(
            f"{content} To go on, pass confirm={expected!r}.", expected, last_use
        )


WHAT_REMAINS = (
    "Backups and replicas of the wrapped rows of these versions must go too, or the root key that "
    "wrapped them: with both, the values can still be read. What kms gave out under the key is "
    "not counted."
)


class FieldCount(NamedTuple):
    """How many values of a field are, or were, under a key, in one database."""

    database: str
    model: str
    field: str
    values: int

    def __str__(self) -> str:
        return f"{self.model}.{self.field} in the database {self.database!r} ({self.values:,})"


@dataclass(frozen=True, slots=True)
class ShredConfirmation:
    """What a person agrees to lose: the key by its name, and its values by their number.

    Attributes:
        name: the key's alias, or its id where it has none.
        fields: how many values were counted in each field.
        last_use_by_kms: when `kms` last used it, which gave out what no census counts.
        lookups: the blind indexes among the fields: no value is found by these any more.
    """

    name: str
    fields: tuple[FieldCount, ...]
    last_use_by_kms: datetime | None = None
    lookups: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many values there are altogether."""
        return sum(each.values for each in self.fields)

    def covers(self, there: Iterable[FieldCount]) -> bool:
        """Whether no field has more values than were agreed to."""
        agreed = {each[:-1]: each.values for each in self.fields}
        return all(each.values <= agreed.get(each[:-1], 0) for each in there)


@dataclass(frozen=True, slots=True)
class ShredCertificate:
    """That a key was destroyed together with its values; the audit trail has the same words.

    Attributes:
        event: the number of the event in the audit trail.
        key_id: of the master key.
        name: its alias, or its id where it had none.
        versions: the number of each destroyed version, with its id in hexadecimal.
        fields: how many values were made unreadable in each field.
        destroyed_at: when.
        actor: by whom.
        last_use_by_kms: when `kms` last used it.
        not_counted: where it could not be looked.
        remains: what has to be done elsewhere.
        lookups: the blind indexes among the fields: no value is found by these any more.
    """

    event: int
    key_id: str
    name: str
    versions: dict[str, str]
    fields: tuple[FieldCount, ...]
    destroyed_at: datetime
    actor: str
    last_use_by_kms: str | None
    not_counted: tuple[str, ...] = ()
    remains: str = WHAT_REMAINS
    lookups: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many values were made unreadable altogether."""
        return sum(each.values for each in self.fields)

    def __str__(self) -> str:
        versions = ", ".join(f"{number} ({hexed})" for number, hexed in self.versions.items())
        fields = ", ".join(map(str, self.fields)) or "none"
        not_counted = "".join(f"Not counted: {each}.\n" for each in self.not_counted)
        return (
            f"Shredded on {as_text(self.destroyed_at)} by {self.actor}: the master key "
            f"{self.name} ({self.key_id}), versions {versions}.\n"
            f"Values made unreadable: {self.total:,}. {fields}\n"
            f"{lookups_text(self.lookups)}"
            f"Last use by kms: {self.last_use_by_kms or 'none'}.\n"
            f"{not_counted}"
            f"{self.remains}\n"
            f"Event {self.event} of the audit trail."
        )


def ended_lookups(rows: Iterable[CensusRow]) -> tuple[str, ...]:
    """Return the blind indexes by which nothing is found without the versions of one key."""
    return tuple(sorted({f"{row.model}.{row.field}" for row in rows if row.is_index}))


def lookups_text(lookups: Iterable[str]) -> str:
    """Return the line that says which lookups end; nothing where none does."""
    names = ", ".join(lookups)
    return f"Lookups that end, with the uniqueness that they keep: by {names}.\n" if names else ""


def shred_content(agreed: ShredConfirmation | ShredCertificate) -> dict[str, Any]:
    """Return what is to be destroyed, or was, as plain data."""
    fields = [each._asdict() for each in agreed.fields]
    return {**asdict(agreed), "fields": fields, "total": agreed.total}


def counted_fields(rows: Iterable[CensusRow]) -> tuple[FieldCount, ...]:
    """Add up what a census counted under the versions of one key."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counts[row.database, row.model, row.field] += row.values
    return tuple(FieldCount(*where, values) for where, values in counts.items())


def check_agreed(
    confirm: ShredConfirmation | str | None, row: Row, there: tuple[FieldCount, ...]
) -> None:
    """Raise if a confirmation names another key, or fewer values than there are now.

    Raises:
        ConfirmationRequired: it does.
    """
    agreed = confirm.name if isinstance(confirm, ShredConfirmation) else confirm
    expected = name_of(row)
    if agreed not in (None, expected):
        raise ConfirmationRequired(
            f"{agreed!r} does not confirm this: {named(row)} is confirmed by {expected!r}.",
            expected,
        )
    if isinstance(confirm, ShredConfirmation) and not confirm.covers(there):
        raise ConfirmationRequired(
            f"More values are stored under {named(row)} than were agreed to: "
            f"{', '.join(map(str, there))}. It stays unusable; confirm this number, or enable it.",
            expected,
        )


def issue(
    done: OperationContext,
    fields: tuple[FieldCount, ...],
    last_use: datetime | None,
    unseen: Iterable[NotCounted],
    lookups: Iterable[str] = (),
) -> ShredCertificate:
    """Record a shredding in the audit trail, and return what it says."""
    versions = [done.version] if done.version else done.key.versions.using(done.using).all()
    event = done.record(
        Operation.SHRED,
        {"state": str(done.row.state)},
        {
            "state": "destroyed",
            "name": name_of(done.row),
            "versions": {str(each.number): bytes(each.version_id).hex() for each in versions},
            "values": [list(each) for each in fields],
            "total": sum(each.values for each in fields),
            "last_use_by_kms": last_use and as_utc(last_use),
            "not_counted": [str(each) for each in unseen],
            "lookups": list(lookups),
            "remains": WHAT_REMAINS,
        },
    )
    return _certificate(event)


def certificate_of(row: Row) -> ShredCertificate | None:
    """Return the certificate of what was shredded; None where it was not.

    A version that went with its key has the certificate of the key.
    """
    version = row if isinstance(row, MasterKeyVersion) else None
    key_id: UUID = row.pk if isinstance(row, MasterKey) else row.master_key_id
    events = AuditEvent.objects.using(row._state.db).filter(key_id=key_id, action=Operation.SHRED)
    for number in (None,) if version is None else (version.number, None):
        event = events.filter(version_number=number).order_by("-number").first()
        if event is not None:
            return _certificate(event)
    return None


def _certificate(event: AuditEvent) -> ShredCertificate:
    try:
        return _certificate_of(event, event.after)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EnvelopeError(
            f"The audit event {event.number} does not hold the certificate that it was added with "
            f"({type(error).__name__}): it was changed in the database, and `python manage.py "
            "verify_audit_trail` has more."
        ) from error


def _certificate_of(event: AuditEvent, content: Any) -> ShredCertificate:
    return ShredCertificate(
        event=event.number,
        key_id=str(event.key_id),
        name=content["name"],
        versions=dict(content["versions"]),
        fields=tuple(FieldCount(*each) for each in content["values"]),
        destroyed_at=event.occurred_at,
        actor=event.actor_name or f"{event.actor_type} {event.actor_id}".strip(),
        last_use_by_kms=content["last_use_by_kms"],
        not_counted=tuple(content.get("not_counted", ())),
        lookups=tuple(content.get("lookups", ())),
    )
