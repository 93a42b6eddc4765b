"""The grammar: what is accepted where, and what an unknown word is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from routerconsole.cli.parser import build, commands_of, parse

OWNED = {
    "console", "demo", "serve", "attach", "mcp", "env", "status", "explain", "complete", "simulate",
    "completions", "man", "unit", "usage",
    *(f"{what} {verb}" for what in ("providers", "routes") for verb in
      ("list", "enable", "disable", "drain", "reset", "isolate", "force-close", "priority", "probe")),
    *(f"requests {verb}" for verb in ("list", "show", "tail", "export", "cancel", "replay")),
    "failures list", "failures clear", "audit list", "undo",
    *(f"models {verb}" for verb in
      ("list", "show", "register", "update", "remove", "enable", "disable", "accept", "label", "assign", "unassign",
       "assignments", "pull", "sync", "prices", "doctor", "capability", "capability set", "capability clear")),
    *(f"capabilities {verb}" for verb in ("tree", "show", "extend")),
    *(f"pools {verb}" for verb in ("list", "show", "rotate")),
    *(f"profiles {verb}" for verb in ("list", "show", "doctor")),
    *(f"eval {verb}" for verb in
      ("list", "run", "show", "report", "cancel", "regrade", "compare", "prefer", "judge-check", "accept")),
    *(f"reward {verb}" for verb in ("score", "history")),
    *(f"config {verb}" for verb in ("check", "show", "init", "export")),
}  # fmt: skip


def test_every_command_is_there_and_none_of_later_issues() -> None:
    """The command table of interface.md §3, as far as this version goes."""
    groups = {name.split(" ")[0] for name in OWNED}
    assert set(commands_of(build())) == OWNED | groups


@pytest.mark.parametrize(
    "argv",
    [
        ["--state-dir", "/s", "--json", "--log-level", "debug", "--config", "/c", "providers", "list"],
        ["providers", "list", "--state-dir", "/s", "--json", "--log-level", "debug", "--config", "/c"],
        ["--state-dir", "/s", "providers", "--json", "--config", "/c", "list", "--log-level", "debug"],
    ],
)
def test_global_options_stand_before_and_after_the_command(argv: list[str]) -> None:
    """The same arguments whatever their place."""
    args = parse(argv)
    assert (args.state_dir, args.config, args.json, args.log_level) == (Path("/s"), Path("/c"), True, "debug")
    assert args.log_format == "text"


def test_the_later_of_two_global_options_counts() -> None:
    """An option after the command overrides the one before it."""
    assert parse(["--url", "http://a", "status", "--url", "http://b"]).url == "http://b"


def test_without_a_command_it_is_the_console_with_its_flags() -> None:
    """`routerconsole --read-only --ascii` opens a console."""
    args = parse(["--read-only", "--ascii", "--on-hangup", "exit"])
    assert (args.module, args.function) == ("routerconsole.cli.console", "run")
    assert (args.read_only, args.ascii, args.slow, args.on_hangup) == (True, True, False, "exit")


@pytest.mark.parametrize("command", ["console", "attach", "demo"])
def test_consoles_take_the_flags_before_and_after(command: str) -> None:
    """Console flags stand on either side too, and default to off and headless."""
    assert parse(["--slow", command]).slow is True
    assert parse([command, "--slow"]).slow is True
    args = parse([command])
    assert (args.read_only, args.ascii, args.slow, args.on_hangup) == (False, False, False, "headless")


def test_a_console_on_a_named_engine_is_attached() -> None:
    """`--url` names an engine, so no engine of our own is started."""
    for argv in (["--url", "http://h:1"], ["console", "--url", "http://h:1"]):
        assert parse(argv).function == "attach"
    assert parse(["console"]).function == "run"


def test_attach_takes_the_address_as_an_argument_or_an_option() -> None:
    """`attach URL` and `attach --url URL` are the same, and none is fine."""
    assert parse(["attach", "http://h:1"]).url == "http://h:1"
    assert parse(["attach", "--url", "http://h:1"]).url == "http://h:1"
    assert parse(["attach"]).url is None


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["statsu"], "did you mean status"),
        (["mcp", "list"], "unrecognized arguments: list"),
        (["models", "capability", "sett", "a/b", "tools", "yes"], "did you mean set"),
        (["models", "capability", "set", "a/b", "tools", "maybe"], "yes"),
        (["models", "update", "a/b", "--tier", "huge"], "exploratory"),
        (["models", "update", "a/b", "--usd-per-mtok-in", "-1"], "from 0"),
        (["providers", "enalbe", "x"], "did you mean enable"),
        (["--slow", "status"], "--slow belongs to console"),
        (["status", "--bogus"], "--bogus"),
        (["status", "--jso"], "--jso"),
        (["providers"], "VERB"),
        (["serve", "--port", "70000"], "not a port"),
        (["serve", "--port", "²"], "not a port"),
        (["requests", "list", "--limit", "0"], "above 0"),
        (["demo", "--seconds", "nan"], "above 0"),
        (["routes", "isolate", "a/b", "--ttl", "-1"], "--ttl"),
        (["eval", "run", "--targets", "a/b", "--scenarios", ","], "names no scenario"),
        (["status\x1b[31m"], r"status\x1b[31m"),
        (["complete", "caf\udce9"], "not valid UTF-8"),
        (["explain", "--needs", "a,\udce9"], "not valid UTF-8"),
    ],
)
def test_wrong_usage_is_one_line_and_two(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line on stderr that names what is wrong, nothing a terminal would act on."""
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.startswith("routerconsole: ")
    assert shown.err.count("\n") == 1
    assert "\x1b" not in shown.err


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90.0), ("90s", 90.0), ("15m", 900.0), ("2h", 7200.0), ("500ms", 0.5)]
)
def test_a_time_to_live_is_a_duration(text: str, value: float) -> None:
    """Seconds or with a unit, 15 minutes when left out."""
    assert parse(["providers", "isolate", "x", "--ttl", text]).ttl == value
    assert parse(["providers", "isolate", "x"]).ttl == 900.0


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (
            ["providers", "list", "--plian"],
            "; did you mean --plain? (see `routerconsole providers list --help`)",
        ),
        (["serve", "--prot", "1"], "--prot 1; did you mean --port? (see `routerconsole serve --help`)"),
        (["status", "--jsn"], "--jsn; did you mean --json? (see `routerconsole status --help`)"),
        (["--confg=x", "status"], "--confg=x; did you mean --config? (see `routerconsole --help`)"),
        (["status", "x"], "unrecognized arguments: x (see `routerconsole status --help`)"),
        (["--log-level", "inf", "status"], "unknown log-level 'inf'; did you mean info?"),
        (["requests", "list", "--before", "zz"], "'zz' is no cursor (take the `next` of a page"),
    ],
)
def test_a_wrong_option_gets_the_nearest_and_its_commands_help(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint names options of the very command, and the help to read is that command's."""
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
