"""When providers are asked and how long: bounded, once at a time, each with its own deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from tests.engine.parts import running_engine, until
from tests.support.node import RunningNode

from routerconsole.domain.capability import NODE_OF, Word
from routerconsole.domain.route import ModelKey
from routerconsole.engine.discovery import PARALLEL, QUESTIONS, receipt

Answerer = Callable[[bytes, bytes], Awaitable[object]]
"""What a server answers to a path and a body; None hangs up."""


class Upstream:
    """A server of JSON that knows how many questions it had at once, per path."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.total: dict[str, int] = {}
        self.port = 0

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = ""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            self.total[path] = self.total.get(path, 0) + 1
            self.now[path] = self.now.get(path, 0) + 1
            self.most[path] = max(self.most.get(path, 0), self.now[path])
            answer = await self._answer(path.encode(), body)
            if answer is not None:
                raw = orjson.dumps(answer)
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.now[path] = self.now.get(path, 1) - 1
            writer.close()


def config(rows: Sequence[str]) -> str:
    """Providers as flow mappings, none of them probed."""
    return "version: 1\nproviders:\n" + "".join(f"  - {{{row}, health: {{enabled: false}}}}\n" for row in rows)


@asynccontextmanager
async def engine(rows: Sequence[str], tmp_path: Path) -> AsyncIterator[RunningNode]:
    """A running engine on these providers."""
    async with running_engine(config(rows), tmp_path) as node:
        yield node


def ids(node: RunningNode) -> set[str]:
    """Every model of the registry."""
    return {f"{key.provider}/{key.model}" for key in node.service.registry.models}


async def test_providers_are_asked_together_but_never_too_many(leakcheck: None, tmp_path: Path) -> None:
    """More than PARALLEL wait their turn; all are listed in the end."""
    release = asyncio.Event()

    async def answer(path: bytes, _: bytes) -> object:
        await release.wait()
        return {"data": [{"id": "m", "owned_by": "x"}]}

    count = PARALLEL + 4
    async with Upstream(answer) as upstream:
        row = "kind: openai_compatible, base_url: 'http://127.0.0.1:{}/v1'"
        rows = [f"name: p{n}, {row.format(upstream.port)}" for n in range(count)]
        async with engine(rows, tmp_path) as node:
            await until(lambda: upstream.now.get("/v1/models") == PARALLEL, "a full house")
            release.set()
            await until(lambda: len(ids(node)) == count, "all listings")
    assert upstream.most["/v1/models"] == PARALLEL


async def test_two_syncs_at_once_ask_once(leakcheck: None, tmp_path: Path) -> None:
    """Both get the same answer, and the start's own listing too."""
    release = asyncio.Event()

    async def answer(path: bytes, _: bytes) -> object:
        await release.wait()
        return {"data": [{"id": "m", "owned_by": "x"}]}

    async with Upstream(answer) as upstream:
        row = f"name: p, kind: openai_compatible, base_url: 'http://127.0.0.1:{upstream.port}/v1'"
        async with engine([row], tmp_path) as node:
            await until(lambda: upstream.now.get("/v1/models") == 1, "the first listing")
            both = [asyncio.create_task(node.service.discovery.sync()) for _ in range(2)]
            await asyncio.sleep(0)
            release.set()
            for (outcome,) in await asyncio.gather(*both):
                assert (outcome.provider, outcome.models) == ("p", 1)
            assert upstream.total["/v1/models"] == 1


async def test_questions_to_one_server_are_bounded_and_each_may_fail(leakcheck: None, tmp_path: Path) -> None:
    """Ollama's `show` is asked of four models at a time; one that hangs up costs its model's facts, no more."""
    release = asyncio.Event()
    names = [f"m{n}" for n in range(10)]

    async def answer(path: bytes, body: bytes) -> object:
        if path == b"/api/tags":
            return {"models": [{"name": name} for name in names]}
        await release.wait()
        if orjson.loads(body)["model"] == "m3":
            return None
        return {"capabilities": ["completion", "tools"], "model_info": {"x.context_length": 2048}}

    async with Upstream(answer) as upstream:
        row = f"name: o, kind: ollama, base_url: 'http://127.0.0.1:{upstream.port}'"
        async with engine([row], tmp_path) as node:
            await until(lambda: upstream.now.get("/api/show") == QUESTIONS, "the first questions")
            release.set()
            await until(lambda: len(ids(node)) == len(names), "the listing")
            models = node.service.registry.models
            assert upstream.most["/api/show"] == QUESTIONS
            assert models[ModelKey("o", "m2")].context_window == 2048
            assert models[ModelKey("o", "m3")].context_window is None


async def test_a_detail_nobody_answers_leaves_what_was_known(leakcheck: None, tmp_path: Path) -> None:
    """The second listing's `show` hangs: the model keeps its facts, nothing has changed, and the sync ends."""
    hang, release = asyncio.Event(), asyncio.Event()

    async def answer(path: bytes, _: bytes) -> object:
        if path == b"/api/tags":
            return {"models": [{"name": "m"}]}
        if hang.is_set():
            await release.wait()
        return {"capabilities": ["completion", "tools"], "model_info": {"x.context_length": 2048}}

    async with Upstream(answer) as upstream:
        row = f"name: o, kind: ollama, base_url: 'http://127.0.0.1:{upstream.port}'"
        async with engine([row], tmp_path) as node:
            await until(lambda: ids(node) == {"o/m"}, "the listing")
            hang.set()
            node.service.discovery.details_s = 0.1
            (outcome,) = await node.service.discovery.sync(("o",))
            assert (bool(outcome.diff), outcome.error) == (False, "")
            model = node.service.registry.models[ModelKey("o", "m")]
            assert (model.context_window, NODE_OF[Word.TOOLS] in model.layers) == (2048, True)
            release.set()
            await until(lambda: not upstream.now.get("/api/show"), "the end of the last question")


@pytest.mark.parametrize(
    ("said", "why"),
    [(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n", "check the key"),
     (b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", "500"),
     (b"HTTP/1.1 302 X\r\nlocation: http://h/\r\ncontent-length: 0\r\n\r\n", "302"),
     (b"HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\n<html>", "not JSON"), (b"nonsense\r\n\r\n", ""), (b"", "")],
)  # fmt: skip
async def test_each_failure_has_its_reason(leakcheck: None, tmp_path: Path, said: bytes, why: str) -> None:
    """Refusals, errors, redirects, other things than listings, and silence: a word each, and no model."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            if not said:
                await reader.read()  # silence, until we are given up on
            writer.write(said)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    row = f"name: p, kind: openai_compatible, base_url: 'http://127.0.0.1:{port}/v1', models: [{{id: own}}]"
    async with engine([row], tmp_path) as node:
        node.service.discovery.listing_s = 0.3
        (outcome,) = await node.service.discovery.sync(("p",))
        assert why in outcome.error
        assert outcome.error
        assert receipt([outcome])["providers"]["p"] == {
            "status": "failed", "models": 0, "stale": False, "detail": outcome.error,
        }  # fmt: skip
        assert ids(node) == {"p/own"}
    server.close()
    await server.wait_closed()


async def test_a_provider_that_cannot_be_used_says_why(leakcheck: None, tmp_path: Path) -> None:
    """Without its key it is asked nothing; the sync of the others goes on."""
    row = "name: p, kind: openai_compatible, base_url: 'http://127.0.0.1:9/v1', api_key: 'env:NOT_SET_ANYWHERE'"
    async with engine([row], tmp_path) as node:
        (outcome,) = await node.service.discovery.sync()
        assert "missing_secret" in outcome.error


async def test_E03_ten_thousand_models_are_listed_whole(leakcheck: None, tmp_path: Path) -> None:
    """All of them are there, worked out beside the loop; the second time nothing changes."""
    listing = {"data": [{"id": f"v/m{n}", "owned_by": "x", "context_length": 4096} for n in range(10_000)]}

    async def answer(path: bytes, _: bytes) -> object:
        return listing

    async with Upstream(answer) as upstream:
        row = f"name: p, kind: openai_compatible, base_url: 'http://127.0.0.1:{upstream.port}/v1', local: false"
        async with engine([row], tmp_path) as node:
            await until(lambda: len(ids(node)) == 10_000, "the listing")
            (outcome,) = await node.service.discovery.sync()
            assert (bool(outcome.diff), outcome.models) == (False, 10_000)


async def test_a_warning_about_an_undeclared_member_ends_with_its_listing(leakcheck: None, tmp_path: Path) -> None:
    """Until the provider lists it the status says that it has no route; then it is in its pool, and nothing is said."""
    release = asyncio.Event()

    async def answer(path: bytes, _: bytes) -> object:
        await release.wait()
        return {"data": [{"id": "m", "owned_by": "x"}]}

    async with Upstream(answer) as upstream:
        path = tmp_path / "providers.yaml"
        row = f"name: p, kind: openai_compatible, base_url: 'http://127.0.0.1:{upstream.port}/v1'"
        path.write_text(config([row]) + "pools: [{id: chain, members: [p/m, p/never]}]\n")
        async with running_engine(path, tmp_path) as node:
            said = "\n".join((await node.control.status()).notices)
            assert "p/m is not declared" in said
            assert "p/never is not declared" in said
            release.set()
            await until(lambda: ids(node) == {"p/m"}, "the listing")
            said = "\n".join((await node.control.status()).notices)
            assert "p/m is not declared" not in said
            assert "p/never is not declared" in said
            assert node.service.registry.pools["chain"].members == (ModelKey("p", "m"),)
