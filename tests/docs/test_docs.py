"""The documents are true: complete, not stale, and their examples work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from tests.docs import meanings
from tests.docs.reference import REFERENCE, ROOT, api_routes, leaves, reference, settings
from tests.docs.site import slug
from tests.docs.walk import blocks as walked

from routerconsole.cli.exits import Exit
from routerconsole.cli.parser import build, commands_of, parse
from routerconsole.config.load import load_text
from routerconsole.console.actions import ACTIONS, shown_key
from routerconsole.control import port
from routerconsole.control.wire import command_names
from routerconsole.domain import request
from routerconsole.domain.errors import ErrorCode
from routerconsole.domain.events import EventType
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.pool import Strategy
from routerconsole.engine import exposition
from routerconsole.evals import scenario
from routerconsole.evals.assertions import TYPES
from routerconsole.evals.scenario_files import read_scenarios
from routerconsole.evals.types import Status
from routerconsole.server import app, hints
from routerconsole.server.openai import ENDPOINTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = REFERENCE.read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAX_README = 150


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_reference_is_not_stale() -> None:
    """What is committed is what the code says now; `make docs` writes it."""
    assert reference() == MADE


@pytest.mark.parametrize(
    ("explained", "known"),
    [
        (set(meanings.ERRORS), {code.value for code in ErrorCode}),
        (set(meanings.OUTCOMES), {cls.value for cls in OutcomeClass}),
        (set(meanings.EVENTS), {kind.value for kind in EventType}),
        (set(meanings.EXITS), {code.value for code in Exit}),
        (set(meanings.STRATEGIES), {strategy.value for strategy in Strategy}),
    ],
    ids=["errors", "outcomes", "events", "exits", "strategies"],
)
def test_every_name_is_explained_and_none_is_made_up(explained: set[object], known: set[object]) -> None:
    """The sentences cover exactly what the code has."""
    assert explained == known


def test_every_setting_is_explained_and_none_is_made_up() -> None:
    """Each key has a sentence, and no sentence is about a key that is gone."""
    keys = {path for path, _, _ in settings()}
    named = {f"circuit.{path.rpartition('.')[2]}" if ".circuit." in path else path for path in keys}
    assert named == set(meanings.SETTINGS)
    assert [path for path in keys if f"| `{path}` |" not in MADE] == []


def test_every_command_is_named() -> None:
    """Each command stands in the reference with all its options, each group in the README."""
    for name, parser in leaves(build()):
        assert f"| `{name}` |" in MADE
        options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        assert [option for option in options if option != "--help" and option not in MADE] == []
    for name in commands_of(build()):
        assert re.search(rf"`[^`\n]*\b{name.split()[0]}\b[^`\n]*`", README), name


def test_every_route_is_named() -> None:
    """The control plane's table and the data plane's paths."""
    for route in api_routes():
        assert f"| {route.method} | `{app.API.decode()}{route.path}` |" in MADE
    told = {path for _, path, _, _ in meanings.DATA_PLANE}
    assert {path.decode() for path in ENDPOINTS} | {app.MODELS.decode()} < told
    source = Path(app.__file__).read_text() + "".join(path.decode() for path in ENDPOINTS)
    assert [path for path in told if path.removesuffix("/{id}") not in source] == []


def test_every_request_header_is_named() -> None:
    """The hint headers the server reads are the ones explained."""
    source = "".join(Path(str(module.__file__)).read_text() for module in (hints, request, port))
    read = set(re.findall(r"x-router-[a-z-]*[a-z]", source))
    assert read == set(meanings.REQUEST_HEADERS)


def test_every_event_error_class_action_and_key_is_named() -> None:
    """Each value stands in the reference as code."""
    names = [item.value for kind in (ErrorCode, OutcomeClass, EventType) for item in kind]
    names += [*command_names(), *(action.id for action in ACTIONS)]
    names += [shown_key(key) for action in ACTIONS for key in action.keys]
    assert [name for name in names if f"`{name}`" not in MADE] == []


def test_the_readme_is_short() -> None:
    """A stranger reads it to the end."""
    assert len(README.splitlines()) <= MAX_README


def test_the_readmes_commands_exist() -> None:
    """Every `routerconsole …` and `make …` in its shell blocks is accepted by the grammar and the Makefile."""
    lines = [line.partition("#")[0] for block in blocks("sh") for line in block.splitlines()]
    calls = [
        found
        for line in lines
        if (found := re.search(r"(?<![/\w])(?:\.venv/bin/)?routerconsole((?: [^)\n]*)?)", line)) is not None
    ]
    assert len(calls) >= 5
    for call in calls:
        parse(shlex.split(call[1]))
    targets = {line.split()[1] for line in lines if line.startswith("make ")}
    assert targets >= {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_readmes_table_names_real_commands() -> None:
    """First words of its command table, and the verbs beside them, are in the grammar."""
    known = set(commands_of(build()))
    rows = re.findall(
        r"^\| (`[^|]*`[^|]*) \| ([^|]*) \|$", README.partition("## Commands")[2].partition("## ")[0], re.MULTILINE
    )
    assert len(rows) >= 10
    for left, right in rows:
        groups = [part.split()[0] for part in re.findall(r"`([^`]+)`", left)]
        assert [group for group in groups if group != "routerconsole" and group not in known] == []
        verbs = re.findall(r"`([^`]+)`", right)
        assert [f"{group} {verb}" for group in groups for verb in verbs if f"{group} {verb}" not in known] == []


def test_the_readmes_configuration_is_valid() -> None:
    """It loads without an error, a warning or a notice."""
    (text,) = blocks("yaml")
    loaded = load_text(text, "README.md", {})
    assert loaded.warnings == ()
    assert len(loaded.settings.providers) == 2


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_commands_and_configurations_of_the_pages_are_accepted(document: Path) -> None:
    """Every `routerconsole …` of a shell block is in the grammar; every whole configuration loads without a notice."""
    fenced = walked(document)
    for block in (block for block in fenced if block.language == "sh"):
        for line in block.text.splitlines():
            for call in re.findall(r"(?<![/\w.'-])routerconsole(?![/\w.'\[])([^|)>&;#\n]*)", line):
                if "systemctl" not in line and "journalctl" not in line:
                    parse(shlex.split(call))
    for block in (block for block in fenced if block.word == "scenarios"):
        assert read_scenarios(block.text, document.name)
    for block in (block for block in fenced if block.word == "file"):
        loaded = load_text(block.text, document.name, {})
        absent = ("does not exist", "missing_extra")  # here, and not where somebody follows the page
        assert [str(each) for each in loaded.warnings if not any(word in each.message for word in absent)] == []


def test_every_metric_is_named_and_none_is_made_up() -> None:
    """The families `/metrics` writes are those docs/monitoring.md tells."""
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    name = r"(?:routerconsole|gen_ai_(?:client|server))_[a-z_]+"
    written = set(re.findall(rf'"({name})"', Path(exposition.__file__).read_text(encoding="utf-8")))
    told = set(re.findall(rf"`({name})`", page))
    assert len(written) > 20
    assert told == written


def test_the_language_of_scenarios_is_explained_whole() -> None:
    """Every key of a scenario and its sections, every kind, type of assertion and verdict stands in docs/evals.md."""
    page = (ROOT / "docs" / "evals.md").read_text(encoding="utf-8")
    sections = [each for each in vars(scenario).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    own = [each for each in sections if each.__module__ == scenario.__name__ and each.__name__ != "VarSection"]
    names = {field.alias or name for section in own for name, field in section.model_fields.items()}
    names |= {word for said in (scenario.Kind, scenario.FaultKind) for word in get_args(said)}
    names |= set(get_args(scenario.VarSection.model_fields["kind"].annotation))
    names |= {*TYPES, *(status.value for status in Status)}
    said = set(
        re.findall(
            r"\w+",
            " ".join(re.findall(r"`([^`\n]+)`", page)) + "".join(re.findall(r"^```yaml.*?^```", page, re.M | re.S)),
        )
    )
    assert len(names) > 90
    assert names - said == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    """Files that are linked exist, and so do the headings an anchor names."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        linked = (document.parent / name).resolve() if name else document
        assert linked.exists(), f"{document.name} links {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{document.name} links {target}"


def test_paths_named_in_contributing_exist() -> None:
    """The layout it describes is the one there is."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = (ROOT, ROOT / "src" / "routerconsole", ROOT / "tests")
    named = [path for path in re.findall(r"`([\w.]+/[\w./]*)`", text) if not path.startswith("_data")]
    assert len(named) > 30
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


def test_the_picture_loads_nothing_from_elsewhere() -> None:
    """It is one file: no remote font, image or script."""
    picture = (ROOT / "docs" / "console-overview.svg").read_text(encoding="utf-8")
    assert "openai" in picture
    assert not re.search(r"url\((?!#)|@import|<script|<image|href=", picture)
