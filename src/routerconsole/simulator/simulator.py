"""The simulator: a real HTTP upstream on a loopback socket whose models behave as told; it counts and remembers.

Owns the listener, the books (received, closes, counts) and the choice of a reply; bytes are made elsewhere. A pause
keeps the port bound but not listening, so that a connect is refused and nobody else can take the port.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import NamedTuple

import orjson

from routerconsole.simulator.behaviour import Behaviour, Wire
from routerconsole.simulator.control import control_reply
from routerconsole.simulator.http import Connection, Greeting, Reply, Request, Step
from routerconsole.simulator.replies import Context, is_index, listing_steps, model_steps, route_of, wrong_key_steps
from routerconsole.simulator.script import Listed, Pull, Script, Window

ACCEPTING_TURNS = 4
"""Turns of the loop that asyncio may take from accepting a connection until its protocol knows it."""
_KEPT = 4_096  # rows in each book
_KEPT_BYTES = 64_000_000  # of request bodies in all


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; `at` is the loop's clock, `n` counts this model's requests from 1."""

    at: float
    n: int
    model: str | None
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    peer: str


class Tokens(NamedTuple):
    """What answers took."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """A connection that ended in the middle of a reply (`by` the peer), or that a fault ended (`by` us)."""

    at: float
    model: str | None
    n: int
    after_bytes: int
    by: str  # "peer" | "us"


class Simulator:
    """One scripted upstream; it can be stopped and started again on the same port."""

    def __init__(self, script: Script | None = None, seed: int = 0) -> None:
        self.script = script or Script()
        self.seed = seed or self.script.seed
        self.api_key = self.script.api_key
        self.listed: list[Listed] = list(self.script.listed)
        self.pulls: dict[str, Pull] = dict(self.script.pulls)
        self.greeting = Greeting.SERVE  # of each new connection
        self.host = "127.0.0.1"
        self.port = 0
        self._rng = Random(self.seed)
        self._behaviours: dict[str, Behaviour] = dict(self.script.models)
        self._served: Counter[str] = Counter()
        self._tokens: dict[str, Tokens] = {}
        self._since: dict[str, int] = {}
        self._listings = 0  # listings asked for
        self._bytes = 0
        self.total = 0
        self.received: deque[Received] = deque(maxlen=_KEPT)
        self.closes: deque[PeerClosed] = deque(maxlen=_KEPT)
        self.closed_total = 0
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._started = 0.0
        self._wakers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._flap: asyncio.Task[None] | None = None

    # --- life ---
    async def start(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        """Listen; a port of 0 takes a free one (the same again on a restart); raises OSError if it is taken."""
        if self._server is not None or self._held is not None:
            return
        self.host, self._tls = host, tls
        self._held = _bound(host, port or self.port)
        self.port = self._held.getsockname()[1]
        self._started = asyncio.get_running_loop().time()
        if not any(window.holds(0.0) for window in self.script.refusing):
            await self.resume_listening()
        if self.script.refusing:
            self._flap = asyncio.get_running_loop().create_task(self._follow(self.script.refusing))

    async def stop(self) -> None:
        """Stop listening and end every connection; idempotent."""
        flap, self._flap = self._flap, None
        if flap is not None:
            flap.cancel()
            await asyncio.gather(flap, return_exceptions=True)
        await self.pause_listening(drop=True)
        for connection in list(self._connections):  # of a pause before
            connection.drop()
        if self._held is not None:
            self._held.close()
            self._held = None
        await self.wait_connections(0)

    async def __aenter__(self) -> Simulator:
        """Start on a free port, unless started."""
        await self.start(port=self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def pause_listening(self, *, drop: bool = False) -> None:
        """Refuse connections, end idle ones now and busy ones after their reply (`drop`: now); the port stays ours."""
        server, self._server = self._server, None
        if server is None:
            return
        for listener in server.sockets:  # asyncio forgets, unclosed, what it is just accepting when a server is closed
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        server.close()
        for connection in list(self._connections):
            if drop:
                connection.drop()
            else:
                connection.retire()
        while self._held is None:
            try:
                self._held = _bound(self.host, self.port)
            except OSError:  # uvloop closes the old listener in its next turn
                await asyncio.sleep(0)

    async def resume_listening(self) -> None:
        """Listen again on the same port."""
        held, self._held = self._held, None
        if held is not None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Connection(self), sock=held, ssl=self._tls, backlog=1024)

    async def _follow(self, windows: tuple[Window, ...]) -> None:
        """Pause and resume as the script's windows say."""
        while True:
            refusing = any(window.holds(self.elapsed) for window in windows)
            if refusing and self._server is not None:
                await self.pause_listening()
            elif not refusing and self._server is None:
                await self.resume_listening()
            await asyncio.sleep(0.05)

    @property
    def elapsed(self) -> float:
        """Seconds since the start, or since the last reset."""
        return asyncio.get_running_loop().time() - self._started

    @property
    def origin(self) -> str:
        """`http://host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The OpenAI base address."""
        return self.origin + "/v1"

    # --- models ---
    @property
    def behaviours(self) -> dict[str, Behaviour]:
        """A copy of what every model does now."""
        return dict(self._behaviours)

    def set(self, model: str, behaviour: Behaviour) -> None:
        """Change a model (or a path, as `GET /v1/models`) from the next request on; its status sequence starts anew."""
        self._behaviours[model] = behaviour
        self._since[model] = self._served[model]

    def remove(self, model: str) -> None:
        """Forget a model: it answers as an unknown one."""
        self._behaviours.pop(model, None)

    def entries(self) -> list[Listed]:
        """What the present listing shows: the models, and the script's entries in their turn, which replace them."""
        told = {entry.id for entry in self.listed}
        own = [
            Listed(id=name, capabilities=b.capabilities, context_window=b.context_window)
            for name, b in self._behaviours.items()
            if "/" not in name.partition(" ")[2][:1] and name not in told  # a path's behaviour is no model
        ]
        return [*own, *(entry for entry in self.listed if entry.shows(self._listings))]

    # --- books ---
    @property
    def throttled(self) -> bool:
        """Whether a peer reads too slowly just now, so that its reply is held back."""
        return any(connection.throttled for connection in self._connections)

    def count(self, model: str) -> int:
        """How many requests named this model (or path)."""
        return self._served[model]

    def tokens(self, model: str) -> Tokens:
        """How many tokens the answers of this model had, whether or not anybody read them to the end."""
        return self._tokens.get(model, Tokens())

    def counts(self) -> dict[str, int]:
        """Requests by model or path."""
        return dict(self._served)

    @property
    def open_connections(self) -> int:
        """Connections accepted and not yet ended."""
        return len(self._connections)

    def reset(self) -> None:
        """Empty the books and start the time table anew; behaviours set live stay."""
        self._served.clear()
        self._tokens.clear()
        self._since.clear()
        self._listings = 0
        self.received.clear()
        self.closes.clear()
        self.total = self.closed_total = self._bytes = 0
        self._started = asyncio.get_running_loop().time()
        self._rng = Random(self.seed)

    async def wait_received(self, n: int = 1, *, model: str | None = None, timeout: float = 30.0) -> None:
        """Return once n requests came (of this model); raises TimeoutError."""
        await self._wait(lambda: (self.total if model is None else self._served[model]) >= n, timeout)

    async def wait_closed(self, n: int = 1, *, timeout: float = 30.0) -> None:
        """Return once n replies were ended before their end; raises TimeoutError."""
        await self._wait(lambda: self.closed_total >= n, timeout)

    async def wait_connections(self, n: int = 0, *, timeout: float = 30.0) -> None:
        """Return once at most n connections are open; raises TimeoutError."""
        await self._wait(lambda: len(self._connections) <= n, timeout)

    async def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until the condition holds; it is looked at on every entry in the books."""
        if done():
            return
        future = asyncio.get_running_loop().create_future()
        self._wakers.append((done, future))
        try:
            await asyncio.wait_for(future, seconds)
        finally:
            self._wakers = [waker for waker in self._wakers if waker[1] is not future]

    def _notify(self) -> None:
        """Wake those whose condition holds now."""
        for done, future in self._wakers:
            if not future.done() and done():
                future.set_result(None)

    # --- what a connection asks ---
    @property
    def idle_s(self) -> float | None:
        """How long an idle connection is kept."""
        return self.script.keep_alive_s

    def opened(self, connection: Connection) -> Greeting:
        """Note a connection and say how it is greeted."""
        self._connections.add(connection)
        return self.greeting

    def closed(self, connection: Connection, reply: Reply | None, *, by_us: bool) -> None:
        """Note the end of a connection."""
        self._connections.discard(connection)
        if reply is not None:
            at = asyncio.get_running_loop().time()
            self.closes.append(PeerClosed(at, reply.model, reply.n, reply.sent, "us" if by_us else "peer"))
            self.closed_total += 1
        self._notify()

    def answer(self, request: Request) -> Reply:
        """Choose the reply for a request and enter it in the books."""
        path = request.path
        if path.startswith("/__sim/"):
            return Reply(control_reply(self, request))
        face = route_of(request.method, path)
        body: dict[str, object] = {}
        if request.body:
            try:
                parsed = orjson.loads(request.body)
                body = parsed if isinstance(parsed, dict) else {}
            except orjson.JSONDecodeError:
                body = {}
        named = body.get("model", body.get("name"))
        model = named if isinstance(named, str) else None
        key = model if model is not None and face not in _PATHS else f"{request.method} {path}"
        n = self._enter(request, model, key)
        otherwise = self.script.default if face not in _PATHS else Behaviour()
        behaviour = self._behaviours.get(key, otherwise)
        if behaviour is not None:
            behaviour = behaviour.at(self.elapsed)
            if behaviour.wire in _STALE and not request.reused:
                behaviour = replace(behaviour, wire=Wire.NONE)
        context = Context(
            request=request, path=path, body=body, model=model, n=n, turn=n - self._since.get(key, 0),
            behaviour=behaviour, seed=self.seed, rng=self._rng, took=partial(self._took, key),
        )  # fmt: skip
        return Reply(self._steps(context, face), model=model, n=n)

    def _steps(self, context: Context, face: str | None) -> Iterator[Step]:
        """The steps for a request whose behaviour is known."""
        if self.api_key is not None and not _has_key(context.request, self.api_key):
            return wrong_key_steps(context)
        if face is None or face == "listing":
            self._listings += is_index(context.request.method, context.path)
            return listing_steps(context, self.entries(), self.script)
        if face == "pull":
            return self._pull(context)
        return model_steps(context, face)

    def _pull(self, context: Context) -> Iterator[Step]:
        """An Ollama pull; a good one adds the model."""
        name = context.model or ""
        pull = self.pulls.get(name, self.pulls.get("*", Pull()))
        if pull.ok and pull.hang_at is None and name not in self._behaviours:
            self._behaviours[name] = self.script.default or Behaviour()
        return listing_steps(replace(context, behaviour=Behaviour()), self.entries(), self.script, pull=pull)

    def _took(self, key: str, prompt: int, completion: int) -> None:
        """Enter the tokens of one answer."""
        before = self.tokens(key)
        self._tokens[key] = Tokens(before.prompt + prompt, before.completion + completion)

    def _enter(self, request: Request, model: str | None, key: str) -> int:
        """Enter a request in the books; returns its number."""
        self.total += 1
        self._served[key] += 1
        n = self._served[key]
        at = asyncio.get_running_loop().time()
        if len(self.received) == _KEPT:
            self._bytes -= len(self.received[0].body)
        self.received.append(
            Received(at, n, model, request.method, request.path, tuple(request.headers), request.body, request.peer)
        )
        self._bytes += len(request.body)
        while self._bytes > _KEPT_BYTES and len(self.received) > 1:
            self._bytes -= len(self.received.popleft().body)
        self._notify()
        return n


_STALE = frozenset({Wire.STALE, Wire.STALE_RESET})
_PATHS = frozenset({None, "listing", "pull"})  # what is counted and scripted by its path


def _has_key(request: Request, key: str) -> bool:
    """Whether the request carries this key, in either of the usual headers."""
    return request.header("authorization") == f"Bearer {key}" or request.header("x-api-key") == key


def _bound(host: str, port: int) -> socket.socket:
    """A socket bound and not listening; raises OSError if the port is taken."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
