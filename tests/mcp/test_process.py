"""`routerconsole mcp` as a process: an engine of its own, broken frames, how it ends, how it is registered."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from tests.cli.stand import COMMAND, Cli, environment
from tests.mcp.conftest import frames, settings, upstreams

BROKEN = (
    b"not json\n", b"{\n", b"[]\n", b"null\n", b'{"jsonrpc":"2.0"}\n', b"\xff\xfe\x00\n", b"\n", b"[" * 100_000 + b"\n",
    b'{"jsonrpc":"1.0","id":9,"method":"ping"}\n', b'{"jsonrpc":"2.0","id":{},"method":"ping"}\n',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}\n', b'{"jsonrpc":"2.0","method":"notifications/cancelled"}\n',
    b'{"jsonrpc":"2.0","id":77,"result":{}}\n', b"x" * 2_000_000 + b"\n",
)  # fmt: skip
"""Lines no client of the protocol sends."""
OPENING = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}}
PATIENCE_S = 60.0


class Raw:
    """A server spoken to in bytes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[bytes] = []

    async def send(self, *lines: bytes) -> None:
        """Write lines as they are."""
        assert self.process.stdin is not None
        self.process.stdin.writelines(lines)
        await self.process.stdin.drain()

    async def ask(self, number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer; what else is printed is kept."""
        frame = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await self.send(json.dumps(frame).encode() + b"\n")
        return await self.answer(number)

    async def answer(self, number: int) -> dict[str, Any]:
        """Read until the answer to a request."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = await self.process.stdout.readline()
                assert line, "the server is gone"
                self.seen.append(line)
                (frame,) = frames(line)
                if frame.get("id") == number:
                    return frame

    async def told(self, method: str) -> dict[str, Any]:
        """Read until a notification."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (frame,) = frames(await self.process.stdout.readline())
                if frame.get("method") == method:
                    return frame

    async def open(self) -> None:
        """Do the handshake."""
        await self.ask(1, "initialize", OPENING)
        await self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    async def call(self, number: int, tool: str, **arguments: str) -> list[str]:
        """Call a tool and return the texts of its answer."""
        answer = await self.ask(number, "tools/call", {"name": tool, "arguments": arguments})
        return [block["text"] for block in answer["result"]["content"]]


@asynccontextmanager
async def started(home: Path, *arguments: str) -> AsyncIterator[Raw]:
    """A server as a process."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, "mcp", stdin=pipe, stdout=pipe, stderr=pipe, env=environment(home), cwd=home
    )
    try:
        yield Raw(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_without_an_engine_one_serves_in_the_process_and_broken_frames_end_nothing(tmp_path: Path) -> None:
    """It says so on stderr, other commands find it, and stdout carries the protocol and nothing else to the end."""
    async with upstreams() as sims:
        config = tmp_path / "providers.yaml"
        config.write_text(settings(sims))
        state = tmp_path / "state"
        async with started(tmp_path, "--config", str(config), "--state-dir", str(state)) as server:
            await server.send(*BROKEN)
            await server.open()
            assert await server.call(2, "ask_essay", prompt="x")
            for number, broken in enumerate(BROKEN, 10):
                await server.send(broken)
                assert "result" in await server.ask(number, "ping", {})
            text, note = await server.call(30, "ask_coding_model", code="x", question="y")
            assert text == "It is 42."
            assert "served by a/m" in note
            assert json.loads((state / "engine.json").read_text())["pid"] == server.process.pid

            # a second one uses the first one's engine, and takes over when that has gone
            async with started(tmp_path, "--config", str(config), "--state-dir", str(state)) as second:
                await second.open()
                assert (await second.call(2, "ask_coding_model", code="x", question="y"))[0] == "It is 42."

                # the end of stdin ends a call under way, upstream too, and the engine with the server
                slow = {"name": "ask_slow", "arguments": {"prompt": "x"}}
                frame = {"jsonrpc": "2.0", "id": 40, "method": "tools/call", "params": slow}
                await server.send(json.dumps(frame).encode() + b"\n")
                await sims["a"].wait_received(model="slow")
                out, err = await server.process.communicate(b"")
                await sims["a"].wait_closed(1)
                assert server.process.returncode == 0
                frames(out)
                assert not (state / "engine.json").exists()
                line = err.decode().splitlines()[0]
                assert f"no engine runs on {state}: one serves in this process at http://127.0.0.1:" in line

                assert (await second.call(3, "ask_coding_model", code="x", question="y"))[0] == "It is 42."
                assert json.loads((state / "engine.json").read_text())["pid"] == second.process.pid

                # a signal ends it too, while stdin stays open
                second.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(PATIENCE_S):
                    assert await second.process.wait() == 0
                assert not (state / "engine.json").exists()


async def test_tools_that_change_are_announced_and_a_reader_that_goes_ends_it(tmp_path: Path) -> None:
    """Clients list once; and a server whose answers nobody reads ends, though its stdin stays open."""
    async with upstreams() as sims:
        config = tmp_path / "providers.yaml"
        config.write_text(settings(sims))
        mine, theirs = os.pipe()
        async with started(tmp_path, "--config", str(config), "--state-dir", str(tmp_path / "state")) as server:
            answer = await server.ask(1, "initialize", OPENING)
            assert answer["result"]["capabilities"]["tools"] == {"listChanged": True}
            await server.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
            await server.ask(2, "tools/list", {})
            config.write_text(settings(sims).replace("ask_coding_model", "ask_renamed"))
            await server.told("notifications/tools/list_changed")
            listed = await server.ask(3, "tools/list", {})
            assert "ask_renamed" in [tool["name"] for tool in listed["result"]["tools"]]

            # a reader that goes: the second server uses the first one's engine
            second = await asyncio.create_subprocess_exec(
                *COMMAND, "--state-dir", str(tmp_path / "state"), "mcp",
                stdin=asyncio.subprocess.PIPE, stdout=theirs, env=environment(tmp_path), cwd=tmp_path,
            )  # fmt: skip
            os.close(theirs)
            os.close(mine)
            assert second.stdin is not None
            second.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            async with asyncio.timeout(PATIENCE_S):
                assert await second.wait() == 0
            second.stdin.close()

            # a signal ends a call under way, upstream too, at once: an engine of its own waits for nothing then
            slow = {"name": "ask_slow", "arguments": {"prompt": "x"}}
            await server.send(json.dumps({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": slow}).encode())
            await server.send(b"\n")
            await sims["a"].wait_received(model="slow")
            server.process.send_signal(signal.SIGTERM)
            await sims["a"].wait_closed(1)
            async with asyncio.timeout(PATIENCE_S):
                assert await server.process.wait() == 0


def test_a_registration_is_printed_with_whole_paths_and_no_secret(alone: Cli) -> None:
    """Clients start servers from anywhere; stdout is the document and nothing else."""
    (alone.home / "config").mkdir()
    (alone.home / "config" / "providers.yaml").write_text("version: 1\n")
    done = alone("mcp", "--print-config", "--token-file", "admin.token")
    entry = done.json["mcpServers"]["routerconsole"]
    assert (done.code, done.err) == (0, "")
    assert entry["args"][-1] == "mcp"
    given = dict(zip(entry["args"][:-1:2], entry["args"][1:-1:2], strict=True)) if entry["args"][0] != "-m" else {}
    if not given:
        given = dict(zip(entry["args"][2:-1:2], entry["args"][3:-1:2], strict=True))
    assert given == {
        "--config": str(alone.home / "config" / "providers.yaml"),
        "--state-dir": str(alone.state),
        "--token-file": str(alone.home / "admin.token"),
    }
    assert Path(entry["command"]).is_absolute()


def test_a_password_in_the_address_is_in_no_registration(alone: Cli) -> None:
    """Nor is an address that no engine could have: what is printed is what will be started."""
    for url in ("http://me:hunter2pass@127.0.0.1:9", "ftp://127.0.0.1"):
        done = alone("--url", url, "mcp", "--print-config")
        assert (done.code, done.out) == (2, "")
        assert "is not an engine's address" in done.err
        assert "hunter2pass" not in done.err


def test_a_closed_stdin_is_one_that_has_ended(alone: Cli) -> None:
    """Its descriptor is not that of the next file opened."""
    line = ["sh", "-c", 'exec "$0" "$@" <&-', *COMMAND, "--state-dir", str(alone.state), "mcp"]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(alone.home), check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "Error" not in done.stderr


def test_without_the_extra_the_remedy_is_named(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 and what to install; nothing is started."""
    real = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "mcp" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    done = alone("mcp")
    assert (done.code, done.out) == (2, "")
    assert "pip install 'routerconsole[mcp]'" in done.err
    assert not alone.state.exists()


def test_an_engine_that_is_not_there_or_not_ours_is_said_at_once(alone: Cli) -> None:
    """A named engine is never replaced by one of our own."""
    token = alone.home / "token"
    token.write_text("x" * 20)
    done = alone.process("mcp", "--url", "http://127.0.0.1:9", "--token-file", str(token))
    assert (done.code, done.out) == (4, "")
    assert "No engine answers at http://127.0.0.1:9" in done.err
