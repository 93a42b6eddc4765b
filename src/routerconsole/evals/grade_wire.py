"""Graders of how an answer came: stream, times, tokens, cost, who served it, typed errors, embeddings."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Sequence

from .assertions import (
    Assertion,
    Attempts,
    Circuit,
    Cost,
    Embedding,
    Errors,
    Rate,
    ServedBy,
    StreamIntegrity,
    Times,
    Tokens,
)
from .finding import Facts, Finding, answer, untold, wrong_class
from .statistics import percentile
from .text import MOST
from .types import Json, Reply, Sample

_TWICE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2(?:[\u0080-\u00bf]|\u20ac|\u0153)")
"""UTF-8 read as Latin-1 or Windows-1252 and encoded again: `höher ✓` as `hÃ¶her âœ“`."""
_SAME_VECTOR = 0.9999
_OTHER_VECTOR = 0.99999
_FLOAT32 = 2e-3
"""Servers compute a vector anew for each request; in half precision its two forms differ by about 1e-3."""
_LARGEST = 1e30
"""No embedding is so long; beyond it sums of squares overflow."""


def grade_wire(kind: str, said: Assertion, reply: Reply, facts: Facts) -> Finding | None:
    """Return how an assertion on one answer's way here came out, None for one of another family."""
    trace = reply.trace
    if isinstance(said, StreamIntegrity):
        return _stream(said, reply)
    if isinstance(said, Errors):
        return _error(said, reply)
    if isinstance(said, ServedBy | Attempts) and not trace.request_id:
        return untold("trace_missing", "no router of ours in between")
    if isinstance(said, ServedBy):
        wanted = (facts.first_route or "") if said.value == "first" else facts.text(said.value)
        if trace.served_by is None:
            return Finding(False, wanted, answer(reply))
        return Finding(trace.served_by == wanted or trace.served_by.startswith(f"{wanted}/"), wanted, trace.served_by)
    if kind == "served_by_not_first":
        if facts.first_route is None:
            return untold("trace_missing")
        other = trace.served_by is not None and trace.served_by != facts.first_route
        return Finding(other, f"not {facts.first_route}", trace.served_by or answer(reply))
    if isinstance(said, Attempts):
        n = len(trace.attempts)
        passed = (said.min is None or n >= said.min) and (said.max is None or n <= said.max)
        return Finding(passed, _bounds(said.min, said.max, "attempts"), str(n), value=float(n))
    if isinstance(said, Circuit):
        route = facts.first_route if said.route == "first" else facts.text(said.route)
        states = [state for name, state in trace.circuits.items() if route and f"{name}/".startswith(f"{route}/")]
        if not states:
            return untold("trace_missing", f"no circuit of {route}")
        return Finding(all(state == said.state for state in states), said.state, ", ".join(states))
    return None


def _bounds(low: float | None, high: float | None, unit: str) -> str:
    parts = [f">= {low:g}" if low is not None else "", f"<= {high:g}" if high is not None else ""]
    return f"{' and '.join(part for part in parts if part) or 'any'} {unit}"


def _stream(said: StreamIntegrity, reply: Reply) -> Finding:
    """1. it is a stream · 2. deltas · 3. one finish · 4. `[DONE]` · 5. UTF-8 · 6. first token before the end."""
    facts, times = reply.stream, reply.timings
    wanted = f">= {said.min_deltas} deltas, one finish, [DONE], UTF-8, TTFT < total"
    if facts is None:  # 1
        return Finding(False, wanted, "not a stream")
    wrong: list[str] = []
    if facts.deltas < said.min_deltas:  # 2
        wrong.append(f"{facts.deltas} deltas")
    if facts.finishes != 1:  # 3
        wrong.append(f"{facts.finishes} finishes")
    if not facts.done:  # 4
        wrong.append("no [DONE]")
    if not facts.utf8 or "\ufffd" in reply.text or _TWICE.search(reply.text[:MOST]):  # 5
        wrong.append("broken UTF-8")
    if times.ttft_ms is None or times.ttft_ms >= times.total_ms:  # 6
        wrong.append("no time between the first token and the end")
    return Finding(not wrong, wanted, "; ".join(wrong) or f"{facts.deltas} deltas")


def _error(said: Errors, reply: Reply) -> Finding:
    wanted = "a typed error" + (f" ({', '.join(said.classes)})" if said.classes else "")
    error = reply.error
    if error is None:
        return Finding(False, wanted, answer(reply))
    named = {error.cls, error.code}
    return Finding(error.typed and (not said.classes or bool(named & set(said.classes))), wanted, answer(reply))


def measured(kind: str, said: Assertion, replies: Sequence[Reply], facts: Facts) -> Finding | None:
    """Return how an assertion over all measured calls came out, None for one that looks at single answers."""
    served = [reply for reply in replies if reply.error is None]
    if isinstance(said, Times):
        return _times(kind, said, served)
    if isinstance(said, Rate):
        rates = [rate for reply in served if (rate := tokens_per_second(reply)) is not None]
        if not rates:
            return untold("tokens_unknown", "no usage, or no time between the first token and the end")
        middle = percentile(rates, 50)
        low = said.min
        return Finding(
            low is None or middle >= low, _bounds(low, None, "tokens/s"), f"p50 {middle:.1f} tokens/s", value=middle
        )
    if isinstance(said, Tokens):
        counts = [_tokens(said.of, reply) for reply in served]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or not counts:
            return wrong_class("usage_unknown", "the upstream reported no usage")
        total = float(sum(known))
        passed = (said.min is None or total >= said.min) and (said.max is None or total <= said.max)
        return Finding(passed, _bounds(said.min, said.max, "tokens"), f"{total:.0f}", value=total)
    if isinstance(said, Cost):
        costs = [reply.cost_usd for reply in facts.sample.replies if reply.error is None]
        priced = [cost for cost in costs if cost is not None and math.isfinite(cost)]
        if len(priced) < len(costs) or not costs:
            return wrong_class(
                "cost_unknown", "no price is known for this model (set prices; an unknown cost is not 0)"
            )
        spent = math.fsum(priced)
        return Finding(spent <= said.max, f"<= {said.max:g} USD", f"{spent:.6f} USD", value=spent)
    return _vectors(said, facts.sample) if isinstance(said, Embedding) else None


def tokens_per_second(reply: Reply) -> float | None:
    """Return the rate after the first token; a whole reply counts from the start. None where it is not known."""
    tokens, times = reply.usage.completion, reply.timings
    if tokens is None:
        return None
    first = times.ttft_ms
    seconds = (times.total_ms - (first or 0.0)) / 1000
    counted = tokens - 1 if first is not None else tokens
    return counted / seconds if seconds > 0 and counted > 0 else None


def _tokens(of: str, reply: Reply) -> int | None:
    prompt, completion = reply.usage.prompt, reply.usage.completion
    if of == "prompt":
        return prompt
    if of == "completion":
        return completion
    return None if prompt is None or completion is None else prompt + completion


def added_latency(reply: Reply) -> float | None:
    """Return the milliseconds that failing over cost: the whole time without the attempt that served."""
    served = reply.trace.attempts[-1].took_ms if reply.trace.attempts else None
    return None if served is None else max(0.0, reply.timings.total_ms - served)


_TIMES: dict[str, Callable[[Reply], float | None]] = {
    "ttft_ms": lambda reply: reply.timings.ttft_ms,
    "latency_ms": lambda reply: reply.timings.total_ms,
    "added_latency_ms": added_latency,
}


def _times(kind: str, said: Times, replies: Sequence[Reply]) -> Finding:
    found = [value for reply in replies if (value := _TIMES[kind](reply)) is not None]
    if not found:
        return untold("not_measured", f"no {kind}")
    numbers = {"p50": percentile(found, 50), "p95": percentile(found, 95), "max": max(found)}
    limits = {"p50": said.p50, "p95": said.p95, "max": said.max}
    passed = all(limit is None or numbers[name] <= limit for name, limit in limits.items())
    wanted = ", ".join(f"{name} <= {limit:g}" for name, limit in limits.items() if limit is not None)
    got = f"p50 {numbers['p50']:.0f}, p95 {numbers['p95']:.0f} ms (n {len(found)})"
    return Finding(passed, wanted or "measured", got, value=numbers["p95" if said.p95 is not None else "p50"])


# ---- embeddings


def _vectors(said: Embedding, sample: Sample) -> Finding:
    """1. two vectors · 2. one dimension · 3. same text, cosine 1 · 4. other text, other vector · 5. base64 the same."""
    wanted = "one dimension, self-cosine 1, another text another vector, float == base64"
    found = {reply.label: vectors_of(reply.data) for reply in sample.replies}
    first, again, coded = (found.get(label) for label in ("float", "again", "base64"))
    if first is None or again is None or coded is None:  # 1
        return Finding(False, wanted, "no list of two vectors")
    sizes = {len(vector) for vectors in (first, again, coded) for vector in vectors}
    if len(sizes) != 1 or 0 in sizes or (said.dimensions is not None and sizes != {said.dimensions}):  # 2
        return Finding(False, str(said.dimensions or wanted), f"dimensions {', '.join(map(str, sorted(sizes)))}")
    own = min(cosine(one, two) for one, two in zip(first, again, strict=True))
    if not own >= _SAME_VECTOR:  # 3
        return Finding(False, "self-cosine 1", f"{own:.4f}", value=own)
    if cosine(first[0], first[1]) > _OTHER_VECTOR:  # 4
        return Finding(False, "another text another vector", "the same vector for two texts")
    for plain, other in zip(first, coded, strict=True):  # 5
        worst = _apart(plain, other)
        if worst > _FLOAT32:
            return Finding(False, "float == base64", f"differ by {worst:.2g} of their length")
    return Finding(True, wanted, f"dimension {len(first[0])}", value=float(len(first[0])))


def _apart(a: Sequence[float], b: Sequence[float]) -> float:
    """Return how far two vectors are from each other, as a share of the first one's length."""
    length = math.sqrt(math.fsum(x * x for x in a))
    between = math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
    return between / length if length > 0 else math.inf


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of two vectors of one length, 0 for a vector of nothing."""
    length = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / length if length > 0 else 0.0


def vectors_of(data: Json) -> tuple[tuple[float, ...], ...] | None:
    """Return the two vectors of an answer's `data`, from lists of numbers or base64 float32; None for anything else."""
    if not isinstance(data, list) or len(data) != 2:
        return None
    found: list[tuple[float, ...]] = []
    for item in data:
        vector = _vector(item.get("embedding") if isinstance(item, dict) else None)
        if vector is None:
            return None
        found.append(vector)
    return tuple(found)


def _vector(value: Json) -> tuple[float, ...] | None:
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) % 4:
            return None
        numbers: list[float] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    elif isinstance(value, list):
        numbers = [float(x) for x in value if isinstance(x, int | float) and not isinstance(x, bool)]
        if len(numbers) != len(value):
            return None
    else:
        return None
    return tuple(numbers) if all(abs(x) < _LARGEST for x in numbers) else None
