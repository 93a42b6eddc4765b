"""Consoles on terminals that stall, hang up or are killed while the engine serves: no request may notice.

The load's slowest request is compared with a stall's length: a console that blocked the engine would hold every request
for as long as its terminal stalls.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.live import Client, Json, Load, router_command, wait_until
from tests.acceptance.live_engine import Engine, MakeEngine
from tests.acceptance.live_terminal import Terminal

STALL_S = 12.0  # issue: a terminal that reads nothing for 12 s
NOTICED_S = 1.0  # a request that took this long waited for a terminal
BEHAVIOURS: Json = {"sim-ok": {"tokens": 12}}
BODY: Json = {"model": "sim-ok", "messages": [{"role": "user", "content": "hi"}]}


def settings(upstream: str) -> Json:
    """One provider with one fast model."""
    sim = {"name": "sim", "kind": "openai_compatible", "base_url": upstream, "models": [{"id": "sim-ok"}]}
    return {"providers": [{**sim, "max_concurrency": 64, "discovery": {"enabled": False}}]}


@pytest.fixture
def engine(make_engine: MakeEngine, upstream: str) -> Iterator[Engine]:
    """A headless router."""
    engine = make_engine(settings(upstream))
    yield engine
    engine.stop()


def painted(terminal: Terminal) -> bool:
    """Whether the console's first view is on the screen."""
    return b"Overview" in terminal.seen


def cpu_seconds(pid: int) -> float:
    """Processor time used by a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def attached(engine: Engine) -> Iterator[Terminal]:
    """A second terminal that runs `attach` on the headless router."""
    terminal = Terminal(engine.command("attach"))
    wait_until(lambda: painted(terminal), "the attached console")
    yield terminal
    terminal.kill()


@pytest.mark.parametrize("how", ["killed", "hung up", "stalled", "quit"])
def test_what_happens_to_an_attached_console_no_request_notices(engine: Engine, attached: Terminal, how: str) -> None:
    """kill -9, hang-up, a 12 s stall and `q` of an attached console fail and delay no request."""
    with Load(engine.client(), BODY, pause=0.005) as load:
        before = load.succeeded
        if how == "killed":
            attached.kill(signal.SIGKILL)
        elif how == "hung up":
            attached.hang_up()
        elif how == "quit":
            attached.write("q")
            wait_until(lambda: not attached.alive(), "the console to end")
        else:
            attached.stall()
            time.sleep(STALL_S)  # the stall itself is what is tested
            attached.resume()
            mark = len(attached.seen)
            wait_until(lambda: len(attached.seen) > mark, "the console to paint again")
        wait_until(lambda: load.succeeded > before + 200, "requests to go on")
    assert load.failures == []
    assert load.slowest_s < NOTICED_S
    assert engine.process.poll() is None


@pytest.fixture
def console(upstream: str, tmp_path: Path) -> Iterator[tuple[Terminal, Client]]:
    """The console with its own engine on a terminal, and a client of that engine."""
    config, state = tmp_path / "providers.yaml", tmp_path / "state"
    config.write_text(json.dumps({"version": 1, "server": {"port": 0}, **settings(upstream)}))
    terminal = Terminal([*router_command(), "--config", str(config), "--state-dir", str(state), "console"])
    wait_until(lambda: painted(terminal), "the console")
    run_file = json.loads((state / "engine.json").read_text())
    yield terminal, Client(run_file["url"], (state / "client.token").read_text().strip())
    terminal.kill()


@pytest.mark.parametrize("how", ["hung up", "stalled"])
def test_the_first_consoles_terminal_fails_and_its_engine_serves_on(
    console: tuple[Terminal, Client], tmp_path: Path, how: str
) -> None:
    """The console that carries the engine loses its terminal or stalls 12 s: nothing fails, attach finds it."""
    terminal, client = console
    with Load(client, BODY, pause=0.005) as load:
        before = load.succeeded
        if how == "stalled":
            terminal.stall()
            time.sleep(STALL_S)  # the stall itself is what is tested
            terminal.resume()
        else:
            terminal.hang_up()
        wait_until(lambda: load.succeeded > before + 200, "requests to go on")
    assert load.failures == []
    assert load.slowest_s < NOTICED_S
    assert terminal.alive()
    if how == "hung up":
        used = cpu_seconds(terminal.pid)
        time.sleep(5)  # what it burns in real time is what is measured
        assert cpu_seconds(terminal.pid) - used < 0.02 * 5, "a console without a terminal must not spin (T08)"
        where = ["--config", str(tmp_path / "providers.yaml"), "--state-dir", str(tmp_path / "state")]
        again = Terminal([*router_command(), *where, "attach"])
        try:
            wait_until(lambda: painted(again), "the console attached again")
        finally:
            again.kill()
