"""The composition root before anything runs: what is bound, what is refused; a refusal leaves nothing behind."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.node import prepared, running_node

from routerconsole.config.problems import ConfigError
from routerconsole.engine.clock import SystemClock
from routerconsole.storage.errors import AlreadyRunning
from routerconsole.wiring import CannotStart, EngineOptions, prepare

EMPTY = "version: 1\nproviders: []\n"


def refused(tmp_path: Path, host: str, text: str = EMPTY) -> str:
    """The words of a start that must not succeed; the state directory is free again and the port too."""
    with pytest.raises(CannotStart) as told:
        prepared(text, tmp_path / "state", host=host)
    again = prepared(EMPTY, tmp_path / "state")
    again.sock.close()
    again.lock.release()
    return str(told.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "0x0", "0.0", "::", "[::]", "::0", "0:0:0:0:0:0:0:0"])
def test_every_spelling_of_everywhere_needs_allowed_hosts(tmp_path: Path, host: str) -> None:
    """What is bound decides, not how it is written."""
    assert "allowed_hosts" in refused(tmp_path, host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "no-such-host.invalid", "999.1.1.1", "::dead:beef", "a" * 300, "ex ample"]
)
def test_G24_an_address_that_cannot_be_bound(tmp_path: Path, host: str) -> None:
    """The address, why, and what to change; whatever the name looks like."""
    said = refused(tmp_path, host)
    assert host in said
    assert "--host" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "127.1"])
def test_loopback_answers_to_loopback_names(tmp_path: Path, host: str) -> None:
    """Any spelling of loopback needs nothing more."""
    made = prepared(EMPTY, tmp_path / "state", host=host)
    with closing(made.sock):
        assert {"localhost", "127.0.0.1", "[::1]"} <= made.guard.hosts
    made.lock.release()


def test_loopback_open_is_for_loopback(tmp_path: Path) -> None:
    """Without tokens only local programs come in: refused on any other bind."""
    text = EMPTY + "server: {auth: loopback_open, allowed_hosts: [x.example]}\n"
    assert "loopback_open" in refused(tmp_path, "0", text)
    made = prepared(text, tmp_path / "state")
    made.sock.close()
    made.lock.release()


def test_G26_the_directory_is_held_before_the_port(tmp_path: Path) -> None:
    """A second engine is told of the first one, not of its port."""
    first = prepared(EMPTY, tmp_path / "state")
    with closing(first.sock):
        port = first.sock.getsockname()[1]
        with pytest.raises(AlreadyRunning):
            prepare(EngineOptions(state_dir=tmp_path / "state", port=port), {}, text=EMPTY)
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", port)) == 0
    first.lock.release()


def test_a_bad_configuration_makes_no_state(tmp_path: Path) -> None:
    """Configuration is read before anything is created."""
    with pytest.raises(ConfigError):
        prepared("version: 1\nproviders: 3\n", tmp_path / "state")
    assert not (tmp_path / "state").exists()


async def test_G22_a_big_configuration_starts_quickly(tmp_path: Path, leakcheck: None) -> None:
    """200 providers with 25 models each: started in about two seconds, and a status is made at once."""
    rows = "".join(
        f"  - {{name: p{n}, kind: openai_compatible, base_url: 'http://127.0.0.1:9', health: {{enabled: false}}, "
        f"models: [{', '.join(f'{{id: m{n}-{k}}}' for k in range(25))}]}}\n"
        for n in range(200)
    )
    began = SystemClock.monotonic()
    async with running_node("version: 1\nproviders:\n" + rows, tmp_path) as node:
        took = SystemClock.monotonic() - began
        began = SystemClock.monotonic()
        status = await node.control.status()
        drawn = SystemClock.monotonic() - began
    assert sum(len(provider.routes) for provider in status.providers) == 5000
    assert took < 30.0  # two seconds on a machine of its own; this one is shared
    assert drawn < 10.0
