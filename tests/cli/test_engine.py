"""Commands on a running engine, each as a process of its own."""

from __future__ import annotations

import csv
import io
import json
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import HOSTILE, KEY
from tests.cli.stand import Cli, active, environment, in_time

HELLO = {"messages": [{"role": "user", "content": "hello"}]}


def newest(cli: Cli, text: str) -> str:
    """The id of the newest request with this text."""
    return str(cli("requests", "list", "--filter", text, "--limit", "1", "--json").json["requests"][0]["id"])


def test_env_is_what_a_shell_evaluates(cli: Cli) -> None:
    """`eval "$(routerconsole env)"` sets address and client token, nothing else is printed."""
    done = cli.process("env")
    script = 'eval "$0"; printf "%s\n%s" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    shell = subprocess.run(["/bin/sh", "-c", script, done.out], capture_output=True, text=True, check=True)
    url, token = shell.stdout.split("\n")
    running = json.loads((cli.state / "engine.json").read_text())
    assert url == f"{running['url']}/v1"
    assert token == (cli.state / "client.token").read_text().strip()
    assert [line.partition("=")[0] for line in done.out.splitlines()] == [
        "export OPENAI_BASE_URL",
        "export OPENAI_API_KEY",
    ]
    assert done.err == ""


def test_env_quotes_what_a_shell_would_run(cli: Cli) -> None:
    """A token from the environment overrides the file and cannot become a command."""
    done = cli("env", env={"ROUTERCONSOLE_CLIENT_TOKEN": "a'$(touch${IFS}owned);b"})
    shell = subprocess.run(
        ["/bin/sh", "-c", 'eval "$0"; printf %s "$OPENAI_API_KEY"', done.out],
        capture_output=True,
        text=True,
        check=True,
        cwd=cli.home,
    )
    assert shell.stdout == "a'$(touch${IFS}owned);b"
    assert not (cli.home / "owned").exists()


def test_status_is_the_contracts_shape_and_a_table_and_sentences(cli: Cli) -> None:
    """`--json` has the fields of interface.md §7; `--plain` says each provider in one sentence; `--plot` draws."""
    cli("complete", "hello", "--model", "good/sim-ok")
    shown = cli("status", "--json").json
    assert {"total", "healthy", "degraded", "unhealthy", "uptime_s", "in_flight", "providers"} <= shown.keys()
    row = next(row for row in shown["providers"] if row["name"] == "good")
    assert {"kind", "enabled", "status", "priority", "circuit_state", "gate", "fault", "routes"} <= row.keys()
    drawn = cli.process("status", "--plot")
    assert drawn.code == 0
    assert any(line.startswith("NAME") and "CIRCUIT" in line for line in drawn.out.splitlines())
    assert "p50" in drawn.out
    assert active(drawn.out) == set()
    plain = cli("status", "--plain").out.splitlines()
    assert sum(line.startswith("name: good; ") and line.endswith(".") for line in plain) == 1


def test_complete_prints_the_answer_and_who_gave_it(cli: Cli) -> None:
    """The text on stdout, the rest on stderr; the failover from `dead` is in the JSON form."""
    cli("providers", "reset", "dead")
    done = cli("complete", "hello", "--model", "sim-ok")
    assert done.code == 0
    assert done.out.strip()
    assert "good/sim-ok" in done.err
    told = cli("complete", "hello", "--model", "sim-ok", "--json").json
    assert (told["provider"], told["model"], told["is_fallback_model"]) == ("good", "sim-ok", True)
    assert [attempt["provider"] for attempt in told["attempts"]] == ["dead", "good"]
    assert told["content"].strip()


def test_complete_streams_the_same_answer(cli: Cli) -> None:
    """`--stream` prints what the whole answer would be; a prompt may come from stdin."""
    whole = cli("complete", "-", "--model", "good/sim-ok", "--json", stdin="tell me").json["content"]
    streamed = cli.process("complete", "-", "--model", "good/sim-ok", "--stream", stdin="tell me")
    assert streamed.code == 0
    assert len(streamed.out.split()) == len(whole.split())


@pytest.mark.parametrize(
    ("model", "more", "code", "said"),
    [
        ("nope", [], 2, "model_not_found"),
        ("good/broken", [], 1, "good/broken"),
        ("good/cut", ["--stream"], 1, "stream_incomplete"),
    ],
)
def test_complete_says_why_there_is_no_answer(cli: Cli, model: str, more: list[str], code: int, said: str) -> None:
    """A wrong name is a usage error, a request nobody could serve a failed one, a cut stream is never success."""
    done = cli("complete", "hello", "--model", model, *more)
    assert (done.code, said in done.err) == (code, True), done


def test_an_image_is_sent_and_anything_else_is_refused(cli: Cli, tmp_path: Path) -> None:
    """`--image` reads a picture; a file that is none is a usage error and nothing is sent."""
    picture, text = tmp_path / "a.png", tmp_path / "a.txt"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    text.write_text("no picture")
    assert cli("complete", "what is it", "--model", "good/sim-ok", "--image", str(picture)).code == 0
    shown = cli("requests", "list", "--limit", "1", "--json").json["requests"][0]
    assert "vision" in shown["needed"]
    assert cli("complete", "what is it", "--image", str(text)).code == 2
    assert cli("complete", "what is it", "--image", str(tmp_path / "gone.png")).code == 2


def test_T04_T05_T06_hostile_answers_and_names_are_spelt_out(cli: Cli) -> None:
    """No answer, model name or chain reaches the terminal raw, in any form of any command."""
    done = cli.process("complete", "hello", "--model", "good/hostile")
    assert "owned" in done.out
    assert active(done.out + done.err) == set()
    streamed = cli("complete", "hello", "--model", "good/hostile", "--stream")
    assert "owned" in streamed.out
    assert active(streamed.out) == set()
    refused = cli("complete", "hello", "--model", HOSTILE)
    assert refused.code == 2
    assert active(refused.err) == set()
    for command in (
        ("requests", "list"),
        ("requests", "list", "--plain"),
        ("requests", "list", "--json"),
        ("requests", "show", newest(cli, "owned")),
        ("requests", "show", newest(cli, "owned"), "--plain"),
        ("explain", "--model", HOSTILE),
        ("providers", "enable", HOSTILE),
    ):
        shown = cli(*command)
        assert active(shown.out + shown.err) == set(), command
    assert cli("requests", "list", "--json", "--filter", "owned").json["requests"][0]["model"] == HOSTILE


@pytest.mark.parametrize(
    ("verb", "more", "key", "after"),
    [
        ("disable", [], "status", "disabled"),
        ("drain", [], "status", "draining"),
        ("isolate", ["--ttl", "90s"], "status", "isolated"),
        ("force-close", [], "admin", "forced_closed"),
        ("priority", ["7"], "priority", "7"),
    ],
)
def test_a_dry_run_shows_the_change_and_makes_none(cli: Cli, verb: str, more: list[str], key: str, after: str) -> None:
    """Every verb shows before → after; with `--dry-run` nothing changes and nothing is audited."""
    asked = ["providers", verb, "spare", *more]
    before = cli("providers", "list", "--json").json
    audited = len(cli("audit", "list", "--json").json["audit"])
    preview = cli(*asked, "--dry-run")
    assert preview.code == 0
    assert preview.out.startswith("dry run: ")
    assert f"{key}: " in preview.out
    assert f"→ {after}" in preview.out
    now = next(row for row in cli("providers", "list", "--json").json["providers"] if row["name"] == "spare")
    was = next(row for row in before["providers"] if row["name"] == "spare")
    assert [now[name] for name in ("status", "enabled", "priority")] == [
        was[name] for name in ("status", "enabled", "priority")
    ]
    assert len(cli("audit", "list", "--json").json["audit"]) == audited


def test_a_change_is_made_shown_and_audited(cli: Cli) -> None:
    """`disable` then `enable`: receipts, the list and the audit agree; names are case-insensitive."""
    done = cli.process("providers", "disable", "SPARE")
    assert (done.code, "→ disabled" in done.out) == (0, True)
    receipt = cli("providers", "enable", "spare", "--json").json
    assert (receipt["before"]["status"], receipt["persisted"]) == ("disabled", True)
    newest_two = cli("audit", "list", "--json", "--limit", "2").json["audit"]
    assert [row["command"] for row in newest_two] == ["enable_provider", "disable_provider"]
    assert "disable_provider" in cli("audit", "list", "--plain").out
    assert {row["actor"] for row in newest_two} == {"cli"}
    assert cli("failures", "clear").code == 0
    assert {row["actor"] for row in cli("audit", "list", "--json").json["audit"]} == {"cli"}


def test_enable_ends_a_forced_circuit_early(cli: Cli) -> None:
    """What `force-close` overruled has its say again."""
    assert cli("providers", "force-close", "spare").code == 0
    assert "admin: forced_closed → auto" in cli("providers", "enable", "spare").out


def test_a_route_is_split_at_its_first_slash_only(cli: Cli) -> None:
    """`good/second/model:1b` is the model `second/model:1b` of `good`."""
    done = cli("routes", "isolate", "spare/second/model:1b", "--ttl", "90s", "--json")
    assert done.json["target"] == "spare/second/model:1b"
    routes = {(row["provider"], row["model"]): row["status"] for row in cli("routes", "list", "--json").json["routes"]}
    assert routes["spare", "second/model:1b"] == "isolated"
    assert routes["good", "second/model:1b"] != "isolated"
    assert cli("routes", "enable", "spare/second/model:1b").code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("providers", "probe", "good"), 0),
        (("providers", "probe", "dead"), 1),
        (("routes", "probe", "dead/sim-ok"), 1),
        (("providers", "probe", "nobody"), 2),
        (("providers", "disable", "nobody"), 2),
        (("routes", "drain", "good/nothing"), 2),
        (("routes", "drain", "no-slash"), 2),
        (("routes", "priority", "good/nothing", "3"), 2),
        (("requests", "show", "nothing-like-it"), 2),
        (("requests", "cancel", "nothing-like-it"), 2),
        (("requests", "replay", "nothing-like-it"), 2),
        (("explain", "--body", "/does/not/exist"), 2),
        (("status", "--url", "http://127.0.0.1:9"), 4),
        (("status", "--url", "http://192.0.2.1:8808"), 2),
        (("status", "--url", "ftp://x"), 2),
        (("serve",), 5),
    ],
)
def test_exit_codes(cli: Cli, arguments: tuple[str, ...], code: int) -> None:
    """0 ok, 1 unhealthy, 2 usage, 4 no engine, 5 refused; a failure is said in one line on stderr."""
    done = cli.process(*arguments) if arguments[0] in {"serve", "status", "env"} else cli(*arguments)
    assert done.code == code, done
    if code >= 2:
        assert done.out == ""
        assert done.err.startswith("routerconsole: ")
        assert done.err.count("\n") == 1


def test_G26_a_second_engine_is_refused_and_the_first_named(cli: Cli) -> None:
    """One engine per state directory; the message has the pid of the one that runs."""
    pid = json.loads((cli.state / "engine.json").read_text())["pid"]
    assert str(pid) in cli.process("serve").err


def test_X05_a_wrong_token_is_refused_and_not_shown(cli: Cli, tmp_path: Path) -> None:
    """401 and 403 are exit 5, and the token is in no output."""
    token = tmp_path / "token"
    token.write_text("wrong-token-0123456789\n")
    done = cli("status", "--token-file", str(token))
    assert done.code == 5
    assert "wrong-token" not in done.out + done.err
    client = cli("status", "--token-file", str(cli.state / "client.token"))
    assert client.code == 5


def test_an_address_and_a_token_file_are_enough(cli: Cli, tmp_path: Path) -> None:
    """With `--url` and `--token-file` no state directory is needed (another user, a forwarded port)."""
    url = json.loads((cli.state / "engine.json").read_text())["url"]
    elsewhere = Cli(tmp_path)
    done = elsewhere("status", "--url", f"{url}/v1", "--token-file", str(cli.state / "admin.token"), "--json")
    assert done.json["endpoint"] == url
    without = elsewhere("status", "--url", url)
    assert without.code == 5
    assert not elsewhere.state.exists()


def test_explain_is_the_decision_of_the_next_request(cli: Cli, tmp_path: Path) -> None:
    """Same candidates, decisions, reasons and order as the next real request's trace."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps({**HELLO, "model": "sim-ok"}))
    said = cli("explain", "--body", str(body), "--json").json
    assert said["resolved"]["kind"]
    cli("complete", "hello", "--model", "sim-ok")
    done = cli("requests", "show", newest(cli, "sim-ok"), "--json").json
    same = ("provider", "model", "decision", "reasons")
    assert [[c[name] for name in same] for c in said["candidates"]] == [
        [c[name] for name in same] for c in done["candidates"]
    ]
    shown = cli("explain", "--model", "sim-ok", "--body", "-", stdin=json.dumps(HELLO))
    assert "SORT KEY" in shown.out
    assert shown.out.index("dead") < shown.out.index("good")


def test_explain_adds_needs_and_sends_nothing(cli: Cli) -> None:
    """`--needs` counts as what a request would ask for; no request is logged; malformed bodies are usage errors."""
    before = cli("requests", "list", "--json", "--limit", "1").json["requests"][0]["id"]
    said = cli("explain", "--model", "good/sim-ok", "--needs", "tools,vision,json,streaming", "--json").json
    assert set(said["needed"]) >= {"tools", "vision", "json", "streaming"}
    assert cli("requests", "list", "--json", "--limit", "1").json["requests"][0]["id"] == before
    assert cli("explain", "--body", "-", stdin="{nope").code == 2
    assert cli("explain", "--body", "-", stdin="[]").code == 2
    assert cli("explain", "--needs", "no-such-capability").code == 2
    assert cli("explain", "--model", "no-such-model").code == 2


def test_the_log_is_listed_filtered_and_shown(cli: Cli) -> None:
    """Rows have the contract's fields; a request is found by a part of its id and shown with its waterfall."""
    cli("providers", "reset", "dead")
    cli("complete", "hello", "--model", "sim-ok")
    shown = cli("requests", "list", "--json", "--limit", "3").json
    assert len(shown["requests"]) <= 3
    row = shown["requests"][0]
    assert {"id", "at", "origin", "model", "status", "http_status", "provider", "attempts", "chain"} <= row.keys()
    assert cli("requests", "list", "--filter", "no-such-text-anywhere").out == "no requests\n"
    assert cli("requests", "list", "--status", "failed", "--json").json["requests"] == [
        row for row in cli("requests", "list", "--json", "--limit", "500").json["requests"] if row["status"] == "failed"
    ]
    detail = cli("requests", "show", row["id"])
    assert "✗" in detail.out
    assert "●" in detail.out
    assert row["chain"] in detail.out
    plain = cli("requests", "show", row["id"], "--plain").out
    assert plain.startswith("request: ")
    assert "attempt: 1; provider: dead" in plain


def test_U55_a_request_shown_says_under_which_name_it_was_answered(cli: Cli) -> None:
    """The model an answer names for itself stands beside the one asked for, where they differ, in both forms."""
    assert cli("complete", "hello", "--model", "good/alias").code == 0
    shown = cli("requests", "show", newest(cli, "alias"))
    assert "answered as alias-2026-01-01, asked for alias" in shown.out
    plain = cli("requests", "show", newest(cli, "alias"), "--plain")
    assert "answered as: alias-2026-01-01" in plain.out
    assert cli("complete", "hello", "--model", "good/sim-ok").code == 0
    assert "answered as" not in cli("requests", "show", newest(cli, "sim-ok")).out


def test_failures_are_listed_and_cleared(cli: Cli) -> None:
    """Each failed attempt with its class; `clear` empties the list and says so."""
    cli("providers", "reset", "dead")
    cli("complete", "hello", "--model", "sim-ok")
    listed = cli("failures", "list", "--json").json["failures"]
    assert listed[0]["provider"] == "dead"
    assert listed[0]["class"] == "connect"
    assert "→ 0" in cli("failures", "clear").out
    assert cli("failures", "list").out == "no failures\n"


def test_exports_are_private_whole_and_harmless_in_a_spreadsheet(cli: Cli, tmp_path: Path) -> None:
    """A new file, 0600, never over anything; formula cells get an apostrophe; JSON lines are rows."""
    cli("complete", "hello", "--model", "=cmd|'/c calc'!A1")
    cli("complete", "hello", "--model", "@SUM(A1)")
    out = tmp_path / "log.csv"
    done = cli("requests", "export", "--format", "csv", "--out", str(out))
    assert (done.code, done.out) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    models = [row["model"] for row in rows]
    assert {"'=cmd|'/c calc'!A1", "'@SUM(A1)"} <= set(models)
    again = cli("requests", "export", "--format", "csv", "--out", str(out))
    assert (again.code, "already exists" in again.err) == (5, True)
    lines = cli("requests", "export", "--limit", "2").out.splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["@SUM(A1)", "=cmd|'/c calc'!A1"]


def test_a_request_is_replayed_on_other_models(cli: Cli) -> None:
    """`replay --models` sends the kept body once per model and names the new requests."""
    cli("complete", "hello", "--model", "good/sim-ok")
    replayed = cli("requests", "replay", newest(cli, "good"), "--models", "sim-ok,good/second/model:1b", "--json").json
    assert len(replayed["after"]["requests"]) == 2


def test_the_filter_language_narrows_list_export_and_tail(cli: Cli) -> None:
    """`--filter` takes terms everywhere; one that means nothing is exit 2 and names the term."""
    cli("complete", "hello", "--model", "good/sim-ok")
    request_id = newest(cli, "model:good/sim-ok")
    for command in (("requests", "list", "--json", "--limit", "500"), ("requests", "export", "--format", "jsonl")):
        assert request_id in cli(*command, "--filter", "prov:good status:ok last:1h").out
        assert request_id not in cli(*command, "--filter", "! prov:good").out
        assert request_id not in cli(*command, "--filter=-prov:good").out
    for command in (("list",), ("export",), ("tail",)):
        done = cli("requests", *command, "--filter", "lat>x")
        assert done.code == 2
        assert "'lat>x'" in done.err
    with cli.started("requests", "tail", "--limit", "1", "--filter", "prov:good", "--json", ready="{") as (tail, _):
        assert tail.poll() is None
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 130


def test_tail_shows_requests_as_they_end(cli: Cli) -> None:
    """Earlier ones first, then each new one; Ctrl-C ends it with 130. Replays of other tests may end in between."""
    complete = ("complete", "hello", "--model", "good/sim-ok", "--json")
    earlier = cli(*complete).json["request_id"]
    with cli.started("requests", "tail", "--limit", "5", "--json", ready="{") as (tail, rest), in_time(tail):
        ids = [json.loads("{" + rest)["id"]]  # it follows from here on
        later = cli(*complete).json["request_id"]
        assert tail.stdout is not None
        while later not in ids:
            ids.append(json.loads(tail.stdout.readline())["id"])
        assert earlier in ids
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 130
    assert (cli.home / "requests.stderr").read_text() == ""


def test_a_reader_that_has_seen_enough_is_no_error(cli: Cli) -> None:
    """`requests list | head -1` ends quietly."""
    done = subprocess.run(
        ["/bin/bash", "-c", 'set -o pipefail; "$@" | head -c 1 >/dev/null', "x", *cli.line("requests", "export")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(cli.home, cli.env),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_X17_no_command_shows_a_key(cli: Cli) -> None:
    """A provider's resolved key is in no output of any reading command, diagnostics included."""
    for command in (
        ("status", "--json"),
        ("requests", "list", "--json"),
        ("failures", "list", "--json"),
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "export"),
        ("audit", "list", "--json"),
    ):
        done = cli.process("--log-level", "debug", *command) if "export" in command else cli(*command)
        assert done.code == 0, done
        assert KEY not in done.out + done.err, command


@pytest.mark.parametrize("command", ["console", "attach", "demo"])
def test_without_a_terminal_there_is_no_console(cli: Cli, command: str) -> None:
    """Exit 2 with the headless alternative and no escape byte, also on a running engine."""
    done = cli.process(command)
    assert done.code == 2
    assert done.out == ""
    assert active(done.err) == set()
    assert "routerconsole" in done.err


def test_status_counts_what_a_check_found_down(cli: Cli) -> None:
    """After a check `dead` is among the unhealthy, in the table's first line as in the JSON."""
    assert cli("providers", "probe", "dead").code == 1
    shown = cli("status", "--json").json
    bad = [row["name"] for row in shown["providers"] if row["counts_as"] == "unhealthy"]
    assert "dead" in bad
    assert shown["unhealthy"] == len(bad)
    assert f"{shown['unhealthy']} unhealthy" in cli("status").out.splitlines()[0]
