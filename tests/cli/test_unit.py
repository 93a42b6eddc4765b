"""The systemd unit: accepted by systemd, and its command line is this very program's."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from routerconsole.cli.entry import run
from routerconsole.cli.exits import Stop
from routerconsole.cli.parser import parse
from routerconsole.cli.unit import unit

PROGRAM = [sys.executable, "-P", "-m", "routerconsole"]


def made(argv: list[str], env: dict[str, str] | None = None) -> dict[str, str]:
    """Return the unit's lines by their names."""
    text = unit(parse(["unit", *argv]), env or {}, PROGRAM)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("argv", [[], ["--system"], ["--config", "/srv/my $conf/50%.yaml", "--port", "9"]])
def test_systemd_accepts_it(argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`systemd-analyze verify` has nothing to say, odd paths included."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    assert run(["unit", *argv]) == 0
    file = tmp_path / "routerconsole.service"
    file.write_text(capsys.readouterr().out)
    whose = ["--system"] if "--system" in argv else ["--user"]
    done = subprocess.run(
        [program, "verify", *whose, "--man=no", str(file)],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_runs_what_the_grammar_accepts_and_checks_the_configuration_first() -> None:
    """`config check` stands before `serve`, on the same configuration and state."""
    lines = made(["--config", "/c.yaml", "--state-dir", "/s", "--host", "::1", "--port", "0"])
    before, start = (shlex.split(lines[name].removeprefix("-")) for name in ("ExecStartPre", "ExecStart"))
    assert before[:4] == start[:4] == PROGRAM
    checked, served = parse(before[4:]), parse(start[4:])
    assert (checked.command, checked.verb, served.command) == ("config", "check", "serve")
    assert (served.host, served.port) == ("::1", 0)
    for args in (checked, served):
        assert (args.config, args.state_dir) == (Path("/c.yaml"), Path("/s"))


def test_what_a_restart_would_meet_again_is_not_restarted() -> None:
    """Usage, a newer state and a directory that is taken end it; a crash does not.

    systemd looks at the main process alone for that, so the check before it must not be what fails.
    """
    lines = made([])
    assert (lines["Restart"], lines["RestartPreventExitStatus"]) == ("on-failure", "2 3 5")
    assert lines["ExecStartPre"].startswith("-")


@pytest.mark.parametrize("argv", [[], ["--system"]])
def test_a_stop_reaches_the_engine_only_and_cards_stay_in_reach(argv: list[str]) -> None:
    """Its weights worker goes on with the answers that are drained, and computes on the machine's devices."""
    assert made(argv)["KillMode"] == "mixed"
    assert "PrivateDevices" not in made(argv)


def test_your_own_unit_finds_what_your_shell_finds() -> None:
    """Without options it names nothing, so the defaults hold; the shell's variables count; never the working one."""
    assert made([])["ExecStart"].endswith("routerconsole serve")
    assert made([])["WorkingDirectory"] == "/"
    lines = made([], {"ROUTERCONSOLE_CONFIG": "/c.yaml", "ROUTERCONSOLE_STATE_DIR": "/s"})
    assert lines["ExecStart"].endswith("--config /c.yaml --state-dir /s serve")


def test_the_machines_unit_stands_alone() -> None:
    """It has its own user, state and configuration, whatever the shell of who printed it says."""
    lines = made(["--system"], {"ROUTERCONSOLE_CONFIG": "/home/me/c.yaml"})
    assert "--config /etc/routerconsole/providers.yaml --state-dir %S/routerconsole" in lines["ExecStart"]
    assert (lines["DynamicUser"], lines["WantedBy"]) == ("yes", "multi-user.target")
    assert "DynamicUser" not in made([])


def test_paths_are_theirs_whatever_is_in_them() -> None:
    """Blanks, quotes, percent and dollar signs are themselves; a line break is refused."""
    assert made(["--config", 'a "b" 5%$HOME'])["ExecStart"].endswith(
        f'--config "{Path.cwd()}/a \\"b\\" 5%%$$HOME" serve'
    )
    with pytest.raises(Stop, match="unit file"):
        made(["--config", "/a\nExecStop=/bin/evil"])
