"""Commands where no engine runs: what reads files, what says what to run."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest
from tests.cli.stand import Cli, active


@pytest.fixture
def finished(alone: Cli, upstream: str) -> Cli:
    """A user whose engine served one request, had one change, and has ended."""
    models = [{"id": "sim-ok"}]
    providers = [{"name": "good", "kind": "openai_compatible", "base_url": upstream, "models": models}]
    alone.config = alone.home / "providers.yaml"
    alone.config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": providers}))
    with alone.started("serve", ready="routerconsole listening on "):
        assert alone("complete", "hello", "--model", "sim-ok").code == 0
        assert alone("providers", "priority", "good", "42").code == 0
    return alone


def test_the_files_of_a_state_directory_are_read(finished: Cli) -> None:
    """Requests and audit are listed, shown and exported from the files; live commands exit 4 and say what to run."""
    rows = finished("requests", "list", "--json").json["requests"]
    assert [row["model"] for row in rows] == ["sim-ok"]
    assert finished("requests", "show", rows[0]["id"][-5:]).code == 0
    assert json.loads(finished("requests", "export").out)["id"] == rows[0]["id"]
    assert finished("requests", "list", "--filter", "prov:good -fo lat<1h", "--json").json["requests"] == rows
    assert finished("requests", "list", "--filter", "! prov:good").out == "no requests\n"
    assert finished("requests", "list", "--filter", "lat>x").code == 2
    assert finished("audit", "list", "--json").json["audit"][0]["command"] == "set_priority"
    for command in (("status",), ("providers", "list"), ("failures", "list"), ("env",), ("complete", "x")):
        done = finished(*command)
        assert (done.code, done.out) == (4, "")
        assert "routerconsole serve" in done.err
    exported = finished("config", "export")
    assert "priority: 42" in exported.out


def test_D15_newer_files_are_left_alone(finished: Cli) -> None:
    """A database with a migration this version does not know is exit 3, whoever opens it."""
    for name in ("log.db", "state.db"):
        with sqlite3.connect(finished.state / name) as conn:
            table = next(row[0] for row in conn.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%migration%'"))
            columns = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
            values = ["9999-from-the-future" if column == "name" else 0 for column in columns]
            conn.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)
        conn.close()
    run = ("eval", "run", "--targets", "good/sim-ok", "--scenarios", "plain-chat")
    for command in (("requests", "list"), ("audit", "list"), ("serve",), run):
        done = finished.process(*command)
        assert done.code == 3, done
        assert "newer version" in done.err


def test_an_engine_of_ones_own_that_cannot_open_its_log_ends_the_command(finished: Cli) -> None:
    """Half started it is stopped again: nothing keeps the process alive."""
    with sqlite3.connect(finished.state / "log.db") as conn:
        conn.execute("INSERT INTO migrations (name) VALUES ('9999-from-the-future')")
    conn.close()
    done = finished.process("eval", "run", "--targets", "good/sim-ok", "--scenarios", "plain-chat")
    assert (done.code, done.out) == (3, "")


def test_D13_a_damaged_state_is_named_at_rest_and_mended_with_its_last_edits_at_the_next_start(finished: Cli) -> None:
    """Reading says the file and what to run; the newest backup holds what was decided before the last clean stop."""
    (finished.state / "state.db").write_bytes(b"garbage" * 1000)
    done = finished("models", "list")
    assert done.code == 2
    assert str(finished.state / "state.db") in done.err
    assert "routerconsole serve" in done.err
    with finished.started("serve", ready="routerconsole listening on "):
        assert finished("providers", "list", "--json").json["providers"][0]["priority"] == 42


def test_every_json_of_an_export_is_one_document(finished: Cli) -> None:
    """--json wraps what would be JSON lines or YAML, and tells of a file what was written to it."""
    assert finished("requests", "export", "--json").json["requests"][0]["model"] == "sim-ok"
    out = finished.home / "rows.jsonl"
    told = finished("requests", "export", "--json", "--out", str(out))
    assert told.json == {"path": str(out), "requests": 1}
    assert told.err == f"1 request written to {out}\n"
    assert "priority: 42" in finished("config", "export", "--json").json["yaml"]


def test_an_unused_state_directory_is_not_created_by_looking(alone: Cli) -> None:
    """Reading where there is nothing exits 4 and leaves nothing behind."""
    for command in (("requests", "list"), ("audit", "list"), ("status",), ("env",)):
        assert alone(*command).code == 4
    assert list(alone.home.iterdir()) == []


def test_a_stale_run_file_is_not_believed(alone: Cli) -> None:
    """engine.json of an engine that was killed names nobody."""
    alone.state.mkdir(mode=0o700)
    (alone.state / "engine.json").write_text(json.dumps({"pid": 1, "url": "http://127.0.0.1:9", "version": "0"}))
    assert alone("status").code == 4


BROKEN = """\
version: 1
sevrer: {port: 0}
providers:
  - {name: a, kind: opnai, models: []}
  - {name: b, kind: openai, priority: high}
"""


def test_G07_config_check_tells_every_problem_with_its_place(alone: Cli) -> None:
    """Exit 2, one ERROR line per problem with file, line, path and a near name; nothing else starts with it either."""
    alone.config = alone.home / "bad.yaml"
    alone.config.write_text(BROKEN)
    done = alone("config", "check")
    assert done.code == 2
    lines = done.out.splitlines()
    assert all(line.startswith(f"ERROR: {alone.config}:") for line in lines)
    assert any(":2: sevrer" in line and "server" in line for line in lines)
    assert any(":4: providers.0.kind" in line for line in lines)
    assert any(":5: providers.1.priority" in line for line in lines)
    report = alone("config", "check", "--json")
    assert report.code == 2
    assert [problem["line"] for problem in report.json["problems"]][:2] == [2, 4]
    served = alone.process("serve")
    assert served.code == 2
    assert served.err.count("\n") == len(lines)


def test_G11_config_check_passes_with_warnings(alone: Cli) -> None:
    """Warnings alone are 0."""
    alone.config = alone.home / "ok.yaml"
    text = "version: 1\nproviders:\n  - {name: a, kind: openai, api_key: env:UNSET_KEY, models: [{id: m}]}\n"
    alone.config.write_text(text)
    done = alone("config", "check")
    assert done.code == 0
    assert "WARN: " in done.out
    assert "UNSET_KEY" in done.out
    assert done.out.splitlines()[-1].startswith("ok: ")


def test_config_check_names_keys_the_console_would_leave_out(alone: Cli) -> None:
    """An unknown action and a reserved key in `console.keys` are warnings, in both forms."""
    alone.config = alone.home / "ok.yaml"
    alone.config.write_text("version: 1\nproviders: []\nconsole: {keys: {log.freez: x, log.freeze: ctrl+z}}\n")
    done = alone("config", "check")
    assert done.code == 0
    assert "console.keys.log.freez: no such action; did you mean log.freeze?" in done.out
    assert "console.keys.log.freeze: 'ctrl+z' is reserved" in done.out
    warned = alone("config", "check", "--json").json["warnings"]
    assert [(each["line"], each["path"]) for each in warned] == [
        (3, "console.keys.log.freez"), (3, "console.keys.log.freeze")
    ]  # fmt: skip


def test_G12_G21_config_show_masks_and_export_loads_again(alone: Cli) -> None:
    """The effective configuration has every default; a plain-text key is in neither form."""
    alone.config = alone.home / "p.yaml"
    key = "sk-canary-abcdefghij0123456789"
    alone.config.write_text(
        f"version: 1\nproviders:\n  - {{name: a, kind: openai, api_key: {key}, models: [{{id: m}}]}}\n"
    )
    shown = alone("config", "show", "--json")
    assert shown.json["routing"]["max_attempts"] == 6
    out = alone.home / "out.yaml"
    assert alone("config", "export", "--out", str(out)).code == 0
    assert key not in shown.out + out.read_text()
    assert out.stat().st_mode & 0o777 == 0o600
    assert alone("config", "export", "--out", str(out)).code == 5
    assert alone("config", "check", "--config", str(out)).code == 0


def test_config_init_writes_a_first_file_once(alone: Cli) -> None:
    """What the environment offers is written as references; an existing file is refused and left alone."""
    env = {"OPENAI_API_KEY": "sk-canary-abcdefghij0123456789"}
    done = alone("config", "init", env=env)
    assert done.code == 0
    path = alone.home / ".config" / "routerconsole" / "providers.yaml"
    text = path.read_text()
    assert "env:OPENAI_API_KEY" in text
    assert env["OPENAI_API_KEY"] not in text
    assert alone("config", "check", env=env).code == 0
    (alone.home / "config").mkdir()
    (alone.home / "config" / "providers.yaml").write_text("version: 1\n")
    other = alone("config", "init", "--out", str(alone.home / "other.yaml"), env=env)
    assert (other.code, "is read before" in other.err) == (0, True)
    path.write_text("mine")
    assert alone("config", "init", env=env).code == 5
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", ["missing", "empty", "directory", "fifo", "binary", "link to nothing"])
@pytest.mark.parametrize("command", ["check", "show", "export"])
def test_G01_a_file_that_is_none_is_told_and_never_hangs(alone: Cli, kind: str, command: str) -> None:
    """Exit 2 and a text naming the file."""
    alone.config = alone.home / "c.yaml"
    match kind:
        case "empty":
            alone.config.touch()
        case "directory":
            alone.config.mkdir()
        case "fifo":
            os.mkfifo(alone.config)
        case "binary":
            alone.config.write_bytes(bytes(range(256)))
        case "link to nothing":
            alone.config.symlink_to(alone.home / "nowhere")
    done = alone("config", command)
    assert done.code == 2, done
    assert "c.yaml" in done.out + done.err
    assert active(done.out + done.err) == set()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_X20_a_state_directory_that_is_none_is_refused(alone: Cli, kind: str) -> None:
    """A link or a file in the state directory's place is exit 2 for an engine, and nobody's engine for a client."""
    if kind == "file":
        alone.state.touch()
    else:
        alone.state.symlink_to(alone.home)
    served = alone.process("serve", "--port", "0")
    assert (served.code, str(alone.state) in served.err) == (2, True), served
    assert alone("status").code == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "gone.yaml", "serve"), "gone.yaml"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), "allowed_hosts"),
        (("simulate", "--script", "gone.yaml"), "gone.yaml"),
    ],
)
def test_what_cannot_start_says_why(alone: Cli, arguments: tuple[str, ...], said: str) -> None:
    """Exit 2 with the place."""
    done = alone.process(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_G24_a_port_in_use_is_named(alone: Cli, upstream: str) -> None:
    """Exit 2 for an engine and for a simulator."""
    port = upstream.removesuffix("/v1").rpartition(":")[2]
    for command in ("serve", "simulate"):
        done = alone.process(command, "--port", port)
        assert done.code == 2, done
        assert port in done.err


def test_a_simulator_without_a_script_serves_any_model(alone: Cli) -> None:
    """`simulate` alone is an upstream that works, and SIGTERM ends it with 0."""
    import urllib.request

    with alone.started("simulate", ready="routerconsole simulator listening on ") as (process, url):
        body = json.dumps({"model": "any", "messages": [{"role": "user", "content": "hi"}]}).encode()
        request = urllib.request.Request(f"{url}/chat/completions", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["choices"]
        process.terminate()
        assert process.wait(60) == 0


def test_looking_for_help_imports_nothing_heavy(alone: Cli) -> None:
    """`--help` of every command works and exits 0."""
    assert "commands" in alone.process("--help").out
    assert alone.process("--version").out.startswith("routerconsole ")
    assert "--dry-run" in alone.process("providers", "disable", "--help").out


def test_switching_a_model_off_and_on_again_is_no_loss_in_an_export(finished: Cli) -> None:
    """`enabled` has no place in the file; only a no would be lost."""
    assert finished("models", "disable", "good/sim-ok").code == 0
    assert "`enabled` of good/sim-ok" in finished("config", "export").err
    assert finished("models", "enable", "good/sim-ok").code == 0
    assert finished("config", "export").err == ""
