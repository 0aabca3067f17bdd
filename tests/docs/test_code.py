from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.docs.pages import RUN, SHOWN, Block, Page, pages
from tests.docs.project import Project

# Their code is run by tests of their own.
TESTED_ELSEWHERE = ("docs/spec/", "docs/how-to/rotate-a-search-key.md")

# What is done in a project before it follows a page. No process is under way that knows keys for
# the minute that README.md leaves it at, for which the page would wait; these seconds it shows.
BEFORE = {
    "docs/how-to/encrypt-a-live-column.md": (
        """echo 'ENVELOPE_FIELDS["KEY_CACHE_SECONDS"] = 20' >> mysite/settings.py""",
        "python manage.py shell -c 'from envelope_fields.models import KeyCacheBound as Bound; "
        "Bound.objects.update(seconds=20)'",
    ),
}

PAGES = [page for page in pages() if not str(page).startswith(TESTED_ELSEWHERE)]
BLOCKS = [block for page in PAGES for block in page.blocks]


class Projects(dict[str, Project]):
    """The projects that pages make, each made when it is first asked for."""

    def __init__(self, directory: Path, commands: Path) -> None:
        self.directory = directory
        self.commands = commands

    def __missing__(self, name: str) -> Project:
        [page] = [page for page in PAGES if str(page) == name]
        directory = Path(mkdtemp(dir=self.directory)) / "project"
        if page.continues:
            project = self[page.continues].copy(directory)
        else:
            project = Project.empty(directory, self.commands)
        if name in BEFORE:
            project.run(*BEFORE[name])
        project.follow(page)
        self[name] = project
        return project


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> Projects:
    return Projects(tmp_path_factory.mktemp("pages"), commands)


@pytest.mark.any_django
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page)) for page in PAGES if page.runnable],
)
def test_the_blocks_of_a_page_run_in_order(page: Page, projects: Projects) -> None:
    assert projects[str(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    if block.mark == "skip":
        assert block.detail, f"{block} is skipped without a reason"
    elif not block.language.startswith("{"):  # a directive of Sphinx
        assert block.language in (*RUN, *SHOWN), f"{block}: nothing runs {block.language!r}"
