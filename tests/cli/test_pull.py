"""Downloads and listings from the command line: a simulated Ollama, an engine, and somebody who waits or does not."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from tests.cli.stand import SECONDS, Cli, environment, in_time

PULLS = {
    "llama3.2:3b": {"steps": 20, "step_s": 0.05, "total": 2_000_000_000},
    "bad:1b": {"ok": False, "error": "pull model manifest: file does not exist"},
    "hangs:1b": {"hang_at": 2},
}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A user whose only provider is an Ollama with one small model."""
    home = tmp_path_factory.mktemp("ollama")
    script = home / "script.yaml"
    script.write_text(json.dumps({"models": {"small:1b": {}}, "pulls": PULLS}))
    with Cli(home).started("simulate", "--script", str(script), ready="routerconsole simulator listening on ") as (
        _,
        url,
    ):
        config = home / "providers.yaml"
        ollama = {"name": "o", "kind": "ollama", "base_url": url.removesuffix("/v1"), "models": []}
        config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": [ollama]}))
        cli = Cli(home, config)
        with cli.started("serve", ready="routerconsole listening on "):
            yield cli


def listed(cli: Cli) -> list[str]:
    """The registry's ids."""
    return [row["id"] for row in cli("models", "list", "--json").json["models"]]


def test_a_sync_says_what_is_new(user: Cli) -> None:
    """The ids, by what happened to them; a provider there is not is named."""
    done = user("models", "sync", "--json")
    assert (done.code, {"new", "changed", "missing"} <= set(done.json)) == (0, True)
    assert "o/small:1b" in listed(user)
    assert user("models", "sync").out.splitlines()[0].startswith("new: ")
    assert user("models", "sync", "nobody").code == 2


def test_a_pull_is_waited_for_and_then_in_the_registry(user: Cli) -> None:
    """Without a terminal there is no bar, only the end; the model can be asked at once."""
    done = user.process("models", "pull", "o/llama3.2:3b")
    assert (done.code, done.err) == (0, "")
    assert done.out == "o/llama3.2:3b: downloaded (2.0 GB)\n"
    assert "o/llama3.2:3b" in listed(user)
    assert user("complete", "hello", "--model", "o/llama3.2:3b").code == 0


def test_a_failed_pull_is_1_and_says_why(user: Cli) -> None:
    """The server's own words, and in JSON the whole last event."""
    done = user("models", "pull", "o/bad:1b")
    assert (done.code, "file does not exist" in done.out) == (1, True), done
    told = user("models", "pull", "o/bad:1b", "--json").json
    assert (told["state"], told["provider"], told["model"]) == ("failed", "o", "bad:1b")


def test_ctrl_c_stops_the_download_on_the_server_too(user: Cli) -> None:
    """130, and a second download of the same model may begin."""
    for _ in range(2):
        process = subprocess.Popen(
            user.line("models", "pull", "o/hangs:1b"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=user.home, env=environment(user.home),
        )  # fmt: skip
        with in_time(process):
            while not any(row["command"] == "pull_model" and row["target"] == "o/hangs:1b"
                          for row in user("audit", "list", "--limit", "1", "--json").json["audit"]):  # fmt: skip
                assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        assert process.returncode == 130, (out, err)
        assert "was stopped" in err
        assert "Traceback" not in err
    newest = user("audit", "list", "--limit", "1", "--json").json["audit"][0]
    assert (newest["command"], newest["target"]) == ("cancel_pull", "o/hangs:1b")


@pytest.mark.parametrize(("model", "code"), [("nobody/x", 2), ("o/", 2), ("x", 2)])
def test_a_pull_of_what_cannot_be_is_refused(user: Cli, model: str, code: int) -> None:
    """Before anything is asked of a server."""
    assert user("models", "pull", model).code == code


def test_on_a_terminal_there_is_a_bar(user: Cli, tmp_path: Path) -> None:
    """It moves, and nothing of it is left behind."""
    shell = pexpect.spawn(
        user.line("models", "pull", "o/llama3.2:3b")[0],
        user.line("models", "pull", "o/llama3.2:3b")[1:],
        cwd=str(user.home),
        env={**environment(user.home), "COLUMNS": "100", "TERM": "xterm"},
        timeout=SECONDS,
        encoding="utf-8",
        dimensions=(24, 100),
    )
    shell.expect(r"\[#+\.+\] +\d+\.\d %  [\d.]+ MB of 2\.0 GB")
    shell.expect(r"o/llama3\.2:3b: downloaded")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
