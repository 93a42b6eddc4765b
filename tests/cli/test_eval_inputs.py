"""What `eval run` brings along: addresses with keys that stay nowhere, scenario files, and runs that got worse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.stand import Cli
from tests.support.counting import Counting, counting_upstream

KEY = "sk-canary-0123456789abcdef"
SAYS = {"id": "one", "turns": [{"user": "Say READY."}], "assert": [{"type": "contains", "value": "READY"}]}


@pytest.fixture(scope="module")
def counter() -> Iterator[Counting]:
    """An upstream that says what it is told to."""
    with counting_upstream() as found:
        yield found


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, counter: Counting) -> Iterator[Cli]:
    """A user whose engine runs, with that upstream as a provider too."""
    home = tmp_path_factory.mktemp("user")
    provider = {"name": "u", "kind": "openai_compatible", "base_url": counter.url, "models": [{"id": "m"}]}
    config = home / "providers.yaml"
    config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": [provider]}))
    cli = Cli(home, config)
    with cli.started("serve", ready="routerconsole listening on "):
        yield cli


def files(home: Path, *scenarios: object) -> Path:
    """A directory of scenarios."""
    home.mkdir(exist_ok=True)
    (home / "mine.yaml").write_text(json.dumps({"version": 1, "suite": "mine", "scenarios": list(scenarios)}))
    return home


def test_an_address_is_asked_with_a_key_that_is_nowhere_afterwards(
    user: Cli, counter: Counting, tmp_path: Path
) -> None:
    """The key reaches the upstream and no file, report or message; a resumed run asks for it again."""
    counter.text = "READY, and your key is KEY"
    more = ("--scenarios-dir", str(files(tmp_path / "s", SAYS)))
    asked = ("eval", "run", "--targets", f"url:{counter.url},u/m", "--scenarios", "one", "--repeats", "2", *more)
    done = user(*asked, "--key", "env:MY_KEY", "--json", env={"MY_KEY": KEY})
    assert done.code == 0, done
    assert KEY in counter.keys
    column = done.json["targets"][0]
    assert (column["id"], column["model"], column["scenarios"][0]["k"]) == (f"url:{counter.url}", "m", 2)
    name = done.json["run_id"]
    shown = user("eval", "show", name, "--json").out + user("eval", "report", name).out + done.out + done.err
    assert KEY not in shown
    kept = [path for path in user.home.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []
    again = user("eval", "run", "--resume", name, *more)
    assert (again.code, "--key" in again.err) == (2, True), again
    assert user("eval", "run", "--resume", name, *more, "--key", "env:MY_KEY", env={"MY_KEY": KEY}).code == 0
    counter.text = "READY"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--targets", "url:ftp://x/v1"), "is no target"),
        (("--targets", "url:http://user:word@127.0.0.1/v1"), "user or password"),
        (("--targets", "url:http://169.254.169.254/v1"), "refused"),
        (("--targets", "u/m", "--key", "env:MY_KEY"), "exactly one"),
        (("--targets", "url:http://127.0.0.1:9/v1,url:http://127.0.0.2:9/v1", "--key", "env:MY_KEY"), "exactly one"),
        (("--targets", "url:http://127.0.0.1:9/v1", "--key", "env:NOBODY"), "NOBODY"),
        (("--targets", "url:http://127.0.0.1:9/v1", "--key", KEY), "env:"),
    ],
)
def test_addresses_and_keys_that_make_no_sense_are_usage_errors(
    user: Cli, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 2 with the reason, and a key typed by mistake is not repeated."""
    done = user("eval", "run", "--scenarios", "plain-chat", *arguments, env={"MY_KEY": KEY})
    assert (done.code, said in done.err, KEY in done.err) == (2, True, False), done


def test_an_address_nobody_answers_at_is_one_failed_row(user: Cli, counter: Counting) -> None:
    """`profile_availability`, and the run goes on with the others; a key that is refused is not repeated."""
    targets, more = "url:http://127.0.0.1:9/v1,u/m", ("--scenarios", "plain-chat", "--repeats", "1", "--json")
    done = user("eval", "run", "--targets", targets, *more)
    assert done.code == 1, done
    assert [[each["scenario_id"] for each in column["scenarios"]] for column in done.json["targets"]] == [
        ["profile_availability"], ["plain-chat"],
    ]  # fmt: skip
    bad = {"MY_KEY": "bad-0123456789abcdef"}
    refused = user("eval", "run", "--targets", f"url:{counter.url}", "--key", "env:MY_KEY", *more, env=bad)
    assert (refused.code, bad["MY_KEY"] in refused.out + refused.err) == (1, False), refused
    assert refused.json["targets"][0]["scenarios"][0]["scenario_id"] == "profile_availability"


def test_scenario_files_are_read_here_and_everything_wrong_in_them_is_said_at_once(user: Cli, tmp_path: Path) -> None:
    """File and line of each mistake in each file, before anything is asked; an empty directory is one too."""
    home = files(tmp_path / "s", SAYS, {"id": "two", "turns": [{"user": "x"}], "assert": [{"type": "equal"}]})
    (home / "worse.yaml").write_text("version: 1\nsuite: w\nscenarios:\n- {id: x, bogus: 1}\n")
    done = user("eval", "run", "--targets", "u/m", "--scenarios", "one", "--scenarios-dir", str(home))
    assert done.code == 2, done
    for part in ("mine.yaml:1", "did you mean 'equals'", "worse.yaml:4", "bogus"):
        assert part in done.err, (part, done.err)
    (tmp_path / "empty").mkdir()
    empty = user("eval", "run", "--targets", "u/m", "--scenarios-dir", str(tmp_path / "empty"))
    assert (empty.code, "holds no scenarios" in empty.err) == (2, True)


def test_a_planted_regression_fails_the_comparison_and_names_the_flips(
    user: Cli, counter: Counting, tmp_path: Path
) -> None:
    """Exit 1 and each flip; equal runs cannot be separated; changed scenarios cannot be compared, so pass no gate."""
    home = files(tmp_path / "s", SAYS)
    asked = ("eval", "run", "--targets", "u/m", "--scenarios", "one", "--repeats", "8", "--json",
             "--scenarios-dir", str(home))  # fmt: skip
    good, same = user(*asked).json["run_id"], user(*asked).json["run_id"]
    counter.text = "no"
    worse = user(*asked).json["run_id"]
    counter.text = "READY"
    equal = user("eval", "compare", good, same, "--fail-on", "regression")
    assert (equal.code, equal.out.startswith("cannot separate")) == (0, True), equal
    lost = user("eval", "compare", good, worse, "--fail-on", "regression")
    assert (lost.code, lost.out.count("pass → fail(contains)")) == (1, 8), lost
    assert lost.out.startswith("cannot separate (needs more scenarios that agree)"), "one scenario names no winner"
    assert user("eval", "compare", worse, good, "--fail-on", "regression").code == 0
    files(home, {**SAYS, "turns": [{"user": "Say it."}]})
    other = user(*asked).json["run_id"]
    changed = user("eval", "compare", good, other, "--fail-on", "regression")
    assert changed.out.startswith("not comparable"), changed
    assert "one: not comparable" in changed.out
    assert (changed.code, "cannot be told" in changed.err) == (1, True), "a gate that saw nothing has not passed"
    assert user("eval", "compare", good, other).code == 0


def test_kept_answers_are_graded_again_without_a_call(user: Cli, counter: Counting, tmp_path: Path) -> None:
    """What is asserted may change, what is asked may not; a dry run only tells."""
    home = files(tmp_path / "s", {**SAYS, "assert": [{"type": "equals", "value": "ready"}]})
    more = ("--scenarios-dir", str(home))
    first = user("eval", "run", "--targets", "u/m", "--scenarios", "one", "--repeats", "3", "--json", *more)
    name, asked = first.json["run_id"], counter.asked
    assert first.code == 1
    files(home, {**SAYS, "assert": [{"type": "iequals", "value": "ready"}]})
    told = user("eval", "regrade", name, *more, "--dry-run", "--json").json
    assert (told["before"], told["after"]) == ({"fail": 3}, {"pass": 3, "changed": 3})
    assert user("eval", "show", name, "--json").json["targets"][0]["scenarios"][0]["k"] == 0
    again = user("eval", "regrade", name, *more, "--json")
    assert (again.code, again.json["targets"][0]["scenarios"][0]["k"], counter.asked) == (0, 3, asked), again
    assert json.loads((user.state / "reports" / f"{name}.json").read_text())["targets"][0]["scenarios"][0]["k"] == 3
    files(home, {**SAYS, "turns": [{"user": "Something else."}]})
    assert user("eval", "regrade", name, *more).code == 5
    assert user("eval", "regrade", name).code == 5
    assert user("eval", "regrade", "meval_000000000000").code == 2


def test_answers_of_earlier_runs_stand_in_for_calls_only_when_asked(
    user: Cli, counter: Counting, tmp_path: Path
) -> None:
    """`--cache` takes over what pins one model at temperature 0; what carries a nonce is asked anew."""
    fresh = {**SAYS, "id": "fresh", "turns": [{"user": "Say READY and {{n}}."}], "vars": {"n": {"kind": "digits"}}}
    more = ("--scenarios-dir", str(files(tmp_path / "s", {**SAYS, "id": "same"}, fresh)), "--repeats", "2", "--json")
    asked = ("eval", "run", "--targets", "u/m", "--scenarios", "same,fresh", *more)
    counts = []
    for flags in ((), ("--cache",), ()):
        before = counter.asked
        done = user(*asked, *flags)
        assert done.code == 0, done
        counts.append(counter.asked - before)
        same, other = done.json["targets"][0]["scenarios"]
        assert (same["summary"], other["summary"]) == (
            "2/2 passed, 2 from earlier runs" if flags else "2/2 passed", "2/2 passed"
        )  # fmt: skip
    assert counts == [4, 2, 4]
