"""The operations on keys: each is here once, with all that the admin, the API and commands need.

An operation has a name (of its events in the audit trail), what it takes (a permission of Django,
and an action that a grant allows), the states between which it leads, its words, what confirms it,
and where the surfaces have it. The function that does it is marked with `performs`.

AWS KMS has the same states for its keys ("Key states of AWS KMS keys"). What is not here is
refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar

from django.utils.translation import gettext_lazy as _

from envelope_fields.lifecycle.parameters import ALIAS, CONFIRM, DAYS, Parameter, Text
from envelope_fields.models import KeyState
from envelope_fields.policy import Action

Transitions = Mapping[KeyState, KeyState]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_ENABLED, _DISABLED = KeyState.ENABLED, KeyState.DISABLED
_PENDING, _DESTROYED = KeyState.PENDING_DELETION, KeyState.DESTROYED
_EITHER = {_ENABLED: _ENABLED, _DISABLED: _DISABLED}


class Confirmation(StrEnum):
    """What the user types, or passes, to confirm an operation."""

    NONE = "none"
    NAME = "name"  # the name of the key
    LAST_USE = "last_use"  # the name and the last use, where data is lost that no census counts
    VALUES = "values"  # the name, and the number of values in each field


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What the registry has of an operation; `Operation` says what each is."""

    label: Text
    past: Text = ""
    phrase: Text = ""
    description: str = ""
    action: Action = Action.ROTATE
    codename: str = ""
    transitions: Transitions = field(default_factory=dict)
    of_versions: bool = False
    confirmation: Confirmation = Confirmation.NONE
    parameters: tuple[Parameter, ...] = ()
    button: Text = ""
    segment: str = ""
    command: str = ""


class Operation(StrEnum):
    """What can be done to a key; the values name the events of the audit trail.

    Attributes:
        label: what it is called, as in a list of events: "schedule deletion".
        past: what the key then is: "unusable, and will be destroyed".
        phrase: the same before the name of a key, where it is not the label: "update".
        description: what it does, in sentences.
        action: what a grant must allow. An alias and a period decide under which material the next
            values are written, as a rotation does.
        codename: the permission of Django's that a user needs; empty where users cannot do it.
        transitions: from which state to which. One that leads to the state where the key is already
            changes nothing there.
        of_versions: whether it is also done to a version that is not current.
        confirmation: what confirms it.
        parameters: what it is given.
        button: what is on its button in the admin; empty where it has none there.
        segment: of its address in the API; empty where it has no address of its own.
        command: which command does it; empty where none does.
        perform: the function of the package that does it, where one does: called with the `key`, an
            `actor` and the parameters.
    """

    label: Text
    past: Text
    phrase: Text
    description: str
    action: Action
    codename: str
    transitions: Transitions
    of_versions: bool
    confirmation: Confirmation
    parameters: tuple[Parameter, ...]
    button: Text
    segment: str
    command: str
    perform: Callable[..., Any]

    def __new__(cls, name: str, entry: _Entry = _Entry(label="")) -> Self:
        operation = str.__new__(cls, name)
        operation._value_ = name
        for attribute in _Entry.__dataclass_fields__:
            setattr(operation, attribute, getattr(entry, attribute))
        return operation

    # In the order of the buttons.
    # fmt: off
    CREATE = "create_key", _Entry(
        label=_("create key"), past=_("made"), codename="add_masterkey",
        description="Make a key with its first version.",
        command="create_master_key",
    )
    UPDATE = "update_key", _Entry(
        label=_("update key"), past=_("changed"), phrase=_("update"), codename="change_masterkey",
        description="Change a key's description, rotation period or use by the application.",
        transitions=_EITHER, command="update_master_key",
    )
    ROTATE = "rotate", _Entry(
        label=_("rotate"), past=_("rotated"), codename="rotate_masterkey",
        description="Make a new version, under which values are written from now on.",
        transitions={_ENABLED: _ENABLED},
        button=_("Rotate"), segment="rotate", command="rotate_master_key",
    )
    ENABLE = "enable", _Entry(
        label=_("enable"), past=_("enabled"), action=Action.ENABLE, codename="enable_masterkey",
        description="Make a disabled key or version usable again.",
        transitions={_ENABLED: _ENABLED, _DISABLED: _ENABLED}, of_versions=True,
        button=_("Enable"), segment="enable", command="enable_master_key",
    )
    DISABLE = "disable", _Entry(
        label=_("disable"), past=_("disabled"), action=Action.DISABLE, codename="disable_masterkey",
        description="Make a key, or a version that is not current, unusable until it is enabled.",
        transitions={_ENABLED: _DISABLED, _DISABLED: _DISABLED}, of_versions=True,
        button=_("Disable"), segment="disable", command="disable_master_key",
    )
    ADOPT = "adopt", _Entry(
        label=_("adopt"), past=_("adopted"),
        description="Let fields that name the alias of a key that a user made write under it.",
        command="adopt_master_key",
    )
    MOVE_ALIAS = "move_alias", _Entry(
        label=_("move alias"), past=_("found by the alias"), phrase=_("move an alias to"),
        codename="move_alias_masterkey",
        description="Give an alias to a key; the key that had it is named by its id.",
        transitions=_EITHER, parameters=(ALIAS,),
        button=_("Move alias"), command="move_alias",
    )
    SCHEDULE_DELETION = "schedule_deletion", _Entry(
        label=_("schedule deletion"), past=_("unusable, and will be destroyed"),
        phrase=_("schedule the deletion of"),
        action=Action.SCHEDULE_DELETION, codename="schedule_deletion_masterkey",
        description="Make a key or version unusable now, and have it destroyed after a waiting "
        "period.\n\nRefused while values are stored under it. Where kms gave out data under it, "
        "copies are stored as text, or something was not counted, `confirm` must quote its last "
        "use.",
        transitions={_ENABLED: _PENDING, _DISABLED: _PENDING, _PENDING: _PENDING}, of_versions=True,
        confirmation=Confirmation.LAST_USE, parameters=(DAYS, CONFIRM),
        button=_("Schedule deletion"), segment="schedule-deletion", command="schedule_key_deletion",
    )
    CANCEL_DELETION = "cancel_deletion", _Entry(
        label=_("cancel deletion"), past=_("disabled"), phrase=_("cancel the deletion of"),
        action=Action.CANCEL_DELETION, codename="cancel_deletion_masterkey",
        description="Take a deletion back, which leaves the key or version disabled.",
        transitions={_DISABLED: _DISABLED, _PENDING: _DISABLED}, of_versions=True,
        button=_("Cancel deletion"), segment="cancel-deletion", command="cancel_key_deletion",
    )
    SHRED = "shred", _Entry(
        label=_("shred"), past=_("destroyed"),
        action=Action.SCHEDULE_DELETION, codename="shred_masterkey",
        description="Destroy a key or version together with all values under it.",
        transitions={  # by way of disabled
            _ENABLED: _DESTROYED, _DISABLED: _DESTROYED, _PENDING: _DESTROYED,
        }, of_versions=True,
        confirmation=Confirmation.VALUES,
        button=_("Shred"), segment="shred", command="shred_master_key",
    )
    DESTROY = "destroy", _Entry(
        label=_("destroy"), past=_("destroyed"), action=Action.SCHEDULE_DELETION,
        description="Destroy a key or version whose waiting period is over.",
        transitions={_PENDING: _DESTROYED}, of_versions=True, command="destroy_due_keys",
    )
    CREATE_GRANT = "create_grant", _Entry(
        label=_("create grant"), action=Action.MANAGE_GRANTS, codename="add_keygrant",
        command="grant_key",
    )
    REVOKE_GRANT = "revoke_grant", _Entry(
        label=_("revoke grant"), action=Action.MANAGE_GRANTS, codename="delete_keygrant",
        command="revoke_grant",
    )
    START_ROTATION = "start_rotation", _Entry(
        label=_("start rotation"), action=Action.RE_ENCRYPT, codename="add_rotationrun",
        button=_("Move values"), command="rewrap",
    )
    PAUSE_ROTATION = "pause_rotation", _Entry(
        label=_("pause rotation"), past=_("paused"),
        action=Action.RE_ENCRYPT, codename="change_rotationrun",
        description="Let a rotation rest after the batches that are under way.",
        button=_("Pause"), segment="pause", command="rotation_runs",
    )
    RESUME_ROTATION = "resume_rotation", _Entry(
        label=_("resume rotation"), past=_("resumed"),
        action=Action.RE_ENCRYPT, codename="change_rotationrun",
        description="Let a rotation go on, also where its worker was lost.",
        button=_("Resume"), segment="resume", command="rotation_runs",
    )
    CANCEL_ROTATION = "cancel_rotation", _Entry(
        label=_("cancel rotation"), past=_("cancelled"),
        action=Action.RE_ENCRYPT, codename="change_rotationrun",
        description="End a rotation where it is. What was moved stays moved.",
        button=_("Cancel run"), segment="cancel", command="rotation_runs",
    )

    # On blind indexes and conversions.
    BEGIN_INDEX = "begin_index", _Entry(label=_("begin index"))
    CHANGE_INDEX = "change_index", _Entry(
        label=_("change the state of an index"), codename="change_blindindex",
        description="Bring a blind index to another state.",
        button=_("Change state"), command="rebuild_indexes",
    )
    REBUILD_INDEX = "rebuild_index", _Entry(
        label=_("rebuild index"), action=Action.RE_ENCRYPT, codename="add_rotationrun",
        description="Have the index of each row written where it is not what its values give.",
        button=_("Rebuild"), command="rebuild_indexes",
    )
    VERIFY_INDEX = "verify_index", _Entry(
        label=_("verify index"), action=Action.RE_ENCRYPT, codename="add_rotationrun",
        description="Have the values of every row opened, and its index compared.",
        button=_("Verify"), command="verify_indexes",
    )
    START_CONVERSION = "start_conversion", _Entry(
        label=_("start conversion"), action=Action.RE_ENCRYPT, codename="change_columnconversion",
        description="Have the values of a field converted, filled, compared or emptied.",
        button=_("Convert"), command="convert_field",
    )
    CHANGE_CONVERSION_PHASE = "change_conversion_phase", _Entry(
        label=_("change the phase of a conversion"), action=Action.RE_ENCRYPT,
        codename="change_columnconversion",
        description="Bring a column in clear to another phase.",
        button=_("Change phase"), command="convert_field",
    )
    FINISH_CONVERSION = "finish_conversion", _Entry(
        label=_("finish conversion"), action=Action.RE_ENCRYPT, codename="change_columnconversion",
        description="End the conversion of a field of which nothing is left.",
        button=_("Finish"), command="convert_field",
    )
    # In the audit trail alone.
    RENAME_CONVERSION = "rename_conversion", _Entry(
        label=_("rename conversion"), command="conversions"
    )
    FORGET_CONVERSION = "forget_conversion", _Entry(
        label=_("forget conversion"), command="conversions"
    )
    LOAD_FIXTURE = "load_fixture", _Entry(label=_("load fixture"))
    CONFIRM_DELETION = "confirm_deletion", _Entry(label=_("confirm deletion"))
    LIMIT_ROTATION = "limit_rotation", _Entry(label=_("limit rotation"))
    COMPLETE_ROTATION = "complete_rotation", _Entry(label=_("complete rotation"))
    FAIL_ROTATION = "fail_rotation", _Entry(label=_("fail rotation"))
    REWRAP_MASTER_KEY = "rewrap_master_key", _Entry(label=_("rewrap master key"))
    OPEN_VERSION = "open_version", _Entry(
        label=_("open version"), command="open_master_key_versions"
    )
    REWRAP_AUDIT_KEY = "rewrap_audit_key", _Entry(label=_("rewrap audit key"))
    LOWER_KEY_CACHE_BOUND = "lower_key_cache_bound", _Entry(
        label=_("lower the bound of key caches"), command="lower_key_cache_bound"
    )
    # fmt: on

    @property
    def permission(self) -> str:
        """The permission of Django's, as `has_perm` takes it."""
        return f"envelope_fields.{self.codename}"


def performs(operation: Operation) -> Callable[[_Function], _Function]:
    """Mark the function that does an operation."""

    def mark(function: _Function) -> _Function:
        operation.perform = function
        return function

    return mark
