"""`routerconsole usage` and `models prices` as a user types them: on an engine and at rest, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.stand import Cli
from tests.cli.test_registry import configured

TABLE = {
    "sim-ok": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "good"},
    "m1": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "litellm_provider": "a"},
}


def test_usage_tells_totals_and_rows(cli: Cli) -> None:
    """Text adds up by each; JSON has the rows of the interface; unknown costs are said, in the chart too."""
    for _ in range(2):
        assert cli("complete", "hello there", "--model", "good/second/model:1b").code == 0
    done = cli("usage")
    assert done.code == 0, done.err
    for part in (" requests · ", "DATE", "PROVIDER", "MODEL", "AGENT", "good/second/model:1b", "unknown", "no budget"):
        assert part in done.out
    rows = cli("usage", "--json").json["days"]
    assert rows
    wanted = ("date", "provider", "model", "agent", "requests", "prompt_tokens", "completion_tokens", "cost_usd")
    assert all({*wanted, "unknown_cost_requests"} <= set(row) for row in rows)
    (mine,) = (row for row in rows if row["model"] == "second/model:1b" and row["provider"] == "good")
    assert (mine["cost_usd"], mine["unknown_cost_requests"]) == (None, mine["requests"])
    assert "MODEL" not in cli("usage", "--by", "provider").out
    assert "provider: good;" in cli("usage", "--by", "provider", "--plain", "--days", "1").out
    plotted = cli("usage", "--plot").out
    assert "cost" in plotted


def test_usage_at_rest_reads_the_state_directory(tmp_path: Path) -> None:
    """Where no engine runs, nothing is made and nothing was used."""
    done = configured(tmp_path, budget={"daily_usd": 4, "enforce": True})("usage")
    assert done.code == 0, done.err
    assert "nothing was used" in done.out
    assert "0% of 4.00: within it (more is refused)" in done.out
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("running", [True, False], ids=["running", "resting"])
def test_prices_are_taken_from_a_file_and_undone(running: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A dry run changes nothing; the change names its file, `models show` its source, and `undo` takes it back."""
    user: Cli = request.getfixturevalue("cli") if running else configured(tmp_path)
    model = "good/sim-ok" if running else "a/m1"
    file = tmp_path / "my prices.json"
    file.write_text(json.dumps(TABLE))
    dry = user("models", "prices", str(file), "--dry-run")
    assert dry.code == 0, dry.err
    assert "dry run" in dry.out
    assert user("models", "show", model, "--json").json["price_source"] is None
    done = user("models", "prices", str(file), "--provider", model.partition("/")[0])
    assert done.code == 0, done.err
    shown = user("models", "show", model, "--json").json
    assert (shown["usd_per_mtok_in"], shown["price_source"]) == (1.0, "litellm: my prices.json")
    again = user("models", "prices", "-", stdin=json.dumps(TABLE))
    assert again.code == 2
    assert "Nothing to change" in again.err
    undone = user("undo")
    assert undone.code == 0, undone.err
    assert user("models", "show", model, "--json").json["usd_per_mtok_in"] is None


@pytest.mark.parametrize(
    ("text", "told"), [("[]", "a price table is a JSON object"), ("{", "not JSON"), ("{}", "no price table")]
)
def test_what_is_no_table_is_a_usage_error(text: str, told: str, tmp_path: Path) -> None:
    """Exit 2 with what is wrong; nothing is made of it."""
    done = configured(tmp_path)("models", "prices", "-", stdin=text)
    assert done.code == 2
    assert told in done.err
