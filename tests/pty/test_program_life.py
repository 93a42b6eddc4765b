"""The program's terminal life on a real engine: refusals, attached viewers, a lost engine, quitting, handing off."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.process.conftest import Upstreams
from tests.process.router import Bench, Router, free_port, in_background, until
from tests.pty.terminal import PATIENCE_S, Terminal

from routerconsole.simulator import Behaviour

PROGRAM = [sys.executable, "-m", "routerconsole"]
SECRET = "sk-recorded-0123456789abcdef0123456789abcdef"
SLOW = Behaviour(latency=4.0)
"""Answers late enough that keys can be pressed while a request waits."""


@contextmanager
def on_terminal(bench: Bench, *arguments: str, size: tuple[int, int] = (100, 30)) -> Iterator[Terminal]:
    """The program on a terminal, with the bench's state directory and nothing of this machine's user."""
    home = str(bench.place)
    env = {"HOME": home, "XDG_CONFIG_HOME": f"{home}/none", "XDG_STATE_HOME": f"{home}/none", "RECORDED_KEY": SECRET}
    with Terminal([*PROGRAM, "--state-dir", f"{home}/state", *arguments], size=size, env=env) as on:
        yield on


@contextmanager
def own_engine(bench: Bench, config: str) -> Iterator[tuple[Terminal, Router]]:
    """The console with its own engine, and what is needed to send that requests."""
    path = bench.place / "console.yaml"
    path.write_text(config + "server: {port: 0}\n")
    path.chmod(0o600)
    with on_terminal(bench, "--config", str(path), "console") as on:
        on.sees("▶ Overview", "LIVE")
        router = Router(None, bench.place / "state", path, path)  # type: ignore[arg-type]  # the terminal has the process
        router.url = (router.state / "engine.json").read_text().partition('"url": "')[2].partition('"')[0]
        yield on, router


def alive(router: Router) -> bool:
    """Whether the engine answers."""
    try:
        return router.ask("/healthz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("command", [["console"], [], ["attach"], ["demo"], ["demo", "--ascii"]], ids=" ".join)
@pytest.mark.parametrize("how", ["pipe", "dumb", "no input"])
def test_T16_refused_without_a_terminal_and_without_an_escape_byte(
    bench: Bench, command: list[str], how: str, tmp_path: Path
) -> None:
    """On a pipe, on a dumb terminal or without input: exit 2, the headless form by name, nothing started."""
    term = "dumb" if how == "dumb" else "xterm-256color"
    if how == "pipe":
        done = subprocess.run(
            [*PROGRAM, "--state-dir", str(tmp_path / "state"), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=bench.environment(TERM=term),
            timeout=60,
            check=False,
        )
        code, said = done.returncode, done.stdout + done.stderr
    else:
        line = f"{' '.join(PROGRAM)} --state-dir {tmp_path}/state {' '.join(command)}"
        inner = f"{line} </dev/null" if how == "no input" else line
        with Terminal(["/bin/sh", "-c", inner], env={"TERM": term, "HOME": str(tmp_path)}) as on:
            code = on.ended()
            said = on.bytes
    assert code == 2
    assert b"\x1b" not in said
    assert b"routerconsole serve" in said
    assert not (tmp_path / "state" / "engine.json").exists()


def test_attach_says_disconnected_and_finds_the_engine_again(bench: Bench, upstreams: Upstreams) -> None:
    """When the engine goes the viewer stays, says so and retries; when it is back everything is live again."""
    config, _ = upstreams(a=Behaviour())
    port = str(free_port())
    first = bench.start(config, "--port", port).ready()
    with on_terminal(bench, "attach") as on:
        on.sees("▶ Overview", "LIVE", "attached")
        first.send(signal.SIGTERM)
        assert first.ended() == 0
        on.sees("disconnected", "retrying")
        on.send("5")
        on.sees("▶ Requests", "disconnected")
        second = bench.start(config, "--port", port).ready()
        on.sees("LIVE")
        assert second.chat()[0] == 200
        on.sees("✓")
        on.send("q")
        assert on.ended() == 0
    assert alive(second), "a viewer that quits leaves the engine alone"


def test_T19_two_viewers_of_one_engine_see_the_same(bench: Bench, upstreams: Upstreams) -> None:
    """What one drains the other shows, action log included; a viewer that is killed is missed by nobody."""
    config, _ = upstreams(first=Behaviour(), second=Behaviour())
    engine = bench.start(config).ready()
    with on_terminal(bench, "attach") as one, on_terminal(bench, "attach", "--read-only") as two:
        for on in (one, two):
            on.sees("▶ Overview", "LIVE", "first")
        one.send("d")
        one.sees("Drain first?", "y yes, do it")
        one.send("y")
        one.sees("drain provider first")
        two.sees("draining")
        two.send("@")
        two.sees("drain_provider first")
        two.send("\x1b")
        two.sees("▶ Overview")
        two.send("dDrzt")
        one.child.kill(signal.SIGKILL)
        assert engine.chat()[0] == 200
        two.sees("LIVE")
        two.send("5")
        two.sees("▶ Requests", "✓")
        assert "drain_provider" not in two.text()
        assert "[read-only]" in two.text()


def test_quit_while_a_request_runs_asks_and_lets_it_finish(bench: Bench, upstreams: Upstreams) -> None:
    """`q` asks, Esc stays, `q` `q` waits for the running request, answers it and ends with 0."""
    config, _ = upstreams(a=SLOW)
    with own_engine(bench, config) as (on, router):
        answers: list[int] = []
        with in_background(lambda: answers.append(router.chat()[0])) as failed:
            on.sees("1 in flight")
            on.send("q")
            on.sees("1 request is in flight. Quit?", "h hand off")
            on.send("\x1b")
            on.until(lambda: "Quit?" not in on.text())
            on.send("q")
            on.sees("Quit?")
            on.send("q")
            assert on.ended() == 0
        assert (failed, answers) == ([], [200])
        assert on.modes_left() == set()
        assert not alive(router)


def test_hand_off_leaves_the_screen_and_serves_on(bench: Bench, upstreams: Upstreams) -> None:
    """`q` `h`: the screen is given back, the running request and new ones are served, SIGINT ends it with 130."""
    config, _ = upstreams(a=SLOW)
    with own_engine(bench, config) as (on, router):
        answers: list[int] = []
        with in_background(lambda: answers.append(router.chat()[0])) as failed:
            on.sees("1 in flight")
            on.send("q")
            on.sees("Quit?")
            on.send("h")
            on.until(lambda: b"serves on at" in on.bytes, "the notice")
            assert on.modes_left() == set()
            assert router.url.encode() in on.bytes
        assert (failed, answers) == ([], [200])
        assert alive(router)
        on.send("\x03")
        assert on.ended() == 130
        assert not alive(router)


@pytest.mark.parametrize(("option", "stays"), [("headless", True), ("exit", False)])
def test_on_hangup_decides_what_a_lost_terminal_means(
    bench: Bench, upstreams: Upstreams, option: str, stays: bool
) -> None:
    """`--on-hangup headless` (the default) serves on and `attach` finds the engine; `exit` ends it."""
    config, _ = upstreams(a=Behaviour())
    path = bench.place / "console.yaml"
    path.write_text(config + "server: {port: 0}\n")
    path.chmod(0o600)
    with on_terminal(bench, "--config", str(path), "--on-hangup", option) as on:
        on.sees("▶ Overview", "LIVE")
        router = Router(None, bench.place / "state", path, path)  # type: ignore[arg-type]  # the terminal has the process
        router.url = (router.state / "engine.json").read_text().partition('"url": "')[2].partition('"')[0]
        on.hang_up()
        if not stays:
            until(lambda: not alive(router), "the engine to end")
            return
        assert router.chat()[0] == 200
        with on_terminal(bench, "attach") as again:
            again.sees("▶ Overview", "LIVE", "attached")
        assert alive(router)
        on.child.kill(signal.SIGTERM)
        until(lambda: not alive(router), "the engine to end")


def test_invalid_bytes_and_a_burst_of_keys_do_what_the_keys_say(bench: Bench, upstreams: Upstreams) -> None:
    """Bytes that are no text are ignored; keys typed before the first paint open what they name and change nothing."""
    config, _ = upstreams(first=Behaviour(), second=Behaviour())
    engine = bench.start(config).ready()
    with on_terminal(bench, "attach") as on:
        on.send(b"\xff\xfe5\xc3\x28/\x80dDr\x1b")  # before anything was painted
        on.sees("▶ Requests", "LIVE")
        on.send(b"\xf0\x9f\x981")
        on.sees("▶ Overview")
        on.send("@")
        on.sees("No operator has changed anything yet")
        assert engine.ask("/api/v1/audit")[1]["audit"] == []


def test_closed_output_is_a_hang_up(bench: Bench, upstreams: Upstreams) -> None:
    """A viewer whose terminal goes ends and leaves neither process nor traceback behind."""
    config, _ = upstreams(a=Behaviour())
    engine = bench.start(config).ready()
    errors = bench.place / "attach.err"
    line = f"exec {' '.join(PROGRAM)} --state-dir {bench.place}/state attach 2>{errors}"
    with Terminal(["/bin/sh", "-c", line], env={"HOME": str(bench.place)}) as on:
        on.sees("▶ Overview", "LIVE")
        on.hang_up()
        until(lambda: not on.child.isalive(), "the viewer to end")
    assert "Traceback" not in errors.read_text()
    assert engine.chat()[0] == 200


def test_T24_a_recorded_session_holds_no_secret(bench: Bench, upstreams: Upstreams) -> None:
    """A session through all views, pages and an error that repeats the key: neither key nor token is in its bytes."""
    echo = Behaviour(statuses=(401,), headers=(("x-echo", SECRET),), extra={"key": SECRET})
    config, _ = upstreams(
        provider='api_key: "env:RECORDED_KEY", ', first=echo, second=Behaviour(text=f"your key is {SECRET}")
    )
    with own_engine(bench, config) as (on, router):
        router.chat(f"my key is {SECRET}")
        for keys, shown in (
            ("5", "▶ Requests"),
            ("\r", "Why"),
            ("\x1b", "▶ Requests"),
            ("1", "Overview"),
            ("2", "Health"),
            ("3", "Capabilities"),
            ("4", "Registry"),
            ("6", "Evals"),
            ("@", "Action log"),
            ("\x1b", "1-6 views"),
            ("?", "▶ Keys"),
            ("\x1b", "1-6 views"),
            ("\x10", "Palette"),
            ("\x1b", "1-6 views"),
        ):
            on.send(keys)
            on.sees(shown)
        tokens = [router.token(name) for name in ("admin", "client")]
        on.send("\x03")
        assert on.ended() == 130
    for secret in (SECRET, SECRET[-20:], *tokens):
        assert secret.encode() not in on.bytes


def test_T26_a_slow_line_is_idle_and_echoes_in_time(bench: Bench, upstreams: Upstreams) -> None:
    """At 9,600 baud with --slow: hardly a byte while nothing happens, and a typed character waits for no more than
    RTT + 100 ms of other bytes."""
    config, _ = upstreams(a=Behaviour())
    bench.start(config).ready()
    with on_terminal(bench, "attach", "--slow", size=(80, 24)) as on:
        on.sees("▶ Overview", "LIVE")
        line = Line(on)
        line.settle()
        assert any(line.carry(3.0) <= 600 for _ in range(10)), "it never comes to rest"
        on.send(":")
        line.settle()
        for char in "qzj":
            began, before = time.monotonic(), len(on.bytes)
            on.send(char)
            while f"{char}▏" not in on.text():
                line.carry(0.02)
                assert time.monotonic() < began + PATIENCE_S
            assert len(on.bytes) - before <= 0.4 * BYTES_PER_S


BYTES_PER_S = 960


class Line:
    """Carries 960 bytes a second from a terminal, as 9,600 baud do."""

    def __init__(self, on: Terminal) -> None:
        self.on = on

    def carry(self, seconds: float) -> int:
        """Carry for a while; return how many bytes came."""
        ends, came = time.monotonic() + seconds, 0
        while (left := ends - time.monotonic()) > 0:
            came += self.on.sip(max(1, BYTES_PER_S // 50), min(left, 0.02))
            time.sleep(max(0.0, min(0.02, ends - time.monotonic())))  # the line's own pace
        return came

    def settle(self) -> None:
        """Carry until hardly anything comes any more."""
        for _ in range(60):
            if self.carry(0.5) < 60:
                return
        raise AssertionError("the line never comes to rest")
