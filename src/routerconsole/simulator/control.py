"""The simulator's own control face under `/__sim/`: read the books, change a model, start anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import unquote

import orjson

from routerconsole.simulator.bodies import JSON
from routerconsole.simulator.http import Request, Step, head
from routerconsole.simulator.script import ScriptError, behaviour_of

if TYPE_CHECKING:
    from routerconsole.simulator.simulator import Simulator

_MODELS = "/__sim/models/"
_ROWS = 200  # of each book, newest last


def control_reply(simulator: Simulator, request: Request) -> Iterator[Step]:
    """The steps that answer a control request."""
    status, document = _answered(simulator, request)
    body = orjson.dumps(document)
    yield head(status, [("content-type", JSON), ("content-length", str(len(body)))]) + body


def _answered(simulator: Simulator, request: Request) -> tuple[int, object]:
    """The status and document for a control request."""
    match request.method, request.path:
        case "GET", "/__sim/stats":
            stats = {"total": simulator.total, "counts": simulator.counts(), "elapsed_s": simulator.elapsed}
            stats["tokens"] = {name: simulator.tokens(name)._asdict() for name in simulator.counts()}
            return 200, {**stats, "closes": simulator.closed_total, "connections": simulator.open_connections}
        case "GET", "/__sim/received":
            rows = [asdict(row) for row in list(simulator.received)[-_ROWS:]]
            for row in rows:
                row["body"] = row["body"].decode("utf-8", "replace")
            return 200, {"received": rows}
        case "GET", "/__sim/closes":
            return 200, {"closes": [asdict(row) for row in list(simulator.closes)[-_ROWS:]]}
        case "POST", "/__sim/reset":
            simulator.reset()
            return 200, {"ok": True}
        case "PUT", path if path.startswith(_MODELS):
            return _set(simulator, unquote(path[len(_MODELS) :]), request.body)
        case "DELETE", path if path.startswith(_MODELS):
            simulator.remove(unquote(path[len(_MODELS) :]))
            return 200, {"ok": True}
    return 404, {"error": "no such control path"}


def _set(simulator: Simulator, model: str, body: bytes) -> tuple[int, object]:
    """Change one model to the behaviour in the body."""
    try:
        simulator.set(model, behaviour_of(orjson.loads(body or b"{}")))
    except (orjson.JSONDecodeError, ScriptError) as error:
        return 400, {"error": str(error)}
    return 200, {"ok": True, "model": model}
