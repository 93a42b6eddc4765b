"""Evaluations from the command line: exit codes, JSON, reports, resumption, with an engine and without one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.stand import Cli, environment, in_time

MODELS = {
    "good": {"text": "READY", "usage": "always"},
    "broken": {"statuses": [500]},
    "slow": {"latency": 3600.0},
    "judge": {"text": '{"verdict": "good"}'},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration with one simulated provider."""
    home = tmp_path_factory.mktemp("evals")
    script = home / "script.yaml"
    script.write_text(json.dumps({"models": MODELS}))
    with Cli(home).started("simulate", "--script", str(script), ready="routerconsole simulator listening on ") as (
        _,
        url,
    ):
        file = home / "providers.yaml"
        provider = {
            "name": "s",
            "kind": "openai_compatible",
            "base_url": url,
            "models": [{"id": name} for name in MODELS],
        }
        file.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": [provider]}))
        yield file


@pytest.fixture(scope="module")
def user(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A user whose engine runs."""
    cli = Cli(tmp_path_factory.mktemp("user"), config)
    with cli.started("serve", ready="routerconsole listening on "):
        yield cli


def run(cli: Cli, *more: str) -> str:
    """A run's id."""
    done = cli("eval", "run", "--targets", "s/good", "--scenarios", "plain-chat", "--json", *more)
    assert done.code == 0, done
    name: str = done.json["run_id"]
    return name


def test_C4_32_the_exit_code_says_whether_all_passed(user: Cli) -> None:
    """0 all passed, 1 any failed, 2 usage; an unknown scenario names the valid ones."""
    passed = user("eval", "run", "--targets", "s/good", "--scenarios", "plain-chat", "--repeats", "2")
    assert (passed.code, "pass" in passed.out, "2/2" in passed.out) == (0, True, True), passed
    failed = user("eval", "run", "--targets", "s/good,s/nope", "--scenarios", "plain-chat,json-extraction")
    assert (failed.code, "profile_lookup" in failed.out) == (1, True), failed
    unknown = user("eval", "run", "--targets", "s/good", "--scenarios", "nope")
    assert (unknown.code, "json-extraction" in unknown.err) == (2, True)
    for wrong in (["run"], ["run", "--targets", "nonsense"], ["run", "--resume", "meval_000000000000"],
                  ["show", "meval_000000000000"], ["report", "../x"], ["compare", "a", "a"]):  # fmt: skip
        assert user("eval", *wrong).code == 2, wrong


def test_without_an_engine_one_runs_for_as_long_as_it_takes(config: Path, tmp_path: Path) -> None:
    """Headless from nothing; afterwards the run is read from the disk."""
    cli = Cli(tmp_path, config)
    done = cli.process("eval", "run", "--targets", "s/good", "--scenarios", "plain-chat", "--repeats", "1", "--json")
    assert done.code == 0, done
    name = done.json["run_id"]
    assert [each["run_id"] for each in cli("eval", "list", "--json").json["runs"]] == [name]
    assert cli("eval", "show", name, "--json").json["all_passed"] is True
    assert name in cli("eval", "list", "--runs").out


def test_an_engine_of_ones_own_stays_for_the_runs_of_others(config: Path, tmp_path: Path) -> None:
    """A second command finds the engine of the first and outlives it: both read their reports, neither loses it."""
    cli = Cli(tmp_path, config)
    hangs = ("eval", "run", "--targets", "s/slow", "--scenarios", "plain-chat", "--repeats", "1", "--json")
    first = subprocess.Popen(
        cli.line(*hangs, "--timeout", "0.5"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cli.home,
        env=environment(cli.home),
    )  # fmt: skip
    with in_time(first):
        while not cli("eval", "list", "--json").json["runs"]:
            assert first.poll() is None
        second = cli(*hangs, "--timeout", "0.3")
        out, _ = first.communicate()
    assert (second.code, second.json["state"]) == (1, "finished"), second
    assert (first.returncode, json.loads(out)["state"]) == (1, "finished")


def test_the_list_needs_neither_engine_nor_state(config: Path, tmp_path: Path) -> None:
    """Built-in scenarios, one per line, and nothing is created by looking."""
    cli = Cli(tmp_path / "nobody", config)
    (tmp_path / "nobody").mkdir()
    assert cli("eval", "list").out.splitlines()[1].startswith("plain-chat ")
    assert cli("eval", "list", "--runs").out == "no runs\n"
    assert not cli.state.exists()


def test_C4_29_reports_are_printed_as_they_were_written(user: Cli) -> None:
    """Markdown by default; JSON, JUnit, HTML and SVG by name."""
    name = run(user)
    assert "Model Evaluation Report" in user("eval", "report", name).out
    for form, start in (("json", "{"), ("xml", "<"), ("html", "<!"), ("svg", "<")):
        done = user("eval", "report", name, "--format", form)
        assert (done.code, done.out.startswith(start)) == (0, True), form


def test_one_cell_is_shown_in_full(user: Cli) -> None:
    """Verdict, checks, what was asked and answered and the way taken; in JSON the frames; 2 without such a cell."""
    name = run(user, "--repeats", "2")
    cell = ("eval", "show", name, "--scenario", "plain-chat", "--target")
    shown = user(*cell, "s/good")
    assert shown.code == 0, shown
    for words in ("#2 pass", "wanted: READY; got: READY", "served by: s/good", "asked: Connection", "answer: READY"):
        assert words in shown.out, shown.out
    repeats = user(*cell, "s/good", "--json").json["repeats"]
    assert [bool(each["calls"][0]["frames"]) for each in repeats] == [True, True]
    assert user(*cell, "s/other").code == 2
    assert user(*cell[:-1]).code == 2


def test_two_runs_are_compared(user: Cli) -> None:
    """No winner among equals, and no regression to fail on."""
    a, b = run(user), run(user)
    done = user("eval", "compare", a, b, "--fail-on", "regression")
    assert (done.code, done.out.startswith("cannot separate")) == (0, True), done
    assert user("eval", "compare", a, b, "--json").json["regression"] is False


def test_a_directory_of_more_scenarios_is_read_and_its_mistakes_are_named(user: Cli, tmp_path: Path) -> None:
    """File and line of every mistake; a good one runs like a built-in one."""
    file = tmp_path / "mine.yaml"
    text = {"version": 1, "suite": "mine", "scenarios": [
        {"id": "mine", "title": "Mine", "turns": [{"user": "Say READY."}],
         "assert": [{"type": "contains", "value": "READY"}]},
    ]}  # fmt: skip
    file.write_text(json.dumps(text))
    more = ("--scenarios-dir", str(tmp_path), "--repeats", "1")
    assert user("eval", "run", "--targets", "s/good", "--scenarios", "mine", *more).code == 0
    file.write_text("version: 1\nsuite: mine\nscenarios: [{id: mine, bogus: 1}]\n")
    wrong = user("eval", "run", "--targets", "s/good", "--scenarios", "mine", *more)
    assert (wrong.code, "mine.yaml:3" in wrong.err) == (2, True), wrong


def test_ctrl_c_stops_the_run_and_resume_goes_on_with_it(user: Cli) -> None:
    """130, the run is cancelled; what a limit kept from being asked is asked when it is resumed."""
    line = user.line("eval", "run", "--targets", "s/slow", "--scenarios", "plain-chat", "--repeats", "1")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=user.home, env=environment(user.home)
    )
    with in_time(process):
        while not any(each["targets"] == ["s/slow"] and each["state"] == "running"
                      for each in user("eval", "list", "--json").json["runs"]):  # fmt: skip
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    slow = next(each for each in user("eval", "list", "--json").json["runs"] if each["targets"] == ["s/slow"])
    assert slow["state"] == "cancelled"
    capped = user("eval", "run", "--targets", "s/good", "--scenarios", "plain-chat", "--repeats", "9",
                  "--max-tokens", "1", "--json")  # fmt: skip
    name = capped.json["run_id"]
    assert "not asked (cap_tokens)" in capped.err, "neither failed nor passed, which is told"
    again = user("eval", "run", "--resume", name, "--max-tokens", "1000000", "--json")
    square = again.json["targets"][0]["scenarios"][0]
    assert (again.code, square["k"], square["n"], square["counts"]) == (0, 9, 9, {"pass": 9})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_engine_of_ones_own_is_closed_when_its_command_is_ended(
    number: signal.Signals, config: Path, tmp_path: Path
) -> None:
    """As Ctrl-C: the run is cancelled and told, and no run file of an engine that is gone stays."""
    cli = Cli(tmp_path, config)
    line = cli.line("eval", "run", "--targets", "s/slow", "--scenarios", "plain-chat", "--repeats", "1")
    with (
        subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cli.home, env=environment(cli.home)
        ) as process,
        in_time(process),
    ):
        assert process.stderr is not None
        assert " begins; " in process.stderr.readline()
        process.send_signal(number)
        assert process.wait() == 130
        assert "was stopped; what is finished is kept" in process.stderr.read()
    assert not (cli.state / "engine.json").exists()


def test_E06_finished_cells_are_there_after_kill_9_and_the_run_goes_on(config: Path, tmp_path: Path) -> None:
    """What was told of a run is on the disk; resumed with an engine of its own it asks only what is missing."""
    cli = Cli(tmp_path, config)
    with cli.started("serve", ready="routerconsole listening on ") as (process, _):
        more = ("--repeats", "1", "--seed", "2")  # an order in which the good one is asked before the one that hangs
        line = cli.line("eval", "run", "--targets", "s/good,s/slow", "--scenarios", "plain-chat", *more)
        client = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cli.home, env=environment(cli.home)
        )
        with in_time(process):
            while not (runs := cli("eval", "list", "--json").json["runs"]):
                assert process.poll() is None
            name = runs[0]["run_id"]
            while cli("eval", "show", name, "--json").json["cells"] < 1:
                assert process.poll() is None
        before = cli("eval", "show", name, "--json").json["targets"][0]["scenarios"]
        process.kill()
        process.wait(60)
        client.kill()
        client.wait(60)
    told = cli("eval", "show", name, "--json").json
    assert (told["state"], told["cells"], told["targets"][0]["scenarios"]) == ("cancelled", 1, before)
    unwritten = cli("eval", "report", name)  # it died before it could write one
    assert (unwritten.code, "Model Evaluation Report" in unwritten.out) == (0, True), unwritten
    again = cli.process("eval", "run", "--resume", name, "--timeout", "1", "--json")
    assert again.code == 1
    squares = {each["id"]: each["scenarios"][0] for each in again.json["targets"]}
    assert squares["s/good"] == before[0]
    assert squares["s/slow"]["status"] == "error"


def both_ready(user: Cli, home: Path) -> str:
    """A run of two columns whose answers the graders let stand."""
    said = {"id": "any", "title": "Any", "turns": [{"user": "Say."}], "assert": [{"type": "not_equals", "value": "x"}]}
    (home / "more").mkdir()
    (home / "more" / "any.yaml").write_text(json.dumps({"version": 1, "suite": "any", "scenarios": [said]}))
    more = ("--scenarios", "any", "--scenarios-dir", str(home / "more"), "--repeats", "1", "--json")
    done = user("eval", "run", "--targets", "s/good,s/judge", *more)
    assert done.code == 0, done
    name: str = done.json["run_id"]
    return name


def test_C0_43_C0_45_outputs_are_scored_and_judges_tried(user: Cli, config: Path, tmp_path: Path) -> None:
    """0 with a score, 1 without one and why, 2 for nonsense; history by agent, and what it comes to."""
    asked = ("--judge", "s/judge", "--agent", "x", "--model", "s/good")
    done = user("reward", "score", "Say READY.", "READY", *asked)
    assert (done.code, done.out) == (0, "+1.00 by s/judge: 3 good, 0 bad, 3 of 3 valid\n"), done
    typed = user("reward", "score", "--task", "Say READY.", "--output", "-", *asked, "--json", stdin="READY")
    assert (typed.code, typed.json["score"], typed.json["judge"]) == (0, 1.0, "s/judge")
    off = user("reward", "score", "t", "o")
    assert (off.code, "reward.enabled" in off.err, off.out) == (1, True, "")
    none = user("reward", "score", "t", "o", "--judge", "s/good", "--json")
    assert (none.code, none.json["score"], "fewer than a majority" in none.err) == (1, None, True)
    for wrong in (["score"], ["score", "t"], ["score", "-", "-"], ["score", "t", "o", "--judge", "s/nope"]):
        assert user("reward", *wrong).code == 2, wrong
    page = user("reward", "history", "--json").json
    assert [(each["agent"], each["model"], each["score"]) for each in page["scores"]] == [("x", "s/good", 1.0)] * 2
    assert "no scores" in user("reward", "history", "--agent", "nobody").out
    assert "s/good" in user("reward", "history", "--means").out
    assert "s/good, mean 1, n 2" in user("models", "show", "s/good").out
    mute = user("eval", "prefer", both_ready(user, tmp_path), "s/good", "s/judge", "--judge", "s/good")
    assert (mute.code, mute.out.startswith("cannot separate"), "never tried" in mute.err) == (0, True, True), mute
    tried = user("eval", "judge-check", "--judge", "s/judge")
    assert (tried.code, "0 of 20 pairs right" in tried.out, "may not gate" in tried.out) == (1, True, True), tried
    (tmp_path / "nobody").mkdir()
    nobody = Cli(tmp_path / "nobody", config)
    assert (nobody("reward", "history").out, nobody.state.exists()) == ("no scores\n", False)
