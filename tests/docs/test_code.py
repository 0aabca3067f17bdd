import os
from pathlib import Path

import pytest

from tests.docs.pages import RUN, SHOWN, Block, Page, pages
from tests.docs.project import Project

# Each page makes an SQLite database of its own, whatever the other tests run on.
pytestmark = pytest.mark.skipif(
    os.environ.get("ENVELOPE_TEST_DB", "sqlite") != "sqlite", reason="pages run on SQLite"
)

# Their code is run by tests of their own.
TESTED_ELSEWHERE = ("docs/spec/",)

PAGES = [page for page in pages() if not str(page).startswith(TESTED_ELSEWHERE)]
BLOCKS = [block for page in PAGES for block in page.blocks]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """The projects of pages that others continue, made when the first one asks."""

    class Finished(dict[str, Project]):
        def __missing__(self, page: str) -> Project:
            directory = tmp_path_factory.mktemp("finished") / "project"
            directory.mkdir()
            [path] = [candidate for candidate in PAGES if str(candidate) == page]
            self[page] = Project.empty(directory).follow(path)
            return self[page]

    return Finished()


@pytest.mark.parametrize("page", [page for page in PAGES if page.runnable], ids=str)
def test_the_blocks_of_a_page_run_in_order(
    page: Page, finished: dict[str, Project], tmp_path: Path
) -> None:
    directory = tmp_path / "project"
    directory.mkdir()
    if page.continues:
        project = finished[str(page.continues)].copy(directory)
    else:
        project = Project.empty(directory)
    project.follow(page)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    if block.mark == "skip":
        assert block.detail, f"{block} is skipped without a reason"
    elif not block.language.startswith("{"):  # a directive of Sphinx
        assert block.language in (*RUN, *SHOWN), f"{block}: nothing runs {block.language!r}"
