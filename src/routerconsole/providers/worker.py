"""The engine's side of the weights worker: starts it when first asked, queues for it, kills it, starts it again.

One process for all providers of kind `airllm`, so one model in memory. It never waits for the process: what the
process says is handed to whoever asked, and a process that dies or goes deaf costs only the answers it was making.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import orjson

from routerconsole.domain.events import EventType, Fact

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "routerconsole.providers.weights_backends")
START_S: Final = 20.0
"""Seconds until a new process must have said that it is there; it imports nothing heavy before."""
CANCEL_S: Final = 3.0
"""Seconds an answer that nobody wants may still be made; AirLLM looks up once per token only. Then it is killed."""
LOADING_S: Final = 1800.0
"""Seconds a model that is being loaded may still take when who asked is gone: the next one finds it in memory, where
killing it would have every client with less patience than that begin again."""
SETTLED_S: Final = 1.0
"""Seconds after which a process with nothing to do that ends was ended by somebody: it does not "keep dying"."""
SLOWEST_S: Final = 30.0
"""Longest wait before a process that keeps dying is started again."""
MAX_LINE: Final = 1 << 20
MAX_QUEUED: Final = 64
MAX_REFUSED: Final = 100
"""Checkpoints that could not be loaded of which the reason is kept."""
_TAIL: Final = 2000
_INHERITED: Final = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"),
        *("VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME", "HF_HOME"),
        *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    }
)
"""What the worker gets of the environment: no keys, no tokens, no proxies."""
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "HF_MODULES_CACHE": "/dev/null/no-code-of-checkpoints",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
}
"""Nothing is fetched, and nothing that lies in a checkpoint is run: its modules have no folder to be imported from,
whoever trusts them, and what is pickled is read as tensors or not at all."""

Json = dict[str, Any]


class Start(Protocol):
    """Runs a coroutine as an owned task (engine/tasks.py)."""

    def __call__(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start it."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What an operator sees of it: `load_s` seconds and `memory_mb` MB are of the model in memory.

    `path` is where the model lies, `problem` why AirLLM does not serve it, or what became of the last process.
    """

    pid: int | None = None
    model: str | None = None
    path: str | None = None
    backend: str | None = None
    load_s: float | None = None
    memory_mb: int | None = None
    loading: bool = False
    restarts: int = 0
    problem: str = ""


class NotNow(Exception):
    """Nothing is begun: `status` is 503 while the process rests, which passes by itself, 429 where too many wait."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, eq=False)
class Job:
    """One answer that is wanted; `said` receives what the worker says of it, ending with `done`, `failed` or `died`.

    `taken` once the worker has said anything of it: until then it is nobody's, and another process may have it.
    """

    asked: Json
    provider: str
    said: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)
    taken: bool = False
    over: bool = False


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment the worker gets: it runs other people's weights and needs nobody's keys."""
    return {name: value for name, value in env.items() if name in _INHERITED} | _OFFLINE


class Worker:
    """The process and its queue; `clock` is monotonic seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        start: Start,
        publish: Callable[[Fact], object] = lambda _: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._clock, self._start, self._publish = clock, start, publish
        self.command, self.cancel_s = tuple(command), CANCEL_S
        self.state = WorkerState()
        self.refused: dict[str, str] = {}  # why what lies at a path could not be loaded, until it can
        self._provider: str | None = None  # who had the newest answer made
        self._process: Process | None = None
        self._task: asyncio.Task[Any] | None = None
        self._queue: deque[Job] = deque()
        self._job: Job | None = None
        self._deaf: asyncio.TimerHandle | None = None
        self._ids = itertools.count(1)
        self._ready, self._proved, self._resting_until = False, False, 0.0

    @property
    def waiting(self) -> int:
        """Answers that wait for the one being made."""
        return len(self._queue)

    def submit(self, asked: Json, *, provider: str) -> Job:
        """Queue for an answer; raises NotNow while the process rests after dying, or the queue is full."""
        rest = self._resting_until - self._clock()
        if rest > 0:
            problem = f"the weights worker keeps dying and is started again in {rest:.1f} s ({self.state.problem})"
            raise NotNow(503, f"The model is loading again: {problem}")
        if len(self._queue) >= MAX_QUEUED:
            raise NotNow(429, "too many requests wait for the weights worker")
        job = Job({**asked, "do": "generate", "id": str(next(self._ids))}, provider)
        self._queue.append(job)
        if self._task is None or self._task.done():
            self._task = self._start(self._keep(), name="weights worker")
        self._next()
        return job

    def drop(self, job: Job) -> None:
        """Nobody wants this answer any more; a process that goes on with it is killed after a while."""
        if job.over:
            return
        job.over = True
        if job is not self._job:
            with suppress(ValueError):
                self._queue.remove(job)
            return
        self._tell({"do": "cancel", "id": job.asked["id"]})
        self._wait(LOADING_S if self.state.loading else self.cancel_s)

    def _wait(self, seconds: float) -> None:
        """Kill the process unless it is done with the answer by then."""
        if self._deaf is not None:
            self._deaf.cancel()
        self._deaf = asyncio.get_running_loop().call_later(seconds, self._kill)

    def _next(self) -> None:
        if self._job is None and self._ready and self._queue:
            self._job = self._queue.popleft()
            self._provider = self._job.provider
            self._tell(self._job.asked)

    def _tell(self, message: Json) -> None:
        stdin = None if self._process is None else self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(orjson.dumps(message) + b"\n")

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    # -- the one task: a process after the other

    async def _keep(self) -> None:
        deaths = 0
        while True:
            self._proved = False
            why = await self._live()
            deaths = 1 if self._proved else deaths + 1  # one that has answered and died does not "keep dying"
            rest = min(SLOWEST_S, 0.25 * 2 ** (deaths - 1)) if deaths > 1 else 0.0
            self._note(EventType.WEIGHTS_DIED, model=self.state.model, reason=why, rest_s=rest)
            self._ended(why)
            log.warning("the weights worker %s; started again%s", why, f" in {rest:g} s" if rest else "")
            self._resting_until = self._clock() + rest
            if rest:
                self._forsake(why)
                await asyncio.sleep(rest)

    async def _live(self) -> str:
        """Run one process to its end and return what became of it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                limit=MAX_LINE,
                env=environment(os.environ),
                start_new_session=True,  # Ctrl-C in the engine's terminal is not meant for it
            )
        except OSError as exc:
            return f"cannot be started: {exc.strerror or exc}"
        self._process = process
        self.state = WorkerState(pid=process.pid, restarts=self.state.restarts, problem=self.state.problem)
        tail, began = bytearray(), self._clock()
        deaf = asyncio.get_running_loop().call_later(START_S, self._kill)
        try:
            await asyncio.gather(self._listen(process, deaf), _drain(process, tail))
            code = await process.wait()
            self._proved |= self._ready and self._job is None and self._clock() - began > SETTLED_S
        finally:
            deaf.cancel()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._process, self._ready = None, False
        last = bytes(tail).decode("utf-8", "replace").strip().splitlines()
        ended = f"died of signal {-code}" if code < 0 else f"ended with {code}"
        # who was killed from outside did not know it was going to say its last words
        return f"{ended}: {last[-1].strip()[:300]}" if last and code != -signal.SIGKILL else ended

    async def _listen(self, process: Process, deaf: asyncio.TimerHandle) -> None:
        """Hand on what the process says until it says no more; one that speaks nonsense is killed."""
        try:
            while process.stdout is not None and (line := await process.stdout.readline()):
                message = orjson.loads(line)
                deaf.cancel()
                self._heard(message)
        except (ValueError, KeyError, TypeError) as exc:  # a line too long, no JSON, no such field
            log.warning("the weights worker does not speak our language: %s", type(exc).__name__)
            self._kill()

    def _heard(self, message: Json) -> None:
        if self._job is not None and message.get("id") == self._job.asked["id"]:
            self._job.taken = True
        match message["say"]:
            case "ready":
                self._ready = True
                if self.state.restarts:
                    self._note(EventType.WEIGHTS_RESTARTED, restarts=self.state.restarts)
                self._next()
            case "loading":
                if self._deaf is not None:
                    self._wait(LOADING_S)
                path = None if self._job is None else self._job.asked["path"]
                fresh = WorkerState(pid=self.state.pid, restarts=self.state.restarts)
                self.state = replace(fresh, model=message["model"], path=path, loading=True)
                self._note(EventType.WEIGHTS_LOADING, model=message["model"])
            case "loaded":
                self.refused.pop(self.state.path or "", None)
                self.state = replace(
                    self.state,
                    loading=False,
                    backend=message["backend"],
                    load_s=message["seconds"],
                    memory_mb=message["memory_mb"],
                    problem=_last_line(message["problem"]),
                )
                log.info("%s loaded by %s in %s s", message["model"], message["backend"], message["seconds"])
                told = {name: message[name] for name in ("model", "backend", "seconds", "memory_mb")}
                self._note(EventType.WEIGHTS_LOADED, **told, problem=self.state.problem)
                if self._deaf is not None:
                    self._wait(self.cancel_s)
                if message["problem"]:
                    log.warning("AirLLM cannot serve %s: %s", message["model"], message["problem"])
            case "began" | "text":
                self._hand(message)
            case "done" | "failed":
                self._proved = True
                if message.get("memory_mb") is not None:
                    self.state = replace(
                        self.state,
                        memory_mb=message["memory_mb"],
                        backend=message["backend"],
                        problem=_last_line(message["problem"]),
                    )
                if message["say"] == "failed" and self.state.loading:
                    self._failed(str(message["message"])[:300])
                self._hand(message)
                self._free()
            case other:
                raise ValueError(other)

    def _failed(self, reason: str) -> None:
        """Nothing is in memory now; what lies there is remembered as what cannot be loaded."""
        state = self.state
        self._note(EventType.WEIGHTS_FAILED, model=state.model, reason=reason)
        self.refused = dict([*self.refused.items(), (state.path or "", reason)][-MAX_REFUSED:])
        self.state = WorkerState(pid=state.pid, restarts=state.restarts)

    def _note(self, kind: EventType, **data: str | float | None) -> None:
        if self._provider is not None:
            self._publish(Fact(kind, {"provider": self._provider, **data}))

    def _hand(self, message: Json) -> None:
        job = self._job
        if job is not None and job.asked["id"] == message["id"] and not job.over:
            job.over = message["say"] in ("done", "failed")
            job.said.put_nowait(message)

    def _free(self) -> None:
        self._job = None
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None
        self._next()

    def _ended(self, why: str) -> None:
        """The answer that was being made is lost; what it had not begun with, and what waits, is not."""
        self.state = WorkerState(restarts=self.state.restarts + 1, problem=f"the weights worker {why}")
        if self._job is not None and not self._job.taken and not self._job.over:
            self._queue.appendleft(self._job)
        elif self._job is not None and not self._job.over:
            self._job.over = True
            self._job.said.put_nowait({"say": "died", "message": f"the weights worker {why}"})
        self._free()

    def _forsake(self, why: str) -> None:
        """Tell who waits for a process that keeps dying: another route may serve them."""
        while self._queue:
            job = self._queue.popleft()
            job.over = True
            job.said.put_nowait({"say": "died", "message": f"the weights worker {why}"})


async def _drain(process: Process, tail: bytearray) -> None:
    """Keep the end of what the process writes about itself."""
    while process.stderr is not None and (piece := await process.stderr.read(1 << 14)):
        tail += piece
        del tail[:-_TAIL]


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""
