"""The command `python` of the projects that pages make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.project import empty_environment
from tests.fork_server import ForkServer, write_stand_in


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the command `python`, which begins with Django imported."""
    directory = tmp_path_factory.mktemp("commands")
    server = ForkServer(directory / "server", empty_environment())
    write_stand_in(directory / "python", server.path)
    yield directory
    server.close()
