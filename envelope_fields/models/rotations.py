"""Rotations of stored values: what was asked for, how far it is, and what could not be moved."""

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.choices import ListField, StoredChoices, UnknownChoice
from envelope_fields.models.keys import PRINCIPAL_ID_LENGTH, PRINCIPAL_TYPE_LENGTH, MasterKey


class RotationKind(StoredChoices):
    """What becomes of a value."""

    REWRAP = "rewrap", _("rewrap")  # the same data key under the current version
    RE_ENCRYPT = "re_encrypt", _("re-encrypt")  # a new data key and ciphertext
    CONVERT = "convert", _("convert")  # from another package's format, into an envelope
    FILL = "fill", _("fill")  # from a column in clear, into the encrypted one beside it
    COMPARE = "compare", _("compare")  # both columns, and fill again what differs
    EMPTY = "empty", _("empty")  # the column in clear
    REBUILD_INDEX = "rebuild_index", _("index rebuild")  # its blind index is written
    VERIFY_INDEX = "verify_index", _("index verification")  # its blind index is compared


class RotationState(StoredChoices):
    """How far a run is."""

    PENDING = "pending", _("pending")  # no process works on it yet
    RUNNING = "running", _("running")
    PAUSED = "paused", _("paused")
    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")
    FAILED = "failed", _("failed")  # it stopped, and says why; a new run goes on where it was


ACTIVE_STATES = (RotationState.PENDING, RotationState.RUNNING, RotationState.PAUSED)


class RotationRun(models.Model):
    """One run that moves values under master keys; it outlives the processes that work on it.

    What remains to be done is what the census says: this row and those below only record it.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(_("kind"), max_length=16, choices=RotationKind)
    master_key = models.ForeignKey(
        MasterKey,
        null=True,  # where it is about several keys, or none: `keys` has them
        on_delete=models.DO_NOTHING,  # keys are never deleted
        related_name="runs",
        verbose_name=_("master key"),
    )
    state = models.CharField(
        _("state"), max_length=16, choices=RotationState, default=RotationState.PENDING
    )
    only_versions = ListField(_("only versions"), of=int, default=list)  # empty is all
    only_fields = ListField(_("only fields"), default=list)  # app.model.field; as above
    only_database = models.CharField(_("only database"), max_length=100, blank=True)
    limits = models.JSONField(_("limits"), default=dict)
    actor_type = models.CharField(_("actor type"), max_length=PRINCIPAL_TYPE_LENGTH)
    actor_id = models.CharField(_("actor id"), max_length=PRINCIPAL_ID_LENGTH, blank=True)
    actor_name = models.CharField(_("actor"), max_length=254, blank=True)
    pass_number = models.PositiveIntegerField(_("pass"), default=1)  # over its columns, from 1
    is_planned = models.BooleanField(_("is planned"), default=False)  # all ranges of the pass
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    resumed_at = models.DateTimeField(_("resumed at"), null=True)
    moved_before = models.BigIntegerField(_("moved before"), default=0)  # it was resumed
    heartbeat_at = models.DateTimeField(_("heartbeat at"), null=True)  # of its workers
    finished_at = models.DateTimeField(_("finished at"), null=True)
    error = models.TextField(_("error"), blank=True)
    # By them a start that is sent again is known; see `jobs.dispatch`. NULL where it is not to be:
    # only that may be there twice.
    start_token = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001 - so
    start_digest = models.CharField(max_length=64, blank=True, editable=False)

    class Meta:
        verbose_name = _("rotation run")
        verbose_name_plural = _("rotation runs")
        ordering: ClassVar = ["-created_at", "pk"]
        default_permissions = ("add", "change", "view")

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def is_about_field(self) -> bool:
        """Whether it is about a field, which `only_fields` names, and not about keys."""
        return self.kind not in (RotationKind.REWRAP, RotationKind.RE_ENCRYPT)

    @property
    def only_field(self) -> str:
        """The field that it is about; `UnknownChoice` where its row names none, or several."""
        if len(self.only_fields) != 1:
            raise UnknownChoice(
                f"The run {self} is about one field, and its row names {len(self.only_fields)}: it "
                "was changed in the database. Cancel the run, and start another one."
            )
        return str(self.only_fields[0])

    @property
    def is_active(self) -> bool:
        """Whether it is not over: no other run of its key may begin."""
        return self.state in ACTIVE_STATES


class RotationKey(models.Model):
    """A master key that a run is about."""

    run = models.ForeignKey(RotationRun, on_delete=models.CASCADE, related_name="keys")
    master_key = models.ForeignKey(
        MasterKey,
        on_delete=models.DO_NOTHING,  # keys are never deleted
        related_name="+",
        verbose_name=_("master key"),
    )
    # The key's id while the run is not over: by it the database itself refuses a second run.
    active_key = models.UUIDField(null=True, unique=True, editable=False)
    # Of a run about several keys: by the census as it began, and at its last look.
    total = models.BigIntegerField(_("total"), default=0)
    remaining = models.BigIntegerField(_("remaining"), default=0)

    class Meta:
        verbose_name = _("key of a rotation")
        verbose_name_plural = _("keys of rotations")
        default_permissions = ()
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return str(self.master_key)


class RotationColumn(models.Model):
    """A column of one database that a run goes over: where it is, by the names of its field."""

    run = models.ForeignKey(RotationRun, on_delete=models.CASCADE, related_name="columns")
    database = models.CharField(_("database"), max_length=100)
    schema = models.CharField(_("schema"), max_length=63, blank=True, default="")  # of PostgreSQL
    model = models.CharField(_("model"), max_length=200)  # app_label.Model
    field = models.CharField(_("field"), max_length=200)
    total = models.BigIntegerField(_("total"), default=0)  # by the census, as the run began

    class Meta:
        verbose_name = _("column of a rotation")
        verbose_name_plural = _("columns of rotations")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.model}.{self.field}"

    @property
    def named_schema(self) -> str | None:
        """The schema, where it has to be named."""
        return None if self.schema in ("", "public") else self.schema


class RotationRange(models.Model):
    """Rows between two primary keys, which one worker goes through, batch by batch."""

    column = models.ForeignKey(RotationColumn, on_delete=models.CASCADE, related_name="ranges")
    pass_number = models.PositiveIntegerField(_("pass"))
    number = models.PositiveIntegerField(_("number"))
    # Primary keys as the database driver has them, as text (`jobs.job`).
    after = models.TextField(_("after"), blank=True)  # empty: from the first row
    until = models.TextField(_("until"))
    claimed_at = models.DateTimeField(_("claimed at"), null=True)
    done_at = models.DateTimeField(_("done at"), null=True)
    moved = models.BigIntegerField(_("moved"), default=0)
    skipped = models.BigIntegerField(_("skipped"), default=0)  # others wrote or locked them
    kept = models.BigIntegerField(_("kept"), default=0)  # they are where they belong
    failed = models.BigIntegerField(_("failed"), default=0)

    class Meta:
        verbose_name = _("range of a rotation")
        verbose_name_plural = _("ranges of rotations")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["column", "pass_number", "number"], name="envelope_rotation_range"
            )
        ]

    def __str__(self) -> str:
        return f"{self.column}, pass {self.pass_number}, range {self.number}"


class RotationFailure(models.Model):
    """A value that could not be moved, and why; nothing of the value itself."""

    range = models.ForeignKey(RotationRange, on_delete=models.CASCADE, related_name="failures")
    row = models.TextField(_("row"))  # its primary key
    version_id = models.CharField(_("version id"), max_length=16)  # hexadecimal
    cause = models.CharField(_("cause"), max_length=200)  # the class of the error
    message = models.TextField(_("message"))

    class Meta:
        verbose_name = _("failure of a rotation")
        verbose_name_plural = _("failures of rotations")
        default_permissions = ()
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.range.column} {self.row}: {self.cause}"
