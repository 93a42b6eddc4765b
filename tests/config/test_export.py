"""Writing configuration files."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from routerconsole.config.export import (
    export_anew,
    export_in_place,
)
from routerconsole.config.load import load_text
from routerconsole.control.new_file import ExportRefusedError, write_new
from routerconsole.domain.capability import CapabilityTree, Layer, Source, Tri
from routerconsole.domain.overlay import Entry, Overlay
from routerconsole.domain.route import ModelKey

TEXT = """\
version: 1
server: {host: "${HOST:-127.0.0.1}"}
providers:
  - {name: a, kind: openai, api_key: "env:K", models: [{id: "3.5"}, {id: "0o17"}, {id: "1e3"}, {id: "no"},
     {id: "12:30"}]}
  - {name: b, kind: openai, api_key: hunter2literal, headers: {X-Key: hunter2header}}
"""


def test_G21_an_export_loads_again_with_the_same_meaning_and_its_references() -> None:
    """Texts that look like numbers stay texts; env: and ${} stand as written."""
    loaded = load_text(TEXT, "f", {})
    text = export_anew(loaded, Overlay(), CapabilityTree()).text
    again = load_text(text, "g", {})
    assert [model.id for model in again.settings.providers[0].models] == ["3.5", "0o17", "1e3", "no", "12:30"]
    assert again.settings.server == loaded.settings.server
    assert again.settings.providers[0] == loaded.settings.providers[0]
    assert "env:K" in text
    assert "${HOST:-127.0.0.1}" in text


def test_X22_resolved_and_literal_secrets_are_never_written() -> None:
    """Neither an environment value nor a plain-text key leaves the program."""
    loaded = load_text(TEXT, "f", {"K": "canary-value", "HOST": "canary-host"})
    text = export_anew(loaded, Overlay(), CapabilityTree()).text
    assert "canary" not in text
    assert "hunter2" not in text


def test_X21_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Mode 0600 with umask 000."""
    before = os.umask(0)
    try:
        write_new(tmp_path / "new.yaml", "version: 1\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.yaml").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new.yaml"]


def test_G19_existing_files_and_links_are_never_written_over(tmp_path: Path) -> None:
    """A file, a link to a file and a dangling link are refused, and left as they were."""
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("target", "link", "dangling"):
        with pytest.raises(ExportRefusedError, match="already exists"):
            write_new(tmp_path / name, "theirs")
    assert target.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_G19_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    """Nothing is created on the way."""
    with pytest.raises(ExportRefusedError, match="cannot be created"):
        write_new(tmp_path / "no" / "new.yaml", "x")
    assert list(tmp_path.iterdir()) == []


def test_G19_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """What cannot be written whole is removed and said."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(ExportRefusedError, match="could not be written"):
            write_new(tmp_path / "new.yaml", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_G20_a_kill_at_any_point_of_a_save_leaves_the_whole_file_or_none(tmp_path: Path) -> None:
    """Ten writers are killed at different moments: what is there is complete."""
    text = "x" * 200_000
    program = (
        "import sys; from pathlib import Path; from routerconsole.control.new_file import write_new\n"
        "print('ready', flush=True)\n"
        f"for n in range(10**6): write_new(Path(sys.argv[1]) / f'{{n}}.yaml', 'x' * {len(text)})\n"
    )
    for round_ in range(10):
        place = tmp_path / str(round_)
        place.mkdir()
        with subprocess.Popen([sys.executable, "-c", program, str(place)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            while not (place / f"{round_ % 5}.yaml").exists():
                assert writer.poll() is None
            writer.kill()
        assert {path.stat().st_size for path in place.glob("[0-9]*.yaml")} == {len(text)}


MINE = """\
# my router
providers:
  - name: near
    kind: ollama
    priority: 10          # first
    models:
      - id: a             # small
        capabilities: [text, tools, -vision]
      - id: b             # the one I dropped
  - {name: far, kind: openai, api_key: sk-plain-canary, models: [{id: x}]}   # costs money
"""


def _overlay() -> Overlay:
    said = Layer(Source.OPERATOR, Tri.NO, 1.0)
    entries = (
        Entry(
            ModelKey("near", "a"),
            fields={"tags": ["private"], "display": "Small A"},
            capabilities={"interaction.tool-calling": (said,)},
        ),
        Entry(ModelKey("near", "b"), removed=True),
        Entry(ModelKey("near", "new"), registered=True, fields={"context_window": 4096}),
        Entry(ModelKey("gone", "z"), fields={"tags": ["t"]}),
    )
    return Overlay(
        entries={entry.key: entry for entry in entries},
        assignments={"writer": "near/a"},
        priorities={("near",): 3, ("near", "a"): 1},
        extensions=frozenset({"interaction.computer-use"}),
    )


def test_C1_56_operators_decisions_are_written_into_a_hand_written_file_and_its_comments_stay() -> None:
    """Values change where they stand; comments of what is still there survive; the result loads."""
    done = export_in_place(MINE, _overlay(), CapabilityTree())
    settings = load_text(done.text, "f", {}).settings
    near = settings.providers[0]
    assert [(model.id, model.capabilities, model.tags) for model in near.models] == [
        ("a", ["text", "-vision", "-tools"], ["private"]),
        ("new", [], []),
    ]
    assert (near.priority, near.models[1].context_window) == (3, 4096)
    assert settings.agents == {"writer": "near/a"}
    assert settings.capabilities.extend == ["interaction.computer-use"]
    for comment in ("# my router", "# first", "# small", "# costs money"):
        assert comment in done.text


def test_an_export_says_what_it_cannot_keep_and_leaves_plain_text_keys_out() -> None:
    """Each loss is named once; the key of a provider is not copied."""
    done = export_in_place(MINE, _overlay(), CapabilityTree())
    assert "canary" not in done.text
    for part in ("`display` of near/a", "the priority of near/a", "gone/z", "api_key of provider 'far'"):
        assert len([text for text in done.lost if part in text]) == 1, part


def test_a_whole_export_says_the_same_as_one_in_place() -> None:
    """Where a file must be rewritten, nothing of the meaning changes."""
    loaded = load_text(MINE, "f", {})
    anew = export_anew(loaded, _overlay(), CapabilityTree())
    here = export_in_place(MINE, _overlay(), CapabilityTree())
    assert load_text(anew.text, "g", {}).settings == load_text(here.text, "h", {}).settings
