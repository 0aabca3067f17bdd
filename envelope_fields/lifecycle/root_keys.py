"""Whether root keys are ready, and versions that wait for one that may open them."""

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import TextChoices
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.lifecycle.context import performing
from envelope_fields.lifecycle.keys import Refused, collecting
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.wraps import StoredWraps
from envelope_fields.models import KeyState, MasterKeyVersion
from envelope_fields.root_keys import MayNotUnwrap


class Readiness(TextChoices):
    """What a root key can do for this process at this moment."""

    READY = "ready"
    WRAPS_ALONE = "wraps alone"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class RootKeyCheck:
    """What came of asking a root key.

    Attributes:
        root_key: its name in the settings.
        readiness: what it can do.
        message: what is wrong, and what to do; empty where nothing is.
    """

    root_key: str
    readiness: Readiness
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether this process can work with it."""
        return self.readiness in (Readiness.READY, Readiness.WRAPS_ALONE)


def check_root_keys() -> list[RootKeyCheck]:
    """Ask each root key of the settings whether it can wrap and unwrap, as KMS's DryRun does.

    For probes of readiness: a probe of liveness would restart healthy processes, which still have
    their material, while a service does not answer.

    Raises:
        ImproperlyConfigured: the settings of the package are wrong, or name no root key.
    """
    configuration().wrapping_root_key  # noqa: B018 - raises where there is none
    return [_checked(name) for name in configuration().root_keys]


def _checked(name: str) -> RootKeyCheck:
    try:
        keyring.check_root_key(name)
    except MayNotUnwrap as error:
        return RootKeyCheck(name, Readiness.WRAPS_ALONE, str(error))
    except RootKeyUnavailable as error:
        return RootKeyCheck(name, Readiness.UNAVAILABLE, str(error))
    except RootKeyRefused as error:
        return RootKeyCheck(name, Readiness.REFUSED, str(error))
    except ImproperlyConfigured as error:
        return RootKeyCheck(name, Readiness.MISCONFIGURED, str(error))
    return RootKeyCheck(name, Readiness.READY)


@dataclass(slots=True)
class Opened:
    """What `open_master_key_versions` did.

    Attributes:
        opened: the versions that were opened for the first time.
        refused: those that were not, and why; they serve nothing yet.
    """

    opened: list[MasterKeyVersion] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def open_master_key_versions(*, actor: Any = None) -> Opened:
    """Open the versions that no process has opened yet, so that the newest becomes current.

    A process whose root key lets it wrap and not unwrap makes such versions: values are written
    under the version before until a process that may unwrap has called this.

    Args:
        actor: as for `create_master_key`; needs the right to rotate each key.
    """
    versions = MasterKeyVersion.objects.using(configuration().database)
    waiting = versions.filter(opened_at__isnull=True, state=KeyState.ENABLED)
    done = Opened()
    for version in waiting.select_related("master_key").order_by("pk"):
        with collecting(done.refused, version):
            if _opened(version, actor):
                done.opened.append(version)
    return done


def _opened(version: MasterKeyVersion, actor: Any) -> bool:
    """Open a version; return False where another process has done so."""
    stored = StoredWraps.of(version)
    wraps = keyring.identified(stored.read, stored.further)  # in no transaction
    with performing(Operation.OPEN_VERSION, version.master_key_id, actor) as done:
        before, now = done.key.current_version.number, timezone.now()
        table = MasterKeyVersion.objects.using(done.using)
        waiting = table.filter(pk=version.pk, opened_at__isnull=True, state=KeyState.ENABLED)
        if not waiting.update(opened_at=now):
            return False
        # Some root keys say only when they open what they wrapped with.
        stored.replace(done.using, wraps)
        done.version, current = version, done.key.current_version.number
        done.record(
            Operation.OPEN_VERSION, {"current_version": before}, {"current_version": current}
        )
    version.opened_at = now
    return True
