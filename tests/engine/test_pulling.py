"""Downloads: odd answers end them with a reason, and what may stand in comes from chains and capabilities."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine.parts import running_engine, until

from routerconsole.control.commands import Receipt
from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import CancelPull, PullModel
from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import NODE_OF, Layer, Source, Tri, Word
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.pool import Pool
from routerconsole.domain.registry import Model, ModelState, Provider, ProviderKind, Registry
from routerconsole.domain.route import ModelKey
from routerconsole.engine.pulling import PARALLEL, PullState, proposed

VISION = {NODE_OF[Word.VISION]: (Layer(Source.CONFIG, Tri.YES),)}


def key(name: str) -> ModelKey:
    """A model at `o`."""
    return ModelKey("o", name)


def registry(*models: Model, chain: tuple[str, ...] = ()) -> Registry:
    """One Ollama with these models, and a chain of names."""
    pools = [Pool("chain", listed=tuple(key(name) for name in chain))] if chain else []
    provider = Provider("o", ProviderKind.OLLAMA, "http://127.0.0.1:1", local=True, models=models)
    return assemble(version=1, policy=RoutingPolicy(), providers=[provider], pools=pools)


def there(name: str) -> Model:
    """An installed model."""
    return Model("o", name, listed=True)


def test_the_next_installed_of_the_chain_stands_in() -> None:
    """After the one asked for, then before it; never one that is gone, switched off, or unknown."""
    chain = ("a", "b", "c", "d")
    assert proposed(registry(there("a"), there("d"), chain=chain), key("b")) == "o/d"
    assert proposed(registry(there("a"), chain=chain), key("b")) == "o/a"
    gone = replace(there("c"), state=ModelState.WITHDRAWN)
    off, unlisted = replace(there("d"), enabled=False), Model("o", "a", listed=False)
    assert proposed(registry(gone, off, unlisted, there("b"), chain=chain), key("b")) == ""


def test_outside_of_chains_its_capability_counts() -> None:
    """A vision model is replaced by another one; where nothing is known of it nothing is proposed."""
    asked, other = Model("o", "v", layers=VISION, listed=False), replace(there("w"), layers=VISION)
    assert proposed(registry(there("t"), asked, other), key("v")) == "o/w"
    assert proposed(registry(there("t"), other), key("unheard")) == ""


def test_a_model_nobody_registered_is_replaced_by_what_its_name_says_it_can() -> None:
    """Tools for tools and vision for vision; text alone stands in only for what can nothing more."""

    def can(name: str, *words: Word) -> Model:
        return replace(there(name), layers={NODE_OF[word]: (Layer(Source.DISCOVERY, Tri.YES),) for word in words})

    talks, calls, sees = can("t", Word.TEXT), can("c", Word.TEXT, Word.TOOLS), can("s", Word.TEXT, Word.VISION)
    installed = registry(talks, calls, sees)
    for name, stand_in in (("llama3.1:8b", "o/c"), ("llava:13b", "o/s"), ("gemma2:2b", "o/t"), ("unheard", "")):
        assert proposed(installed, key(name)) == stand_in, name
    assert proposed(registry(talks), key("llava:13b")) == ""
    asked = replace(sees, upstream_id="v", listed=False)
    assert proposed(registry(talks, calls, asked, sees), key("v")) == "o/s"


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OK + b'{"status":"pulling"}\n', "before its end"),
        (OK + b"<html>\n", "cannot be read"),
        (OK + b'{"status":"x","completed":5', "before its end"),
        (OK + b"x" * (1 << 21), "cannot be read"),
        (OK + b'{"error":"no \x1b[2J space"}\n'.replace(b"\x1b", b"\\u001b"), "no [2J space"),
        (OK + b'{"error":5}\n', "no reason"),
        (b'HTTP/1.1 404 X\r\ncontent-length: 21\r\n\r\n{"error":"not found"}\n', "not found"),
        (b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", "500"),
        (b"", ""),
    ],
)
async def test_an_odd_answer_ends_it_with_a_reason(leakcheck: None, tmp_path: Path, answer: bytes, why: str) -> None:
    """Cut off, garbled, endless, refused or hung up: failed, told, and nothing is left running."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/api/pull" in head:
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = f"version: 1\nproviders: [{{name: o, kind: ollama, base_url: 'http://127.0.0.1:{port}'}}]\n"
    async with running_engine(text, tmp_path) as node:
        pulls = node.service.pulls
        receipt: Receipt = await node.control.do(PullModel("O", "m:1"), actor="test")
        assert (receipt.target, receipt.after) == ("o/m:1", {"state": "running"})
        await until(lambda: not pulls.running(), "the end of the download")
        (pull,) = pulls.recent()
        assert pull.state is PullState.FAILED
        assert why in pull.error
        assert pull.error.isprintable()
        with pytest.raises(ControlError) as refused:
            await node.control.do(CancelPull("o", "m:1"), actor="test")
        assert refused.value.status == 404
    server.close()
    await server.wait_closed()


async def test_so_many_downloads_and_no_more(leakcheck: None, tmp_path: Path) -> None:
    """One more is refused; a dry run begins none; odd names are refused; cancelling ends each."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if b"/api/pull" in await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK + b'{"status":"pulling","digest":"d","total":9,"completed":3}\n')
                await reader.read()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = f"version: 1\nproviders: [{{name: o, kind: ollama, base_url: 'http://127.0.0.1:{port}'}}]\n"
    async with running_engine(text, tmp_path) as node:
        pulls, do = node.service.pulls, node.control.do
        assert (await do(PullModel("o", "m"), actor="test", dry_run=True)).dry_run
        assert pulls.running() == ()
        for n in range(PARALLEL):
            await do(PullModel("o", f"m{n}"), actor="test")
        for name, status in (("m0", 409), ("more", 409), ("a\x1bb", 400), ("", 400)):
            with pytest.raises(ControlError) as refused:
                await do(PullModel("o", name), actor="test")
            assert refused.value.status == status
        await until(lambda: all(pull.completed == 3 for pull in pulls.running()), "progress")
        assert {pull.percent for pull in pulls.running()} == {33.3}
        for n in range(PARALLEL):
            await do(CancelPull("o", f"m{n}"), actor="test")
        assert pulls.running() == ()
        assert {pull.state for pull in pulls.recent()} == {PullState.CANCELLED}
    server.close()
    await server.wait_closed()
