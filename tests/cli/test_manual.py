"""The manual page names everything and is a page that groff accepts."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from routerconsole.cli.entry import run
from routerconsole.cli.exits import MEANINGS, Exit
from routerconsole.cli.manual import manual
from routerconsole.cli.parser import build
from routerconsole.cli.tree import tree

ROOT = tree(build())


def test_every_command_option_and_exit_code_is_in_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """`man` prints it; each stands there in bold as it is typed."""
    assert run(["man"]) == 0
    page = capsys.readouterr().out
    assert page == manual(ROOT)
    bold = {found.replace("\\-", "-") for found in re.findall(r"\\fB(.*?)\\fR", page)}
    named = {" ".join(command.words) for command in ROOT.walk() if command.words}
    named |= {name for command in ROOT.walk() for option in command.options for name in option.names}
    assert named - bold == set()
    assert set(MEANINGS) == set(Exit)
    assert {str(code.value) for code in Exit} < bold


def test_it_is_rendered_without_a_warning() -> None:
    """groff reads it with all warnings on, and dashes, backslashes and leading dots come out as written."""
    program = shutil.which("groff")
    if program is None:
        pytest.skip("groff is not installed here")
    done = subprocess.run(
        [program, "-ww", "-man", "-Kutf8", "-Tutf8", "-rLL=100n", "-P-c"],
        input=manual(ROOT),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    plain = re.sub(r".\x08", "", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "models capability set ID NODE yes|no" in plain
    assert "--on-hangup headless|exit" in plain
    assert "routerconsole - the LLM router" in plain
