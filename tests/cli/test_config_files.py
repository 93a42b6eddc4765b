"""`config init` and `config export`: what was found, and what operators decided, as files that load again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.stand import Cli

from routerconsole.config.load import load_text

if TYPE_CHECKING:
    from pathlib import Path

MINE = """\
# my router
version: 1
providers:
  - name: near          # in the cellar
    kind: openai_compatible
    base_url: http://127.0.0.1:9/v1
    priority: 10
    models:
      - id: a
        capabilities: [text, tools]   # seen to work
      - id: b
"""


def _user(tmp_path: Path) -> Cli:
    config = tmp_path / "mine.yaml"
    config.write_text(MINE)
    return Cli(tmp_path, config)


def test_an_export_is_the_users_file_with_the_operators_decisions_in_it(tmp_path: Path) -> None:
    """Capability, tags, removal and assignment land where they belong, comments stay, the user's file is untouched."""
    cli = _user(tmp_path)
    for line in (
        ("models", "capability", "set", "near/a", "tools", "no"),
        ("models", "label", "near/a", "private"),
        ("models", "remove", "near/b"),
        ("models", "assign", "writer", "near/a"),
    ):
        done = cli(*line)
        assert done.code == 0, (line, done)
    out = tmp_path / "new.yaml"
    assert cli("config", "export", "--out", str(out)).code == 0
    made = out.read_text()
    settings = load_text(made, "f", {}).settings
    (model,) = settings.providers[0].models
    assert (model.id, model.capabilities, model.tags) == ("a", ["text", "-tools"], ["private"])
    assert settings.agents == {"writer": "near/a"}
    for comment in ("# my router", "# in the cellar", "# seen to work"):
        assert comment in made
    assert (tmp_path / "mine.yaml").read_text() == MINE


def test_an_export_names_what_the_file_has_no_place_for(tmp_path: Path) -> None:
    """A display name is kept in the state directory only, and the command says so."""
    cli = _user(tmp_path)
    assert cli("models", "update", "near/a", "--display", "My A").code == 0
    done = cli("config", "export")
    assert done.code == 0
    assert "not in the file: `display` of near/a" in done.err
