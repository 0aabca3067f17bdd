"""Actions in words. In the trail, the log and grants they are KMS's names, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

_WORDS = {
    "encrypt": _("encrypt"),
    "decrypt": _("decrypt"),
    "generate_data_key": _("generate data keys"),
    "re_encrypt": _("re-encrypt"),
    "describe": _("describe"),
    "rotate": _("rotate"),
    "enable": _("enable"),
    "disable": _("disable"),
    "schedule_deletion": _("schedule deletion"),
    "cancel_deletion": _("cancel deletion"),
    "manage_grants": _("manage grants"),
    "view_audit": _("view the audit trail"),
    # In the trail alone.
    "create_key": _("create key"),
    "update_key": _("update key"),
    "move_alias": _("move alias"),
    "confirm_deletion": _("confirm deletion"),
    "destroy": _("destroy"),
    "shred": _("shred"),
    "create_grant": _("create grant"),
    "revoke_grant": _("revoke grant"),
    "rewrap_master_key": _("rewrap master key"),
    "rewrap_audit_key": _("rewrap audit key"),
    "lower_key_cache_bound": _("lower the bound of key caches"),
    "start_rotation": _("start rotation"),
    "pause_rotation": _("pause rotation"),
    "resume_rotation": _("resume rotation"),
    "limit_rotation": _("limit rotation"),
    "cancel_rotation": _("cancel rotation"),
    "complete_rotation": _("complete rotation"),
    "fail_rotation": _("fail rotation"),
}


def in_words(action: str) -> str:
    """Return an action as people read it; one that is not known here has its own name."""
    return str(_WORDS.get(action, action.replace("_", " ")))


def all_in_words(actions: Iterable[str]) -> str:
    """Return actions as people read them, in a row."""
    return ", ".join(map(in_words, actions))
