"""The tables: state and constraints. No plaintext key comes near here."""

from envelope_fields.models.audit import (
    AuditChainProtected,
    AuditEvent,
    AuditEventProtected,
    AuditHead,
    AuditKey,
    AuditOutcome,
    KeyUse,
)
from envelope_fields.models.choices import KeyManager, KeyState, KeyUsage
from envelope_fields.models.conversions import (
    ColumnConversion,
    ColumnPhase,
    ConversionKind,
    LegacyRead,
)
from envelope_fields.models.grants import KeyGrant
from envelope_fields.models.indexes import BlindIndex, BlindIndexKey, IndexState
from envelope_fields.models.key_changes import KeyRowProtected
from envelope_fields.models.keys import (
    DEFAULT_ALIAS,
    OVERWRITTEN,
    FurtherWrap,
    KeyCacheBound,
    MasterKey,
    MasterKeyVersion,
    VersionIdField,
)
from envelope_fields.models.rotations import (
    ACTIVE_STATES,
    RotationColumn,
    RotationFailure,
    RotationKey,
    RotationKind,
    RotationRange,
    RotationRun,
    RotationState,
)
from envelope_fields.models.state_changes import StateChange

__all__ = [
    "ACTIVE_STATES",
    "DEFAULT_ALIAS",
    "OVERWRITTEN",
    "AuditChainProtected",
    "AuditEvent",
    "AuditEventProtected",
    "AuditHead",
    "AuditKey",
    "AuditOutcome",
    "BlindIndex",
    "BlindIndexKey",
    "ColumnConversion",
    "ColumnPhase",
    "ConversionKind",
    "FurtherWrap",
    "IndexState",
    "KeyCacheBound",
    "KeyGrant",
    "KeyManager",
    "KeyRowProtected",
    "KeyState",
    "KeyUsage",
    "KeyUse",
    "LegacyRead",
    "MasterKey",
    "MasterKeyVersion",
    "RotationColumn",
    "RotationFailure",
    "RotationKey",
    "RotationKind",
    "RotationRange",
    "RotationRun",
    "RotationState",
    "StateChange",
    "VersionIdField",
]
