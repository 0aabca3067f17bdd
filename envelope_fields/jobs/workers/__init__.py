"""What has runs worked on that are started where no process can wait: in the admin, over the API.

A worker is one backend a module. A project names its own in the setting `ROTATION_WORKER`.
Nothing else is imported here: a process of a pool imports this before Django is set up.
"""

from abc import ABC, abstractmethod
from uuid import UUID


class RotationWorker(ABC):
    """Has runs worked on, in another process or later.

    Args:
        **options: the `OPTIONS` of the setting `ROTATION_WORKER`.
    """

    @abstractmethod
    def begin(self, run_id: UUID) -> None:
        """Have a run worked on soon, and return at once.

        It may be asked twice for the same run. `envelope_fields.jobs.tasks` has what is to be done:
        `begin_task` and `move_task`.

        Raises:
            Exception: the worker cannot be reached; `jobs.dispatch` sees to the run.
        """
