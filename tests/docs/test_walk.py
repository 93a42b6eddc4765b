"""A stranger's walk, its cheap part: each block of the documents has its use, each name in the text exists.

The whole walk, on terminals and over sockets, is tests/acceptance/test_strangers_walk.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.reference import ROOT, leaves, settings
from tests.docs.walk import SHELLS, WORDS, Block, Walk, blocks, pages

from routerconsole.cli.parser import build
from routerconsole.console.actions import ACTIONS, shown_key

WRITTEN = [page for page in pages() if page.name not in {"reference.md", "faults.md"}]
BLOCKS = [block for page in pages() for block in blocks(page)]
OTHERS_OPTIONS = {
    "--user", "--now", "--alias", "--host", "--port", "--question", "--out", "--local", "--model", "--quiet",
}  # fmt: skip
"""Options of systemctl, llama-server and the example scripts."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_every_block_is_run_or_says_why_not(block: Block) -> None:
    """What a reader may copy is walked; a reason names a test, if any, that exists."""
    assert block.word in WORDS, f"{block.place}: no `walk: {block.word}`"
    assert block.language == SHELLS.get(block.word, block.language), f"{block.place}: say what a reader does with it"
    assert (block.word in {"run", "stays", "output"}) != bool(block.more), f"{block.place}: {block.more or 'why?'}"
    named = re.findall(r"\b(?:tests|examples)/[\w/.]*\w", block.more)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_nothing_to_copy_stands_outside_of_fences() -> None:
    """An indented block is code to a reader and invisible to the walk."""
    for page in WRITTEN:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert re.findall(r"\n\n    \S.*", text) == [], page.name


def test_the_first_steps_run_as_written(tmp_path: Path) -> None:
    """The README's configuration, and what it shows of capabilities, by a shell on a fresh home without an engine."""
    (configuration,) = (block for block in blocks(ROOT / "README.md") if block.word == "file")
    steps = [block for block in blocks(ROOT / "README.md") if block.heading == "Which model can do what"]
    assert steps
    with Walk(tmp_path) as walk:
        walk.write(configuration)
        walk.shell('export PATH="$PWD/.venv/bin:$PATH" ROUTERCONSOLE_CONFIG="$PWD/config.yaml"')
        for block in steps:
            walk.take(block)
    assert not list(tmp_path.glob("routerconsole/*.db")), "state is in the home, not in the clone"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_settings_and_options_named_in_the_text_exist(page: Path) -> None:
    """Dotted settings as code are in the configuration, options as code in the grammar."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    code = re.findall(r"`([^`\n]+)`", text)
    sections = {path.partition(".")[0].partition("[")[0] for path, _, _ in settings()} - {"version"}
    known = {path.replace("[]", "") for path, _, _ in settings()}
    from routerconsole.domain.events import EventType

    known |= {kind.value for kind in EventType}
    dotted = {name for name in code if re.fullmatch(rf"({'|'.join(sections)})(\.[a-z_]+)+", name)}
    assert {name for name in dotted if not any(each == name or each.startswith(f"{name}.") for each in known)} == set()
    options = {
        option for _, parser in leaves(build()) for action in parser._actions for option in action.option_strings
    }
    options |= {option for action in build()._actions for option in action.option_strings}
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(code)))
    assert given - options - OTHERS_OPTIONS == set()


def test_keys_told_in_the_text_are_bound() -> None:
    """Each key of README's console chapter and of the pages does what some action of the console is for."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The console")[2].partition("\n## ")[0]
    told = readme + "".join(
        sentence
        for page in WRITTEN
        for sentence in re.findall(r"[^.|\n]*console[^.|\n]*", page.read_text(encoding="utf-8"))
    )
    keys = {name for name in re.findall(r"`([^`\n]+)`", told) if len(name) == 1 or name in {"Enter", "Esc", "Space"}}
    keys |= {name.replace("ctrl+", "^") for name in re.findall(r"`(ctrl\+\w)`", told)}
    assert keys > {"U", "C", "6", "Enter", "^p"}
    assert keys - {shown_key(key) for action in ACTIONS for key in action.keys} == set()


def test_a_walk_fails_where_a_page_is_wrong(tmp_path: Path) -> None:
    """It is no walk that finds nothing: a command that fails, a promise that does not come, an output that differs."""
    page = ROOT / "README.md"

    def block(text: str, word: str = "run") -> Block:
        return Block(page.name, 1, "", "sh", word, "", text)

    with Walk(tmp_path) as walk:
        walk.take(block("echo took 5 ms   # prints: took 12 ms\n"))
        walk.take(block("took 7 ms\n", "output"))
        for wrong in (
            block("false\n"),
            block("false | true\n"),
            block("echo one  # prints: two\n"),
            block("three\n", "output"),
        ):
            with pytest.raises(AssertionError, match=r"README\.md:1"):
                walk.take(wrong)
