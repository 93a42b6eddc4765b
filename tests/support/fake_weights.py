"""A weights worker without weights: the real loop, and a model that does what its prompt says. Run by tests only."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from routerconsole.providers.weights_worker import Json, Refused, serve


class Fake:
    """Says its own name, word by word."""

    problem = ""

    def __init__(self, model: str) -> None:
        self.backend, self._model = "airllm", model

    def prompt(self, asked: Json) -> list[int]:
        """One token a word."""
        text = asked.get("prompt") or asked["messages"][-1]["content"]
        if "refuse" in text:
            raise Refused("invalid_request", "the model's template refuses these messages: roles must alternate")
        return list(range(len(text.split())))

    def limit(self, asked: Json, tokens: int) -> int:
        """Refuse long prompts."""
        if tokens > 100:
            raise Refused("context_length_exceeded", "This model's maximum context length is 100 tokens.")
        return int(asked.get("max_tokens", 4))

    def generate(self, tokens: list[int], asked: Json, limit: int, stop: Callable[[], bool]) -> Iterator[str]:
        """Do as told: `die`, `fail`, `breaks` (after a word), `slow` (a word each 10 ms), `deaf` (looks up no more)."""
        told = asked.get("prompt") or asked["messages"][-1]["content"]
        if "die" in told:
            os.kill(os.getpid(), signal.SIGKILL)
        if "fail" in told:
            raise RuntimeError("CUDA error: no kernel image\nis available")
        if "memory" in told:
            raise MemoryError
        print("a library that prints")  # must not reach the engine
        for number in range(limit):
            yield f"{self._model}{number} "
            if "breaks" in told:
                raise RuntimeError("device-side assert triggered")
            if "deaf" in told:
                threading.Event().wait()
            if "slow" in told:
                threading.Event().wait(0.01)
            if stop():
                return


def load(asked: Json) -> Fake:
    """Load: not from a folder called broken, and from one with a file `wait` in it only when that is gone."""
    folder = Path(asked["path"])
    if folder.name == "broken":
        raise ValueError("not a checkpoint")
    while (folder / "wait").exists():
        threading.Event().wait(0.005)
    return Fake(asked["model"])


if __name__ == "__main__":
    if "stillborn" in sys.argv:
        sys.exit("no such library")
    if "babble" in sys.argv:
        print("hello", flush=True)
        threading.Event().wait()
    serve(load)
