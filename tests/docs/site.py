"""Makes a small site out of the Markdown documents: `python -m tests.docs.site FOLDER`; no network, no scripts.

markdown-it-py comes with Textual, so nothing is installed for it.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
FIRST = (
    "README.md",
    "docs/service.md",
    "docs/monitoring.md",
    "docs/evals.md",
    "docs/local-weights.md",
    "docs/mcp.md",
    "docs/pipelines.md",
    "docs/reference.md",
    "docs/faults.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
"""The order of the pages; other documents of docs/ come behind them."""
ELSEWHERE = ("https://", "http://", "mailto:")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; display: grid; grid-template-columns: 17rem minmax(0, 1fr); }
nav { padding: 1.5rem 1rem; border-right: 1px solid var(--line); font-size: .9rem; position: sticky; top: 0;
  height: calc(100vh - 3rem); overflow: auto; }
nav ul { list-style: none; padding-left: .8rem; margin: .2rem 0 .6rem; }
nav > ul { padding-left: 0; }
nav a { text-decoration: none; }
nav a[aria-current] { font-weight: bold; }
main { padding: 1.5rem 2rem 4rem; max-width: 70rem; }
code, pre { font: .88em/1.45 ui-monospace, monospace; background: var(--soft); border-radius: 3px; }
code { padding: .1em .25em; overflow-wrap: anywhere; }
pre { padding: .8rem; overflow: auto; }
pre code { padding: 0; background: none; }
table { border-collapse: collapse; display: block; overflow: auto; }
th, td { border: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
img { max-width: 100%; }
@media (max-width: 55rem) { body { display: block; } nav { position: static; height: auto; border: 0; } }
"""


@dataclass(frozen=True, slots=True)
class Page:
    """One document: where it is, where it goes, what it is called and its headings (level, anchor, text)."""

    source: Path
    name: str
    title: str
    tokens: list[Token]
    headings: tuple[tuple[int, str, str], ...]


def slug(heading: str) -> str:
    """Return the anchor a heading gets where the documents are read."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def documents() -> list[Path]:
    """Return every document in the order of the pages."""
    found = {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")}
    known = [ROOT / name for name in FIRST if ROOT / name in found]
    return known + sorted(found - set(known))


def write(folder: Path) -> list[Path]:
    """Write the site into a folder and return its pages; raises ValueError for a link to nothing."""
    pages = [_read(source) for source in documents()]
    named = {page.source: page.name for page in pages}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "style.css").write_text(STYLE, encoding="utf-8")
    for page in pages:
        for token in (inner for outer in page.tokens for inner in (outer, *(outer.children or ()))):
            for attribute in ("href", "src"):
                target = token.attrGet(attribute)
                if isinstance(target, str):
                    token.attrSet(attribute, _pointed(target, page, named, folder))
        (folder / page.name).write_text(_page(page, pages), encoding="utf-8")
    return [folder / page.name for page in pages]


def _read(source: Path) -> Page:
    tokens = _parser().parse(source.read_text(encoding="utf-8"))
    seen: dict[str, int] = {}
    headings: list[tuple[int, str, str]] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            anchor = slug(inline.content)
            again = seen[anchor] = seen.get(anchor, -1) + 1
            anchor += f"-{again}" if again else ""
            opening.attrSet("id", anchor)
            headings.append((int(opening.tag[1:]), anchor, text))
    title = next((text for level, _, text in headings if level == 1), source.stem)
    name = "index.html" if source == ROOT / "README.md" else f"{source.stem.lower()}.html"
    return Page(source, name, title, tokens, tuple(headings))


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def _pointed(target: str, page: Page, named: dict[Path, str], folder: Path) -> str:
    """Return a link as the site has it; a file that is no page is copied beside them."""
    if target.startswith(ELSEWHERE):
        return target
    path, _, anchor = target.partition("#")
    if not path:
        return target
    source = (page.source.parent / path).resolve()
    if source in named:
        return named[source] + (f"#{anchor}" if anchor else "")
    if not source.is_file() or not source.is_relative_to(ROOT):
        raise ValueError(f"{page.source.name} links {target}, which is no file of this project")
    copy = Path("files") / source.relative_to(ROOT)
    (folder / copy).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / copy)
    return copy.as_posix()


def _page(page: Page, pages: Sequence[Page]) -> str:
    parser = _parser()
    body = parser.renderer.render(page.tokens, parser.options, {})
    entries = "".join(_entry(each, here=each is page) for each in pages)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(page.title)} · RouterConsole</title>"
        '<link rel="stylesheet" href="style.css"></head>\n'
        f"<body><nav><ul>{entries}</ul></nav>\n<main>\n{body}</main></body></html>\n"
    )


def _entry(page: Page, *, here: bool) -> str:
    inside = "".join(
        f'<li><a href="#{anchor}">{html.escape(text)}</a></li>'
        for level, anchor, text in page.headings
        if here and level == 2
    )
    current = ' aria-current="page"' if here else ""
    below = f"<ul>{inside}</ul>" if inside else ""
    return f'<li><a href="{page.name}"{current}>{html.escape(page.title)}</a>{below}</li>'


def main(argv: Sequence[str]) -> int:
    """Write the site and say where it begins."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    pages = write(parser.parse_args(argv).folder)
    print(pages[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
