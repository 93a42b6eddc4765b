"""The process that holds weights: JSON lines in on stdin, JSON lines out, one model in memory, one answer at a time.

Started by `providers/worker.py`; only this process imports `providers/weights_backends.py` and its libraries. It ends
when its stdin does, so it never outlives the engine.

    in   {"do": "generate", "id", "model", "path", "prompt" | "messages", "max_tokens", …} · {"do": "cancel", "id"}
    out  ready · loading · loaded · began · text · done · failed, each with what `say` gives it
"""

from __future__ import annotations

import gc
import json
import os
import queue
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

NICE: Final = 10
"""What the process yields to the engine and everything else on the machine."""
KILL_FIRST: Final = 800
"""Of 1000: where memory runs out Linux ends this process, not the engine."""
DEFAULT_TOKENS: Final = 1024
"""Tokens of an answer whose request names no limit (capabilities.md §7)."""
_MAX_TRACEBACK: Final = 4000

Json = dict[str, Any]


class Refused(Exception):
    """A request that cannot be carried out; `code` tells the engine which answer that is."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Held(Protocol):
    """One loaded model."""

    backend: str
    problem: str

    def prompt(self, asked: Json) -> Any:
        """Return the tokens of a request."""

    def limit(self, asked: Json, tokens: int) -> int:
        """Return how many tokens the answer may have; raise Refused where there is no room."""

    def generate(self, tokens: Any, asked: Json, limit: int, stop: Callable[[], bool]) -> Iterator[str]:
        """Yield the answer piece by piece, one per token (empty where a token ends no character)."""


class Cancelled(Exception):
    """Nobody waits for this answer any more."""


class Voice:
    """The way out: whole lines, from several threads. What libraries print goes to stderr instead."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
        self._lock = threading.Lock()

    def say(self, what: str, **more: Any) -> None:
        """Write one line."""
        line = json.dumps({"say": what, **more})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


@dataclass(slots=True)
class Desk:
    """What was asked and what was called off; the reader fills it while an answer is being made."""

    asked: queue.SimpleQueue[Json]
    cancelled: set[str]

    def read(self, lines: Iterator[str]) -> None:
        """Take requests until stdin ends, then end the process at once, whatever it is doing."""
        for line in lines:
            told = json.loads(line)
            if told["do"] == "cancel":
                self.cancelled.add(told["id"])
            else:
                self.asked.put(told)
        os._exit(0)


def serve(load: Callable[[Json], Held]) -> None:
    """Answer until stdin ends; `load` is what brings a model into memory."""
    os.nice(NICE)
    with suppress(OSError):  # there is none but on Linux
        Path("/proc/self/oom_score_adj").write_text(str(KILL_FIRST), encoding="ascii")
    out = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not speak to the engine
    voice, desk = Voice(out), Desk(queue.SimpleQueue(), set())
    voice.say("ready", pid=os.getpid())
    threading.Thread(target=desk.read, args=(iter(sys.stdin.readline, ""),), daemon=True).start()
    held: tuple[object, Held] | None = None
    while True:
        asked = desk.asked.get()
        id_, wanted = asked["id"], (asked["model"], asked["path"], _lying(Path(asked["path"])))
        try:
            if held is None or held[0] != wanted:
                held = None  # the old one goes before the new one comes
                gc.collect()  # models are full of cycles
                held = wanted, _loaded(load, asked, voice)
            _answer(held[1], asked, desk, voice)
        except Cancelled:
            voice.say("done", id=id_, finish="cancelled")
        except Refused as exc:
            voice.say("failed", id=id_, code=exc.code, message=str(exc))
        except Exception as exc:  # noqa: BLE001 - whatever a library raises ends this answer, not the process
            if out_of_memory(exc):
                held = None
                voice.say("failed", id=id_, code="out_of_memory", message=f"{asked['model']} does not fit into memory")
            else:
                sys.stderr.write(_traced())
                voice.say("failed", id=id_, code="failed", message=_brief(exc))
        desk.cancelled.discard(id_)


def _lying(path: Path) -> list[tuple[str, int, int]]:
    """Return what tells these weights from others put in their place."""
    folder = path if path.is_dir() else path.parent
    files = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.json"))]
    with suppress(OSError):  # loading them says what is wrong
        return [(file.name, (now := file.stat()).st_size, now.st_mtime_ns) for file in files]
    return []


def _loaded(load: Callable[[Json], Held], asked: Json, voice: Voice) -> Held:
    voice.say("loading", id=asked["id"], model=asked["model"])
    began = time.perf_counter()
    try:
        held = load(asked)
    except Exception as exc:
        if isinstance(exc, Refused) or out_of_memory(exc):
            raise
        sys.stderr.write(_traced())
        raise Refused("cannot_load", f"{asked['model']} cannot be loaded: {_brief(exc)}") from exc
    seconds = round(time.perf_counter() - began, 3)
    told = {"backend": held.backend, "problem": held.problem, "seconds": seconds, "memory_mb": memory_mb()}
    voice.say("loaded", model=asked["model"], **told)
    return held


def _answer(held: Held, asked: Json, desk: Desk, voice: Voice) -> None:
    id_ = asked["id"]
    if id_ in desk.cancelled:
        raise Cancelled
    tokens = held.prompt(asked)
    limit = held.limit(asked, len(tokens))
    voice.say("began", id=id_, prompt_tokens=len(tokens))
    said, made, finish = Until(asked.get("stop") or []), 0, "length"
    for piece in held.generate(tokens, asked, limit, lambda: id_ in desk.cancelled):
        if id_ in desk.cancelled:
            raise Cancelled
        made += 1
        if text := said.more(piece):
            voice.say("text", id=id_, text=text)
        if said.ended:
            break
    if id_ in desk.cancelled:
        raise Cancelled
    if text := said.rest():
        voice.say("text", id=id_, text=text)
    if said.ended or made < limit:
        finish = "stop"
    counts = {"prompt_tokens": len(tokens), "completion_tokens": made}
    told = {"backend": held.backend, "problem": held.problem, "memory_mb": memory_mb()}
    voice.say("done", id=id_, finish=finish, **counts, **told)


class Until:
    """Lets text through up to the first of some words, and holds back what may be the beginning of one."""

    def __init__(self, words: list[str]) -> None:
        self._words, self._kept, self.ended = [word for word in words if word], "", False

    def more(self, text: str) -> str:
        """Return what of the text so far is certain."""
        self._kept += text
        places = [place for word in self._words if (place := self._kept.find(word)) >= 0]
        if places:
            self.ended = True
            said, self._kept = self._kept[: min(places)], ""
            return said
        held = max((self._begun(word) for word in self._words), default=0)
        said, self._kept = self._kept[: len(self._kept) - held], self._kept[len(self._kept) - held :]
        return said

    def rest(self) -> str:
        """Return what was held back, at the end."""
        said, self._kept = self._kept, ""
        return said

    def _begun(self, word: str) -> int:
        return next((size for size in range(len(word) - 1, 0, -1) if self._kept.endswith(word[:size])), 0)


def out_of_memory(exc: BaseException) -> bool:
    """Whether memory ran out, the machine's or a card's; torch has several names for it."""
    return isinstance(exc, MemoryError) or "OutOfMemory" in type(exc).__name__ or "can't allocate memory" in str(exc)


def memory_mb() -> int:
    """Return the memory this process holds now, in MB; the most it ever held where that cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(most / 1e6 if sys.platform == "darwin" else most / 1e3)


def _brief(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}"


def _traced() -> str:
    return traceback.format_exc()[-_MAX_TRACEBACK:]
