"""Makes docs/faults.md, each id of the catalogue with its tests: `python -m tests.docs.faults_report --write`."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "docs" / "faults_catalogue.yaml"
REPORT = ROOT / "docs" / "faults.md"
TESTS = ROOT / "tests"

PRIORITIES = {0: "gate", 1: "before 1.0", 2: "aim"}

HEAD = """\
# Faults and bad input

Made by `make docs` from the catalogue and the names of the tests; do not edit it. A test carries
the ids it proves in its name (`test_U13_…`, `test_C1_19_…`). *Open* names the issue that owns what is not tested yet.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One id: its priority, what it is about in short, and the issue that owns it."""

    id: str
    priority: int
    says: str
    issue: int


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the catalogue."""

    title: str
    rows: tuple[Row, ...]


def catalogue(text: str | None = None) -> tuple[Section, ...]:
    """Return the catalogue's sections; raise ValueError for a row that is not understood or an id given twice."""
    document = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8") if text is None else text)
    seen: set[str] = set()
    sections = []
    for section in document["sections"]:
        rows = []
        for name, value in section["rows"].items():
            if name in seen:
                raise ValueError(f"{name} stands twice in the catalogue")
            seen.add(name)
            priority, says, *issue = value
            if priority not in PRIORITIES or not isinstance(says, str) or len(issue) > 1:
                raise ValueError(f"{name}: not [priority, text, issue]: {value!r}")
            rows.append(Row(name, priority, says, issue[0] if issue else section["issue"]))
        sections.append(Section(section["title"], tuple(rows)))
    return tuple(sections)


def ids_in(name: str) -> list[str]:
    """Return the ids a test's name carries, in order."""
    parts = name.removeprefix("test_").split("_")
    found = []
    for n, part in enumerate(parts):
        if re.fullmatch(r"[A-Z]\d\d", part):
            found.append(part)
        elif re.fullmatch(r"C\d", part) and n + 1 < len(parts) and re.fullmatch(r"\d\d", parts[n + 1]):
            found.append(f"{part}-{parts[n + 1]}")
    return found


def named_by_id() -> Mapping[str, list[str]]:
    """Return `file::test` by id, from every test function and method below tests/."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        where = path.relative_to(TESTS).as_posix()
        for name in _names(ast.parse(path.read_text(encoding="utf-8"))):
            for each in ids_in(name):
                listed = found.setdefault(each, [])
                if f"{where}::{name}" not in listed:
                    listed.append(f"{where}::{name}")
    return found


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


def report(sections: tuple[Section, ...], tested: Mapping[str, list[str]]) -> str:
    """Return the document."""
    lines = [HEAD, *_summary(sections, tested)]
    for section in sections:
        lines += [f"\n## {section.title}\n", "| id | priority | what | status | tests |", "|---|---|---|---|---|"]
        for row in section.rows:
            names = tested.get(row.id, [])
            status = "tested" if names else f"open (issue {row.issue})"
            shown = "<br>".join(f"`{name}`" for name in names)
            lines.append(f"| {row.id} | {PRIORITIES[row.priority]} | {row.says} | {status} | {shown} |")
    return "\n".join(lines) + "\n"


def _summary(sections: tuple[Section, ...], tested: Mapping[str, list[str]]) -> Iterator[str]:
    yield "| part | gates tested | others tested |"
    yield "|---|---|---|"
    for section in sections:
        gates = [row for row in section.rows if row.priority == 0]
        others = [row for row in section.rows if row.priority > 0]
        done = [sum(row.id in tested for row in rows) for rows in (gates, others)]
        yield f"| {section.title} | {done[0]} of {len(gates)} | {done[1]} of {len(others)} |"


def main() -> int:
    """Write the document, or print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/faults.md instead of printing it")
    made = report(catalogue(), named_by_id())
    if parser.parse_args().write:
        REPORT.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
