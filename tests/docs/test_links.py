import re
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from tests.docs.pages import Page, pages

LINKS = [
    pytest.param(page, link, id=f"{page}: {link}")
    for page in pages()
    for link in sorted(set(page.links))
    if not re.match(r"[a-z]+:", link)
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_relative_link_resolves(page: Page, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.path.parent / path if path else page.path
    assert target.exists(), f"{page} links to {link}, which does not exist"
    if anchor and target.suffix == ".md":
        assert anchor in anchors(Page(target)), f"{page} links to {link}: no such heading"


def anchors(page: Page) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them, and its MyST targets."""
    tokens = MarkdownIt("commonmark").parse(page.text)
    headings = [
        following.content for token, following in pairwise(tokens) if token.type == "heading_open"
    ]
    made = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
    return made | set(re.findall(r"^\((.+)\)=$", page.text, flags=re.MULTILINE))
