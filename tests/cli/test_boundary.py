"""Subscription tokens at the command line: refused wherever they come from, and in no output (product.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.stand import Cli

TOKEN = "sk-ant-oat01-canary"


@pytest.mark.parametrize("written", ["env:MINE", "${MINE}", "${NONE:-" + TOKEN + "}", "file:KEY", TOKEN])
def test_config_check_fails_for_a_subscription_token_and_does_not_show_it(tmp_path: Path, written: str) -> None:
    """Written out or referred to: exit 2, with its place."""
    key = tmp_path / "key"
    key.write_text(TOKEN)
    key.chmod(0o600)
    config = tmp_path / "providers.yaml"
    config.write_text(
        "version: 1\nproviders:\n"
        f"  - {{name: a, kind: anthropic, api_key: '{written.replace('KEY', str(key))}', models: [{{id: m}}]}}\n"
    )
    config.chmod(0o600)
    cli = Cli(tmp_path, config, {"MINE": TOKEN})
    done = cli("config", "check")
    assert done.code == 2
    assert done.out.startswith(f"ERROR: {config}:3: providers.0.api_key: ")
    assert "subscription token (sk-ant-oat…), which is refused" in done.out
    report = cli("config", "check", "--json")
    assert (report.code, report.json["ok"], report.json["warnings"]) == (2, False, [])
    assert [problem["path"] for problem in report.json["problems"]] == ["providers.0.api_key"]
    assert "canary" not in done.out + done.err + report.out + report.err
