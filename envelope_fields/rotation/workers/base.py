"""What a worker is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID


class RotationWorker(ABC):
    """Has runs worked on, elsewhere or later.

    Args:
        **options: the `OPTIONS` of the setting `ROTATION_WORKER`.
    """

    @abstractmethod
    def begin(self, run_id: UUID) -> None:
        """Have somebody work on a run soon, and return at once.

        It may be asked twice for the same run. `rotation.tasks` has what is to be done.

        Raises:
            Exception: the worker cannot be reached; `workers.send` sees to the run.
        """
