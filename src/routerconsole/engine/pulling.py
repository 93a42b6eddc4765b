"""Has Ollama servers download models, for operators only: one download of a model at a time, its progress as events.

A finished one is followed by a listing of its provider; one that fails proposes the next installed model of its chain.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from routerconsole.control.port import ControlError
from routerconsole.domain.capability import NODE_OF, Tri, Word, strongest
from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.guess import hints
from routerconsole.domain.registry import AUTO_POOL, ModelState, ProviderKind
from routerconsole.domain.route import ModelKey
from routerconsole.providers.dialect import WireRequest
from routerconsole.providers.frames import FrameError
from routerconsole.providers.listing import is_id, shown
from routerconsole.providers.ndjson import NdjsonParser
from routerconsole.providers.transport import Timings, TransportError

from .clock import iso

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from routerconsole.domain.capability import Layer
    from routerconsole.domain.registry import Registry
    from routerconsole.providers.client import Target

    from .service import Service

PROGRESS_S = 0.2
"""Between two events of one download."""
SILENCE_S = 120.0
"""Without a line for so long a download has failed; Ollama writes several a second."""
CONNECT_S = 5.0
KEPT = 20
"""Finished downloads remembered for views."""
_MAX_PARTS = 1000
PARALLEL = 8
"""Downloads running at once, over all servers."""


class PullState(StrEnum):
    """Where a download stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Pull:
    """One download: bytes so far and in all over its parts (0 while unknown), and what it says it is doing.

    A failed one has the reason in `error`, and in `proposal` the installed model that may serve instead.
    """

    provider: str
    model: str
    state: PullState = PullState.RUNNING
    status: str = "starting"
    completed: int = 0
    total: int = 0
    started_at: str = ""
    error: str = ""
    proposal: str = ""

    @property
    def percent(self) -> float | None:
        """How much of what is known of is there; None before anything is."""
        return round(100.0 * self.completed / self.total, 1) if self.total else None

    def data(self) -> dict[str, Any]:
        """Return what an event says."""
        told: dict[str, Any] = {
            "provider": self.provider,
            "model": self.model,
            "state": self.state.value,
            "status": self.status,
            "completed": self.completed,
            "total": self.total,
            "percent": self.percent,
        }
        if self.state is PullState.FAILED:
            told |= {"error": self.error, "proposal": self.proposal}
        return told


class Pulls:
    """All downloads of one engine."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._running: dict[ModelKey, Pull] = {}
        self._tasks: dict[ModelKey, asyncio.Task[None]] = {}
        self._ended: deque[Pull] = deque(maxlen=KEPT)
        self._told_at: dict[ModelKey, float] = {}
        self._untold: set[ModelKey] = set()
        self.silence_s = SILENCE_S

    def running(self) -> tuple[Pull, ...]:
        """Return what is being downloaded."""
        return tuple(self._running.values())

    def recent(self) -> tuple[Pull, ...]:
        """Return what runs, then what ended of late, newest first."""
        return (*self._running.values(), *reversed(self._ended))

    def check(self, provider: str, model: str) -> Target:
        """Return whom to ask for a model; raise ControlError where nobody there can download it, or already does."""
        registry = self._service.registry
        found = registry.providers.get(provider)
        if found is None:
            raise ControlError("not_found", f"Provider {provider!r} not found.", status=404)
        if found.kind is not ProviderKind.OLLAMA:
            why = f"Only Ollama servers download models; {provider!r} is of kind {found.kind.value}."
            raise ControlError("invalid_request", why, status=400)
        if not is_id(model):
            raise ControlError("invalid_request", "This is no name of a model.", status=400)
        if ModelKey(provider, model) in self._running:
            raise ControlError("conflict", f"{provider}/{model} is being downloaded already.", status=409)
        if len(self._running) >= PARALLEL:
            raise ControlError("conflict", f"{PARALLEL} downloads run already; wait or cancel one.", status=409)
        target = self._service.upstreams.target_of(found)
        if target is None:
            reason = found.unavailable or self._service.upstreams.broken.get(provider, "it cannot be used")
            raise ControlError("conflict", f"Provider {provider!r} cannot be asked: {reason}.", status=409)
        return target

    def start(self, provider: str, model: str) -> Pull:
        """Begin a download and return at once; raise ControlError."""
        target = self.check(provider, model)
        key = ModelKey(provider, model)
        pull = Pull(provider, model, started_at=iso(self._service.clock.wall()))
        self._running[key] = pull
        self._tell(pull)
        self._tasks[key] = self._service.tasks.start(self._run(key, target), name=f"pull {provider}/{model}")
        return pull

    def find(self, provider: str, model: str) -> Pull:
        """Return a running download; raise ControlError 404."""
        pull = self._running.get(ModelKey(provider, model))
        if pull is None:
            raise ControlError("not_found", f"{provider}/{model} is not being downloaded.", status=404)
        return pull

    async def cancel(self, provider: str, model: str) -> None:
        """Stop a download and return once its connection is closed; one that ended meanwhile is left alone."""
        task = self._tasks.get(ModelKey(provider, model))
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def tick(self, now: float) -> None:
        """Tell what was held back: a download that stands still does so where it stands."""
        for key in list(self._untold):
            if now - self._told_at.get(key, now) >= PROGRESS_S:
                self._tell(self._running[key])

    async def _run(self, key: ModelKey, target: Target) -> None:
        try:
            await self._download(key, target)
        except asyncio.CancelledError:
            self._end(key, state=PullState.CANCELLED, status="cancelled")
            raise
        except _Failed as exc:
            proposal = proposed(self._service.registry, key)
            self._end(key, state=PullState.FAILED, status="failed", error=str(exc), proposal=proposal)
            return
        except BaseException:
            self._end(key, state=PullState.FAILED, status="failed", error="it ended by an error of the router")
            raise
        provider = self._service.registry.providers.get(key.provider)
        if provider is not None and provider.discovery.enabled:  # a reload may have taken it away, or told us not to
            await self._service.discovery.sync((key.provider,))
        self._end(key, state=PullState.DONE, status="success")

    async def _download(self, key: ModelKey, target: Target) -> None:
        """Follow a download to its success; raise _Failed."""
        parts: dict[str, tuple[int, int]] = {}
        succeeded = False
        async with aclosing(self._lines(target, key.model)) as lines:
            async for line in lines:
                if "error" in line:
                    raise _Failed(shown(line["error"]) or "the server gave no reason")
                status = shown(line.get("status"), 80) or "working"
                succeeded = status == "success"
                total, completed = _bytes(line.get("total")), _bytes(line.get("completed"))
                if total and len(parts) < _MAX_PARTS:
                    parts[str(line.get("digest"))[:100]] = (min(completed, total), total)
                done, size = (sum(part[n] for part in parts.values()) for n in (0, 1))
                self._running[key] = replace(self._running[key], status=status, completed=done, total=size)
                self._tell(self._running[key], coalesce=True)
        if not succeeded:
            raise _Failed("the download ended before its end")

    async def _lines(self, target: Target, model: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield the lines of the answer; raise _Failed. Leaving early closes the connection."""
        wire = WireRequest("POST", "/api/pull", orjson.dumps({"model": model, "stream": True}))
        sender, bounded = self._service.upstreams.sender, self._service.pauses.timeout
        try:
            async with bounded(self.silence_s):
                answer = await sender.open(target, wire, connect_timeout=CONNECT_S, timings=Timings(), stream=True)
            try:
                parser, chunks = NdjsonParser(), answer.chunks()
                while True:
                    async with bounded(self.silence_s):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for event in parser.feed(chunk):
                        yield _line(event.data)
                for event in parser.finish():
                    yield _line(event.data)
                if not 200 <= answer.status < 300:
                    raise _Failed(f"the server answered {answer.status}")
            finally:
                answer.abort()
        except TimeoutError as exc:
            raise _Failed(f"no progress for {self.silence_s:g} s") from exc
        except TransportError as exc:
            raise _Failed(exc.detail) from exc
        except FrameError as exc:
            raise _Failed("the server's answer cannot be read") from exc

    def _tell(self, pull: Pull, *, coalesce: bool = False) -> None:
        """Publish where a download stands, at most five times a second while it runs."""
        key, now = ModelKey(pull.provider, pull.model), self._service.clock.monotonic()
        if coalesce and now - self._told_at.get(key, now) < PROGRESS_S:
            self._untold.add(key)
            return
        self._untold.discard(key)
        self._told_at[key] = now
        self._service.bus.publish(Fact(EventType.PULL_PROGRESS, pull.data()))

    def _end(self, key: ModelKey, **said: Any) -> None:  # the fields of Pull, by name
        pull = replace(self._running.pop(key), **said)
        self._tasks.pop(key, None)
        self._ended.append(pull)
        self._tell(pull)
        self._told_at.pop(key, None)


class _Failed(Exception):
    """A download that will not succeed; the text is the reason to show."""


def proposed(registry: Registry, key: ModelKey) -> str:
    """Return the next installed model of the chain a model stands in (`provider/model`); empty where there is none.

    Chains are pools with a written order. A model in none is replaced by the first one installed that shares most of
    what it can, going by its name where it is not registered: text alone is shared by all, and makes no stand-in for
    a model that can more.
    """
    chains = [pool.listed for pool in registry.pools.values() if key in pool.listed]
    for chain in chains:
        place = chain.index(key)
        for other in _installed(registry, (*chain[place + 1 :], *chain[:place]), but=key):
            return f"{other.provider}/{other.model}"
    if chains:
        return ""
    model = registry.models.get(key)
    wanted = _yes(hints(ProviderKind.OLLAMA, key.model, True) if model is None else model.layers)
    wanted = wanted - {NODE_OF[Word.TEXT]} or wanted
    shared = {
        other: len(wanted & _yes(registry.models[other].layers))
        for other in _installed(registry, registry.pools[AUTO_POOL].members, but=key)
    }
    best = max(shared, key=shared.__getitem__, default=None)
    return f"{best.provider}/{best.model}" if best is not None and shared[best] else ""


def _yes(layers: Mapping[str, tuple[Layer, ...]]) -> frozenset[str]:
    return frozenset(node for node, said in layers.items() if strongest(said).value is Tri.YES)


def _installed(registry: Registry, chain: tuple[ModelKey, ...], *, but: ModelKey) -> Iterator[ModelKey]:
    for key in chain:
        model = registry.models.get(key)
        if key != but and model is not None and model.enabled and model.state is ModelState.LIVE and model.listed:
            yield key


def _line(data: bytes) -> dict[str, Any]:
    try:
        line = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _Failed("the server's answer cannot be read") from exc
    return line if isinstance(line, dict) else {}


def _bytes(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 60 else 0
