"""Completion scripts: asked in the shells themselves, and compared with the grammar at every command."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from routerconsole.cli.completions import SCRIPTS, table
from routerconsole.cli.entry import run
from routerconsole.cli.parser import build
from routerconsole.cli.tree import Command, Value, tree

ROOT = tree(build())
Asked = Sequence[str]
Answers = list[list[str]]

BASH = """
source "$1"
while IFS= read -r line; do
  IFS=$'\\x1f' read -ra COMP_WORDS <<< "$line"; unset 'COMP_WORDS[-1]'
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _routerconsole 2>&1
  printf '%s\\t' "${COMPREPLY[@]}"; echo
done
"""
"""A `|` ends each line of words, so that an empty last one is a word."""

ZSH = """
compdef() { :; }
compset() { :; }
_files() { print -n "files$1\\t"; }
_describe() {
  for each in "${(@P)2}"; do [[ $each == ${words[CURRENT]#*=}* ]] && print -n -- "${each%%:*}\\t"; done
}
source "$1"
while IFS= read -r line; do
  words=("${(@ps:\\x1f:)line}"); words[-1]=(); CURRENT=$#words
  _routerconsole 2>&1; print
done
"""

FISH = """
source $argv[1]
function __fish_complete_path; echo files; end
function __fish_complete_directories; echo files-/; end
while read -l line
    set -l typed (string replace -r ' ?[|]$' '' -- (string replace -a \\x1f ' ' -- $line))
    set -l got (complete -C $typed 2>&1 | string replace -r '\\t.*' '')
    echo (string join -- \\t $got)
end
"""


def asked(shell: str, tmp_path: Path, lines: Sequence[Asked]) -> Answers:
    """Return what a shell offers for the last word of each line."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    script, driver = tmp_path / f"routerconsole.{shell}", tmp_path / "driver"
    script.write_text(SCRIPTS[shell](table(ROOT)))
    driver.write_text({"bash": BASH, "zsh": ZSH, "fish": FISH}[shell])
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [program, *plain, str(driver), str(script)],
        input="".join("\x1f".join(["routerconsole", *line, "|"]) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [[word for word in line.split("\t") if word] for line in done.stdout.splitlines()]


SHELLS = pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])


def every(put: Callable[[Command], Asked | None]) -> list[tuple[Command, Asked]]:
    """Return each command for which `put` makes a line."""
    return [(command, line) for command in ROOT.walk() if (line := put(command)) is not None]


@SHELLS
def test_every_commands_verbs_and_options_are_offered_where_they_are_accepted(shell: str, tmp_path: Path) -> None:
    """At each command: its verbs or choices behind a blank, all its options behind `--`, and nothing else."""
    groups = every(lambda command: [*command.words, ""] if command.below else None)
    options = every(lambda command: [*command.words, "--"])
    answers = asked(shell, tmp_path, [line for _, line in (*groups, *options)])
    wrong = [
        (command.words, answer)
        for (command, _), answer in zip(groups, answers, strict=False)
        if set(answer) != {each.words[-1] for each in command.below}
    ]
    for (command, _), answer in zip(options, answers[len(groups) :], strict=True):
        names = {name for option in command.options for name in option.names if name.startswith("--")}
        if set(answer) - {"-h"} != names:
            wrong.append((command.words, answer))
    assert wrong == []


@SHELLS
def test_every_choice_is_offered(shell: str, tmp_path: Path) -> None:
    """Behind each option that takes one of a few words, exactly these."""
    wanted = [
        (option, [*command.words, option.names[-1], ""])
        for command in ROOT.walk()
        for option in command.options
        if option.choices and option.value is not Value.NOTHING
    ]
    answers = asked(shell, tmp_path, [line for _, line in wanted])
    assert len(wanted) > 50
    assert [set(answer) for answer in answers] == [set(option.choices) for option, _ in wanted]


@SHELLS
def test_what_stands_before_does_not_confuse_it(shell: str, tmp_path: Path) -> None:
    """Global options before a command, values of options and arguments, names with a colon, a word begun."""
    (tmp_path / "folder").mkdir()
    model = ["a/llama3.1", ":", "8b"] if shell == "bash" else ["a/llama3.1:8b"]
    assert asked(
        shell,
        tmp_path,
        [
            ["--json", "--config", "models", "models", "capab"],
            ["models", "capability", "set", *model, "tools", ""],
            ["models", "list", "--role", "teacher", "--tier", ""],
            ["complete", "models", ""],
            ["completions", "z"],
        ],
    ) == [["capability"], ["yes", "no"] if shell != "fish" else ["no", "yes"], [], [], ["zsh"]]
    ends = [["--role", "=", "t"], ["--role", "="]] if shell == "bash" else [["--role=t"], ["--role="]]
    first, second = asked(shell, tmp_path, [["models", "list", *end] for end in ends])
    assert "teacher" in {word.removeprefix("--role=") for word in first}
    assert {word.removeprefix("--role=") for word in second} == {"general", "reward", "teacher", "judge"}


@SHELLS
def test_files_and_folders_are_offered_for_paths(shell: str, tmp_path: Path) -> None:
    """`--config` takes files, `--state-dir` folders only."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    files, folders = asked(shell, tmp_path, [["--config", "f"], ["status", "--state-dir", "f"]])
    if shell == "bash":
        assert (set(files), folders) == ({"file", "folder"}, ["folder"])
    else:  # their own functions, which stand-ins answer for here
        assert (files, folders[0][:5], folders != files) == (["files"], "files", True)


def test_they_are_printed_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`completions SHELL` is the script and nothing else, so it can be sourced."""
    for shell, script in SCRIPTS.items():
        assert run(["completions", shell]) == 0
        assert capsys.readouterr().out == script(table(ROOT))
    assert run(["completions", "csh"]) == 2
