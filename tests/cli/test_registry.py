"""The registry's commands, on a running engine and on a state directory without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import HOSTILE
from tests.cli.stand import Cli, active

from routerconsole.cli.pull import bar


def configured(home: Path, **extra: object) -> Cli:
    """A user with a configuration and no engine: `a` has two models, `b` lacks its key."""
    config = home / "providers.yaml"
    models = [{"id": "m1", "capabilities": ["text", "tools"]}, {"id": "m2", "capabilities": ["-tools"]}]
    providers = [
        {"name": "a", "kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "models": models},
        {"name": "b", "kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "api_key": "env:NOT_SET_AT_ALL",
         "models": [{"id": "m3", "capabilities": ["-tools"]}]},
    ]  # fmt: skip
    config.write_text(json.dumps({"version": 1, "server": {"port": 0}, "providers": providers, **extra}))
    return Cli(home, config)


@pytest.fixture
def resting(tmp_path: Path) -> Cli:
    """That user."""
    return configured(tmp_path)


@pytest.fixture(params=["running", "resting"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Cli, str]:
    """Somebody with a model of their own to change, with an engine and without one."""
    cli: Cli = request.getfixturevalue("cli") if request.param == "running" else configured(tmp_path)
    return cli, "good/sim-ok" if request.param == "running" else "a/m1"


def shown(cli: Cli, model: str) -> dict[str, object]:
    """A model as `models show --json` prints it."""
    done = cli("models", "show", model, "--json")
    assert done.code == 0, done.err
    return dict(done.json)


def value(cli: Cli, model: str, node: str = "interaction.tool-calling") -> tuple[object, object]:
    """A node's value and source."""
    capabilities = cli("models", "show", model, "--json").json["capabilities"]
    found = capabilities.get(node, {"value": "unknown", "source": None})
    return found["value"], found["source"]


def test_C4_33_models_and_profiles_name_the_default_profile(user: tuple[Cli, str]) -> None:
    """The first line of both lists; without profiles it is the implicit one."""
    cli, model = user
    for group in ("models", "profiles"):
        done = cli(group, "list")
        assert done.code == 0, done.err
        assert done.out.splitlines()[0] == "default_profile=default"
        assert cli(group, "list", "--json").json["default_profile"] == "default"
    assert model in cli("models", "list").out
    assert any(line.startswith(f"id: {model}; ") for line in cli("models", "list", "--plain").out.splitlines())


def test_a_capability_is_set_shown_and_cleared(user: tuple[Cli, str]) -> None:
    """Before → after, the layers in the order in which they count, and the next one again after a clear."""
    cli, model = user
    before = value(cli, model)
    done = cli("models", "capability", "set", model, "tools", "no")
    assert done.code == 0, done.err
    assert "→ no" in done.out
    assert value(cli, model) == ("no", "operator")
    assert "no (operator)" in cli("models", "show", model).out
    done = cli("models", "capability", "clear", model, "tools")
    assert done.code == 0, done.err
    assert value(cli, model) == before


def test_a_dry_run_of_every_change_changes_nothing(user: tuple[Cli, str]) -> None:
    """It says before → after, and neither registry nor audit know of it."""
    cli, model = user
    before = shown(cli, model)
    for command in (
        ("models", "capability", "set", model, "vision", "yes"),
        ("models", "update", model, "--tier", "deep"),
        ("models", "disable", model),
        ("models", "label", model, "new-tag"),
        ("models", "remove", model),
        ("models", "register", f"{model.partition('/')[0]}/another", "--role", "judge"),
        ("models", "assign", "somebody", model),
        ("capabilities", "extend", "interaction.dry-run"),
    ):
        done = cli(*command, "--dry-run")
        assert done.code == 0, (command, done.err)
        assert done.out.startswith("dry run: "), command
        assert "→" in done.out, command
        first, *rest = done.out.splitlines()
        assert all(line.startswith("impact: ") and "\\n" not in line for line in rest), command
        pools = [line.split()[2] for line in rest if line.startswith("impact: pool ")]
        assert len(pools) == len(set(pools)), command
        assert ("pools." in first) is bool(pools), command
    assert shown(cli, model) == before


def test_C0_34_C0_36_C0_37_a_model_is_registered_changed_and_removed(user: tuple[Cli, str]) -> None:
    """Twice is refused with 5, an unknown one is 2, and every change is seen at once."""
    cli, model = user
    mine = f"{model.partition('/')[0]}/mine/with:odd%name"
    fields = ["--role", "judge", "--capabilities", "text,-vision", "--context-window", "4096", "--tags", "x,y",
              "--usd-per-mtok-in", "0.5", "--rpm", "60"]  # fmt: skip
    assert cli("models", "register", mine, *fields).code == 0
    again = cli("models", "register", mine)
    assert (again.code, "already" in again.err or "there" in again.err) == (5, True)
    told = shown(cli, mine)
    assert (told["role"], told["context_window"], told["tags"], told["usd_per_mtok_in"]) == (
        "judge",
        4096,
        ["x", "y"],
        0.5,
    )
    assert value(cli, mine, "understanding.vision-understanding")[0] == "no"
    assert [row["id"] for row in cli("models", "list", "--role", "judge", "--json").json["models"]] == [mine]
    assert cli("models", "disable", mine).code == 0
    assert shown(cli, mine)["enabled"] is False
    assert cli("models", "enable", mine).code == 0
    assert cli("models", "label", mine, "z", "--remove", "x").code == 0
    assert shown(cli, mine)["tags"] == ["y", "z"]
    assert cli("models", "update", mine, "--tier", "deep", "--unset", "context-window").code == 0
    told = shown(cli, mine)
    assert (told["tier"], told["context_window"]) == ("deep", None)
    stale = cli("models", "update", mine, "--tier", "standard", "--version", "1")
    assert stale.code == 5
    assert cli("models", "remove", mine).code == 0
    for command in (("show", mine), ("remove", mine), ("disable", mine)):
        assert cli("models", *command).code == 2


def test_C0_39_agents_are_assigned_and_unassigned(user: tuple[Cli, str]) -> None:
    """Known models, pools and profiles only; an agent nobody assigned cannot be unassigned."""
    cli, model = user
    assert cli("models", "assign", "writer", model).code == 0
    assert cli("models", "assignments", "--json").json == {"assignments": [{"agent": "writer", "model": model}]}
    assert "writer" in cli("models", "assignments").out
    assert cli("models", "assign", "writer", "nobody/nothing").code == 2
    assert cli("models", "unassign", "writer").code == 0
    assert cli("models", "unassign", "writer").code == 2


def test_undo_takes_the_last_change_back_and_then_the_one_before(user: tuple[Cli, str]) -> None:
    """Without a number it is the last one that can be; one that was undone is not undone again."""
    cli, model = user
    before = shown(cli, model)
    cli("models", "label", model, "one")
    cli("models", "capability", "set", model, "vision", "yes")
    audited = cli("audit", "list", "--json").json["audit"][0]
    assert audited["command"] == "set_capability"
    assert cli("undo").code == 0
    assert value(cli, model, "understanding.vision-understanding")[1] != "operator"
    assert cli("undo").code == 0
    assert shown(cli, model)["tags"] == before["tags"]
    assert cli("undo", str(audited["id"])).code == 5
    assert cli("undo", "999999").code == 2


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("models", "show", "sim-ok"), 2, "PROVIDER/MODEL"),
        (("models", "capability", "set", "MODEL", "toolz", "yes"), 2, "tools"),
        (("models", "list", "--capability", "toolz"), 2, "tools"),
        (("models", "update", "MODEL"), 2, "nothing to change"),
        (("models", "label", "MODEL"), 2, "name tags"),
        (("models", "update", "MODEL", "--format", "gguf", "--path", "/no/such.gguf"), 2, "such.gguf"),
        (("models", "register", "nobody/m"), 2, "nobody"),
        (("capabilities", "show", "visoin"), 2, "did you mean"),
        (("pools", "show", "nope"), 2, "there are: auto"),
        (("profiles", "show", "nope"), 2, "default"),
        (("models", "update", "MODEL", "--tier", "deep", "--unset", "tier"), 2, "both given and in --unset"),
    ],
)
def test_what_is_refused_says_what_there_is(
    user: tuple[Cli, str], command: tuple[str, ...], code: int, said: str
) -> None:
    """Usage errors name the choices or the nearest."""
    cli, model = user
    done = cli(*(model if word == "MODEL" else word for word in command))
    assert (done.code, said in done.err) == (code, True), done


def test_C3_01_the_tree_is_printed_with_words_and_counts(resting: Cli) -> None:
    """Indented by depth; `show` names who says what; an added node is marked."""
    lines = resting("capabilities", "tree").out.splitlines()
    assert "interaction  1/1" in lines
    assert "  tool-calling (tools)  1/1" in lines
    told = resting("capabilities", "show", "tools").out
    assert "a/m1" in told
    assert "config" in told
    assert resting("capabilities", "extend", "interaction.computer-use").code == 0
    assert "  computer-use +" in resting("capabilities", "tree").out.splitlines()
    assert resting("capabilities", "show", "computer-use", "--json").json["extension"] is True


def test_pools_are_listed_with_their_members_in_order(resting: Cli) -> None:
    """Automatic ones too; a member that cannot be asked says why."""
    rows = {row["id"]: row for row in resting("pools", "list", "--json").json["pools"]}
    assert {"auto", "tools", "text"} <= set(rows)
    assert (rows["auto"]["total"], rows["auto"]["routable"]) == (3, 2)
    told = resting("pools", "show", "auto").out
    assert "NOT_SET_AT_ALL" in told
    assert "a" in [row["provider"] for row in rows["tools"]["members"]]


def test_C4_33_a_doctor_prints_what_is_wrong_and_ends_with_1_for_errors(tmp_path: Path) -> None:
    """`ERROR:` and `WARN:` lines; a provider without its key is a warning, a profile that cannot work an error."""
    cli = configured(tmp_path)
    done = cli("models", "doctor")
    assert all(line.startswith(("ERROR: ", "WARN: ", "ok: ")) for line in done.out.splitlines()), done.out
    assert any(line.startswith("WARN: ") and "NOT_SET_AT_ALL" in line for line in done.out.splitlines()), done.out
    assert done.code == (1 if "ERROR: " in done.out else 0)
    found = cli("models", "doctor", "--json").json["findings"]
    assert {"level", "subject", "message"} <= set(found[0])
    broken = configured(tmp_path, profiles=[{"id": "dead", "provider": "b", "model": "m3", "default": True}])
    done = broken("profiles", "doctor")
    assert (done.code, "ERROR: " in done.out, "dead" in done.out) == (1, True, True), done


def test_C4_33_X20_a_doctor_warns_of_a_configuration_everybody_can_read(tmp_path: Path) -> None:
    """With or without keys in it, once; the command line starts as it would otherwise, and says no word elsewhere."""
    cli = configured(tmp_path)
    assert cli.config is not None
    for mode, times in ((0o644, 1), (0o640, 0), (0o600, 0)):
        cli.config.chmod(mode)
        said = [line for line in cli("models", "doctor").out.splitlines() if "chmod 600" in line]
        assert len(said) == times, (mode, said)
        assert all(line.startswith("WARN: ") and str(cli.config) in line for line in said)
        assert "chmod" not in cli("models", "list").err


def test_explain_names_the_strategy_and_how_the_name_was_found(cli: Cli) -> None:
    """Of a pool; and which level sent an agent there."""
    assert cli("explain", "--model", "auto").out.splitlines()[0] == "resolved: pool auto, strategy priority"
    assert cli("models", "assign", "explained", "good/sim-ok").code == 0
    told = cli("explain", "--model", "explained").out.splitlines()
    assert told[0] == "resolved: agent good/sim-ok"
    assert "assignment" in told[1]
    assert cli("models", "unassign", "explained").code == 0


def test_without_an_engine_reading_makes_no_file(resting: Cli) -> None:
    """Not even a state directory."""
    for command in (("models", "list"), ("pools", "list"), ("profiles", "doctor"), ("capabilities", "tree"),
                    ("models", "disable", "a/m1", "--dry-run")):  # fmt: skip
        assert resting(*command).code in (0, 1)
    assert not resting.state.exists()


@pytest.mark.parametrize("command", [("models", "sync"), ("models", "pull", "a/m1"), ("pools", "rotate", "auto")])
def test_what_only_a_running_engine_does_is_4_without_one(resting: Cli, command: tuple[str, ...]) -> None:
    """Listing, downloading and moving a pointer."""
    assert resting(*command).code == 4


def test_what_was_edited_without_an_engine_holds_in_the_next(resting: Cli) -> None:
    """The edit lies in the state directory, not in the configuration, and a running engine's edit outlives it."""
    text = resting.config.read_text() if resting.config else ""
    assert resting("models", "capability", "set", "a/m2", "tools", "yes").code == 0
    assert resting("models", "disable", "a/m1").code == 0
    with resting.started("serve", ready="routerconsole listening on "):
        assert value(resting, "a/m2") == ("yes", "operator")
        assert shown(resting, "a/m1")["enabled"] is False
        assert resting("models", "enable", "a/m1").code == 0
    assert shown(resting, "a/m1")["enabled"] is True
    assert resting.config is not None
    assert resting.config.read_text() == text
    rows = resting("audit", "list", "--json").json["audit"]
    assert [row["command"] for row in rows] == ["set_model_active", "set_model_active", "set_capability"]


def test_T06_hostile_text_in_the_registry_is_spelt_out(resting: Cli) -> None:
    """Descriptions, tags and agents are other people's words."""
    resting("models", "update", "a/m1", "--description", HOSTILE, "--display", HOSTILE)
    resting("models", "assign", HOSTILE, "a/m1")
    for command in (("models", "show", "a/m1"), ("models", "show", "a/m1", "--json"), ("models", "list"),
                    ("models", "list", "--plain"), ("models", "assignments"), ("audit", "list"),
                    ("models", "show", HOSTILE), ("capabilities", "show", HOSTILE)):  # fmt: skip
        done = resting(*command)
        assert active(done.out + done.err) == set(), command


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        ({"status": "pulling manifest", "total": 0, "percent": None}, "pulling manifest"),
        (
            {"status": "pulling x", "total": 2_000_000_000, "completed": 500_000_000, "percent": 25.0},
            "[########......................]  25.0 %  500.0 MB of 2.0 GB  pulling x",
        ),
        ({"status": HOSTILE, "total": None}, None),
    ],
)
def test_a_bar_says_how_much_is_there(progress: dict[str, object], line: str | None) -> None:
    """Bytes, share and what the server says it does, never wider than the terminal and never active."""
    drawn = bar(progress, 79)
    assert len(drawn) <= 79
    assert active(drawn) == set()
    if line is not None:
        assert drawn == line
