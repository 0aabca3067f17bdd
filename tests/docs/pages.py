"""The pages of the documentation, with their code blocks and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent.parent
RUN = ("python", "pycon", "console")
SHOWN = ("text", "json", "sql", "yaml", "toml", "ini", "nginx")

_COMMENT = re.compile(r"<!-- test: (?P<mark>continues|fails|skip)(:? (?P<detail>.+?))? -->\s*")


@dataclass(frozen=True)
class Block:
    page: "Page"
    line: int
    language: str
    text: str
    mark: str
    detail: str

    def __str__(self) -> str:
        return f"{self.page}, line {self.line}"


@dataclass(frozen=True)
class Page:
    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        blocks, mark, detail = [], "", ""
        for token in self.tokens:
            if token.type == "fence":
                language = token.info.split(" ")[0]
                blocks.append(Block(self, token.map[0] + 1, language, token.content, mark, detail))
            comment = token.type == "html_block" and _COMMENT.fullmatch(token.content)
            mark, detail = (comment["mark"], comment["detail"] or "") if comment else ("", "")
        return blocks

    @property
    def runnable(self) -> list[Block]:
        return [block for block in self.blocks if block.language in RUN and block.mark != "skip"]

    @property
    def continues(self) -> str:
        found = _COMMENT.match(self.text)
        return found["detail"] if found and found["mark"] == "continues" else ""

    @property
    def tables(self) -> dict[str, list[list[str]]]:
        """The rows of its tables, as Markdown; a table goes by its first heading."""
        tables: list[list[list[str]]] = []
        previous = ""
        for token in self.tokens:
            if token.type == "table_open":
                tables.append([])
            elif token.type == "tr_open":
                tables[-1].append([])
            elif previous in ("th_open", "td_open"):
                tables[-1][-1].append(token.content)
            previous = token.type
        return {rows[0][0]: rows[1:] for rows in tables}

    @property
    def links(self) -> Iterator[str]:
        for token in self.tokens:
            for inline in token.children or ():
                target = inline.attrs.get("href") or inline.attrs.get("src")
                if target:
                    yield str(target)


@cache  # each is parsed once, for its blocks and for its links
def pages() -> tuple[Page, ...]:
    built = ROOT / "docs" / "_build"
    documents = sorted(ROOT.glob("docs/**/*.md"))
    found = (ROOT / "README.md", *documents)
    return tuple(Page(path) for path in found if built not in path.parents)
