"""A stranger's walk: the fenced blocks of README and docs/, in their order, run by a shell in a home of its own.

A comment right before a fence, `<!-- walk: WORD: more -->`, says what a block is for; without one it is shell, runs,
and ends with 0. `stays` starts its last line and goes on; `terminal: TEXT` sees the text on a screen and quits with
`q`; `file: NAME` is a configuration that is written and checked; `add: NAME` goes to the end of one in use;
`scenarios: NAME` is a file of scenarios; `output` is what the block before printed; `skip: why` is not run.
`# prints: TEXT` is a promise, whatever the times in it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.live import Client, free_port, wait_until
from tests.docs.reference import ROOT

WORDS = {"run", "stays", "terminal", "file", "add", "scenarios", "output", "skip"}
SHELLS = {"run": "sh", "stays": "sh", "terminal": "sh", "file": "yaml", "add": "yaml", "scenarios": "yaml"}
"""What language the blocks of a word are written in; the others may be anything."""
_FENCED = re.compile(r"(?:^<!-- walk: (.*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRINTS = re.compile(r"#[^#\n]*\bprints: (.+)$", re.MULTILINE)
_TIMES = re.compile(r"\d+(\.\d+)? ?(ms|s)\b")
_PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where it stands, under which heading, its language, what is done with it, and its text."""

    page: str
    line: int
    heading: str
    language: str
    word: str
    more: str
    text: str

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; a comment is only read where it stands right before one."""
    text = page.read_text(encoding="utf-8")
    found = []
    for each in _FENCED.finditer(text):
        said, language, body = each.groups()
        word, _, more = (said or "run").partition(":")
        headings = re.findall(r"^## (.+)$", text[: each.start()], re.MULTILINE)
        line = text.count("\n", 0, each.start(2)) + 1
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(name, line, headings[-1] if headings else "", language, word, more.strip(), body))
    return found


def plain(text: str) -> str:
    """Return text as it is compared: no times, no differing blanks."""
    return " ".join(_TIMES.sub(r"N \2", text).split())


class Walk:
    """A home, a folder that looks like a fresh clone, and a shell; what stays is ended with it, and only that."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home, self.clone = home, home / "routerconsole"
        self.port = free_port() if port is None else port
        self.printed = ""
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "PWD": str(self.clone),
        }
        self._staying: list[tuple[Block, subprocess.Popen[bytes]]] = []
        self._cloned()

    def _cloned(self) -> None:
        """Lay out the clone: this tree as it is, its environment as if `make install` had just made it."""
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
        hidden = {path.name for path in ROOT.glob(".*")} | {"build", "dist"}
        shutil.copytree(ROOT, self.clone, ignore=lambda at, names: {*unwanted(at, names), *hidden.intersection(names)})
        made = self.clone / ".venv"
        made.mkdir()
        for path in Path(sys.prefix).iterdir():
            (made / path.name).symlink_to(path)
        stamp = "cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1"
        lock = subprocess.run(["/bin/sh", "-c", stamp], cwd=self.clone, capture_output=True, text=True, check=True)
        (made / f".installed-{lock.stdout.strip()}").touch()

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_raised: object) -> None:
        for _, process in self._staying:
            process.kill()
            process.wait(10)

    def take(self, block: Block) -> None:
        """Do what a reader does with a block; raises AssertionError where it is not as the page says."""
        text = block.text.replace("8808", str(self.port))
        match block.word:
            case "run":
                self._run(block, text)
            case "stays":
                self._stays(block, text)
            case "terminal":
                self._terminal(block, text)
            case "file":
                self.write(block)
                self._checked(block.more)
            case "add":
                self._added(block.more, text)
            case "scenarios":
                (self.clone / block.more).parent.mkdir(exist_ok=True)
                (self.clone / block.more).write_text(text, encoding="utf-8")
            case "output":
                assert self._as_here(block.text) == plain(self.printed), (
                    f"{block.place} is not what comes: {self.printed}"
                )

    def leave(self) -> None:
        """Stop what stays, as Ctrl-C and systemd do; each must end well."""
        while self._staying:
            block, process = self._staying.pop()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, f"{block.place} ended badly"

    def admin(self) -> Client:
        """The engine that stays, as an operator sees it."""
        token = self.home / ".local" / "state" / "routerconsole" / "admin.token"
        return Client(f"http://127.0.0.1:{self.port}", token.read_text().strip())

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run lines in the clone; what they export is there for the next ones."""
        kept = self.home / ".exported"
        kept.touch()
        script = f"cd {self.clone}; . {kept}; trap 'declare -px > {kept}' EXIT; set -euo pipefail\n{text}"
        return subprocess.run(
            ["/bin/bash", "-c", script],
            env=self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )

    def _run(self, block: Block, text: str) -> None:
        if not text.strip():
            return
        ran = self.shell(text)
        self.printed = ran.stdout
        assert ran.returncode == 0, (
            f"{block.place} ended with {ran.returncode}:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        )
        assert "Traceback" not in ran.stderr, f"{block.place}:\n{ran.stderr}"
        self._prints(block, text, ran.stdout)

    def _prints(self, block: Block, text: str, printed: str) -> None:
        for promised in _PRINTS.findall(text):
            assert plain(promised) in plain(printed), f"{block.place} promises {promised!r}; what came:\n{printed}"

    def _stays(self, block: Block, text: str) -> None:
        lines = text.rstrip("\n").splitlines(keepends=True)
        self._run(block, "".join(lines[:-1]))
        out = self.home / f".stays-{len(self._staying)}"
        script = f"cd {self.clone}; . {self.home}/.exported; exec {lines[-1]}"
        with out.open("wb") as file:
            process = subprocess.Popen(["/bin/bash", "-c", script], env=self.env, stdin=subprocess.DEVNULL, stdout=file)
        self._staying.append((block, process))
        wait_until(lambda: b"\n" in out.read_bytes() or process.poll() is not None, f"a line of {block.place}")
        self._prints(block, lines[-1], out.read_text())

    def _terminal(self, block: Block, text: str) -> None:
        from tests.pty.terminal import Terminal  # pexpect and pyte are asked for by few walks

        set_here = [f"{name}={value}" for name, value in self.env.items()]
        script = f"cd {self.clone}; . {self.home}/.exported; {text}"
        with Terminal(["/usr/bin/env", "-i", *set_here, "/bin/bash", "-c", script], size=(110, 32)) as terminal:
            terminal.sees(block.more)
            terminal.send("q")
            terminal.until(lambda: not terminal.pump() or "Quit?" in terminal.text(), f"{block.place}: an end")
            if "Quit?" in terminal.text():
                terminal.send("q")
            assert terminal.ended() == 0, f"{block.place}\n{terminal.text()}"
            assert not terminal.modes_left(), block.place

    def write(self, block: Block) -> None:
        """Write a configuration as it stands there, with this walk's port."""
        text = block.text.replace("8808", str(self.port))
        served = "" if re.search("^server:", text, re.MULTILINE) else f"server: {{port: {self.port}}}\n"
        (self.clone / block.more).write_text(text + served, encoding="utf-8")

    def _checked(self, name: str) -> None:
        """A configuration is valid, and it loads."""
        program = f"{self.clone}/.venv/bin/routerconsole --config {name}"
        state = f"{self.home}/.loaded"
        ran = self.shell(f"{program} config check && {program} --state-dir {state} models list")
        assert ran.returncode == 0, f"{name}: {ran.stdout}{ran.stderr}"

    def _added(self, name: str, text: str) -> None:
        path, taken = self.clone / name, self._reloads()
        path.write_text(f"{path.read_text(encoding='utf-8')}{text}", encoding="utf-8")
        self._checked(name)
        wait_until(lambda: self._reloads() > taken, f"the engine has taken up {name}")

    def _reloads(self) -> int:
        answer = self.admin().call("GET", "/api/v1/events?after=0", accept="application/json")
        return sum(event["type"] == "config.reloaded" for event in answer.body["events"])

    def upstream(self, name: str, row: dict[str, object]) -> None:
        """Put one more provider first into the configuration in use, and wait until it counts."""
        path, taken = self.clone / "config.yaml", self._reloads()
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("providers:\n", f"providers:\n  - {json.dumps({'name': name, **row})}\n", 1))
        wait_until(lambda: self._reloads() > taken, f"the engine has taken up {name}")

    def _as_here(self, text: str) -> str:
        return plain(text.replace("/home/me/routerconsole", str(self.clone)).replace("/home/me", str(self.home)))


def pages() -> Iterator[Path]:
    """README and the pages written by hand, in the order of the site."""
    from tests.docs.site import documents

    for page in documents():
        if page.name == "README.md" or page.parent.name == "docs":
            yield page
