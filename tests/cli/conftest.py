"""One running engine for all tests of the command line: starting one takes longer than most commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.stand import Cli

HOSTILE = "\x1b]0;owned\x07 \x9b31m [red]bold[/red] \u202emirror \r over"
"""What a terminal would act on: a title, a colour, markup, a right-to-left override, a carriage return."""
KEY = "sk-canary-0123456789abcdefghij"
MODELS = {
    "sim-ok": {},
    "second/model:1b": {},
    "hostile": {"text": HOSTILE},
    "alias": {"served_as": "alias-2026-01-01"},
    "broken": {"statuses": [500], "error": "openai_server"},
    "cut": {"tokens": 30, "cut_after": 3, "cut": "reset"},
}


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a simulator, started as a command."""
    home = tmp_path_factory.mktemp("upstream")
    script = home / "script.yaml"
    script.write_text(json.dumps({"models": MODELS}))  # JSON is YAML
    with Cli(home).started("simulate", "--script", str(script), ready="routerconsole simulator listening on ") as (
        _,
        url,
    ):
        yield url


@pytest.fixture(scope="session")
def cli(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A user with a running engine; `good` works, `spare` is there to be changed, `dead` refuses connections."""
    home = tmp_path_factory.mktemp("user")
    models = [{"id": name} for name in MODELS]
    providers = [
        {"name": "good", "kind": "openai_compatible", "base_url": upstream, "priority": 2, "models": models},
        {"name": "spare", "kind": "openai_compatible", "base_url": upstream, "priority": 50, "models": models[:2]},
        {
            "name": "dead",
            "kind": "openai_compatible",
            "base_url": "http://127.0.0.1:9/v1",
            "priority": 1,
            "api_key": "env:DEAD_KEY",
            "models": models[:1],
        },
    ]
    config = home / "providers.yaml"
    config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": providers}))
    user = Cli(home, config, {"DEAD_KEY": KEY})
    with user.started("serve", ready="routerconsole listening on "):
        yield user


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """A user without an engine, a configuration or a state directory."""
    return Cli(tmp_path)
