"""Load by wrk on the last core: as fast as it goes, or paced; its report becomes one frozen sample."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from tests.acceptance.live import Json

LOAD_CORE = 1  # the server under test has core 0 for itself
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_TURNS = [("system", "You are a helpful assistant."), ("user", "Say hello in about thirty tokens, for a benchmark.")]
BODY: Json = {"messages": [{"role": role, "content": text} for role, text in _TURNS], "temperature": 0.2}


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked: a chat-completions URL, headers, and the models that answer whole and stream."""

    url: str
    headers: Mapping[str, str]
    model: str = "bench-model"
    stream_model: str = "bench-stream"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run's outcome: requests per second, latency in ms, how many requests, and how many of them failed."""

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    failed: int


def load(
    target: Target, *, connections: int, seconds: float, stream: bool = False, pace: float | None = None
) -> Sample:
    """Drive a target with so many connections; `pace` is the wished requests per second over all of them."""
    body = BODY | ({"model": target.stream_model, "stream": True} if stream else {"model": target.model})
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_lua(body, target.headers, None if pace is None else 1000 * connections / pace))
        script.flush()
        shape = ["-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency"]
        command = ["taskset", "-c", str(LOAD_CORE), "wrk", *shape, "-s", script.name, target.url]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _sample(out)


def _lua(body: Json, headers: Mapping[str, str], period_ms: float | None) -> str:
    """The wrk script; paced, each connection rests for about `period_ms` between its requests."""
    lines = ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    lines.append(f"wrk.body = [==[{json.dumps(body)}]==]")
    if period_ms is not None:
        low, high = round(period_ms * 0.5), round(period_ms * 1.5)
        lines.append(f"function delay() return math.random({low}, {high}) end")
    return "\n".join(lines) + "\n"


def _sample(out: str) -> Sample:
    """Read wrk's report; raises ValueError when it has no rate."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    done = re.search(r"(\d+) requests in", out)
    if rate is None or done is None:
        raise ValueError(out)
    shares = {p: float(value) * _MS[unit] for p, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)\s", out)}
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
    failed = (int(bad[1]) if bad else 0) + broken
    return Sample(float(rate[1]), shares.get("50", 0.0), shares.get("99", 0.0), int(done[1]), failed)
