"""Changing single places of a hand-written file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.config.patch import Add, CannotPatch, Drop, Put, changed_data, patched
from routerconsole.config.written import Dumper
from routerconsole.config.yaml_loader import parse

if TYPE_CHECKING:
    from routerconsole.config.patch import Change

TEXT = """\
# my router
version: 1            # always

providers:
  # the fast one
  - name: a           # near
    kind: ollama
    priority: 10      # first
    models:
      - id: llama3.1:8b
        capabilities: [text, tools]   # seen to work
        # a note on the next one
      - {id: "3.5", default: true}    # odd name
      - id: last
        tags:
          - x
          - y
# the slow one
  - name: b
    kind: openai
    api_key: env:K
    models: []
agents: {researcher: a/last}
"""


@pytest.mark.parametrize(
    "change",
    [
        Put(("providers", 0, "priority"), 3),
        Put(("providers", 1, "priority"), 7),
        Put(("providers", 0, "models", 0, "capabilities"), ["text", "-tools"]),
        Put(("providers", 0, "models", 1, "tier"), "deep"),
        Put(("providers", 0, "models", 2, "tags"), ["z: 1", "no", "# no comment"]),
        Put(("providers", 0, "models", 2, "context_window"), 8192),
        Put(("capabilities", "extend"), ["interaction.computer-use"]),
        Put(("agents", "writer"), "b/x"),
        Add(("providers", 0, "models"), {"id": "new one", "tags": ["a"]}),
        Add(("providers", 1, "models"), {"id": "first"}),
        Add(("providers", 0, "models", 2, "tags"), "12:30"),
        Drop(("providers", 0, "models", 0)),
        Drop(("providers", 0, "models", 1)),
        Drop(("providers", 0, "models", 2)),
        Drop(("providers", 1, "api_key")),
        Drop(("providers", 0, "models", 1, "default")),
        Drop(("agents", "researcher")),
    ],
    ids=str,
)
def test_a_change_means_what_was_asked_and_keeps_the_comments_around_it(change: Change) -> None:
    """Data after is data before with the change; every comment not inside what was taken away still stands."""
    after = patched(TEXT, [change])
    assert parse(after, "f").data == changed_data(parse(TEXT, "f").data, [change])
    comments = {line.partition("#")[2] for line in TEXT.splitlines() if "#" in line}
    kept = {line.partition("#")[2] for line in after.splitlines() if "#" in line}
    gone = comments - kept
    assert len(gone) <= (2 if isinstance(change, Drop) else 0), gone


def test_several_changes_build_on_each_other() -> None:
    """A second change sees the text of the first."""
    changes: list[Change] = [
        Drop(("providers", 0, "models", 0)),
        Add(("providers", 0, "models"), {"id": "n"}),
        Put(("providers", 0, "models", 0, "tier"), "deep"),
    ]
    assert parse(patched(TEXT, changes), "f").data == changed_data(parse(TEXT, "f").data, changes)


def test_what_cannot_be_changed_in_place_is_refused_with_its_place() -> None:
    """Nothing is guessed: a place that is no mapping has no keys."""
    with pytest.raises(CannotPatch, match="version"):
        patched(TEXT, [Drop(("version", "x"))])


_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text("abc:#-'\"{}[],&*!| é\n0123", max_size=12)
)
_keys = st.text("abcdef_", min_size=1, max_size=6)
_documents = st.dictionaries(
    _keys, st.one_of(_scalars, st.lists(_scalars, max_size=3), st.dictionaries(_keys, _scalars, max_size=3)), min_size=1
)


@given(_documents, _keys, _scalars, st.booleans())
def test_any_document_is_changed_rightly_or_refused(
    document: dict[str, object], key: str, value: str | int | bool | None, flow: bool
) -> None:
    """Whatever style the file has, the outcome is the asked meaning or CannotPatch."""
    text = yaml.dump(document, Dumper=Dumper, default_flow_style=flow, allow_unicode=True)
    before = parse(text, "f").data
    try:
        after = patched(text, [Put((key,), value)])
    except CannotPatch:
        return
    assert parse(after, "f").data == {**before, key: value}
