"""An engine with a console in one process: who depends on whom."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.process.conftest import Upstreams
from tests.process.router import Bench, Router, until

from routerconsole.simulator import Behaviour


def _own_terminal() -> None:
    """Make standard input this session's terminal, so that its end is a hang-up."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def console(bench: Bench, config: str, *arguments: str) -> Iterator[tuple[Router, int]]:
    """The console on a pseudo-terminal of which nobody has read a byte yet; yields the process and the terminal."""
    path = bench.place / "console.yaml"
    path.write_text(config + "server: {port: 0}\n")
    path.chmod(0o600)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    state, err = bench.place / "state", bench.place / "console.err"
    command = [sys.executable, "-m", "routerconsole", "--config", str(path), "--state-dir", str(state), *arguments]
    with err.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=stderr,
            cwd=bench.place,
            env=bench.environment(TERM="xterm-256color", LANG="C.UTF-8"),
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - one ioctl, no lock taken
        )
    os.close(slave)
    router = Router(process, state, err, err)
    try:
        yield router, master
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)
        with suppress(OSError):  # the test may have closed it
            os.close(master)


def serving(router: Router) -> None:
    """Wait until engine.json tells where it listens."""
    told = router.state / "engine.json"
    until(lambda: told.exists() or router.process.poll() is not None, "it serves")
    assert told.exists(), Path(router.stderr).read_text()
    router.url = told.read_text().partition('"url": "')[2].partition('"')[0]


@pytest.mark.parametrize(("option", "stays"), [((), True), (("--on-hangup", "exit"), False)])
def test_D21_T08_the_engine_outlives_its_terminal(
    bench: Bench, upstreams: Upstreams, option: tuple[str, ...], stays: bool
) -> None:
    """It serves before anything was painted; without its terminal it goes on headless, or ends if told to."""
    config, _ = upstreams(a=Behaviour())
    with console(bench, config, *option) as (router, terminal):
        serving(router)
        assert router.chat()[0] == 200
        until(lambda: b"\x1b[?1049h" in read(terminal), "the console is up")
        os.close(terminal)
        if stays:
            for _ in range(20):
                assert router.chat()[0] == 200
            router.send(signal.SIGTERM)
        assert router.ended() == 0
        assert not (router.state / "engine.json").exists()
        assert "Traceback" not in router.err


def read(terminal: int) -> bytes:
    """What the terminal was sent since the last look."""
    os.set_blocking(terminal, False)
    with suppress(BlockingIOError):
        return os.read(terminal, 1 << 16)
    return b""
