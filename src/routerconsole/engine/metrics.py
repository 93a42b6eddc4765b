"""What monitoring counts since the start: requests, attempts, tokens, times and cost, in bounded sets of series.

Fed once a request, when it is over. Model names come from listings: after MOST_SERIES of them the others share one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.request import Endpoint

if TYPE_CHECKING:
    from routerconsole.domain.trace import Attempt, Trace

MOST_SERIES: Final = 1_000
OTHERS: Final = "(others)"
SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds of `gen_ai.client.operation.duration` as the GenAI conventions advise."""
FIRST_TOKEN: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
OVERHEAD: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)
OPERATION: Final = {
    Endpoint.CHAT: "chat",
    Endpoint.COMPLETIONS: "text_completion",
    Endpoint.EMBEDDINGS: "embeddings",
}


class Histogram:
    """Counts of values by upper bound (inclusive), one more for what is above all, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Series(NamedTuple):
    """Which model of which provider did what kind of work (`chat`, `text_completion`, `embeddings`)."""

    operation: str
    provider: str
    model: str


@dataclass(slots=True)
class Observed:
    """The attempts of one series; `durations` by outcome class, "" for those that served."""

    durations: dict[str, Histogram] = field(default_factory=dict)
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN))
    per_token: Histogram = field(default_factory=lambda: Histogram(PER_TOKEN))
    tokens_in: Histogram = field(default_factory=lambda: Histogram(TOKENS))
    tokens_out: Histogram = field(default_factory=lambda: Histogram(TOKENS))
    cost_usd: float = 0.0
    priced: int = 0
    unpriced: int = 0


class Metrics:
    """The counters of one engine."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()  # (origin, status)
        self.durations: dict[str, Histogram] = {}  # of requests, by status
        self.overhead = Histogram(OVERHEAD)
        self.failovers = 0
        self.series: dict[Series, Observed] = {}

    def note(self, trace: Trace) -> None:
        """Count a request that is over."""
        status = trace.status.value
        self.requests[trace.origin.value, status] += 1
        self.failovers += trace.failed_over
        durations = self.durations.get(status)
        if durations is None:
            durations = self.durations[status] = Histogram(SECONDS)
        durations.observe((trace.total_ms or 0.0) / 1000)
        if trace.router_ms is not None:
            self.overhead.observe(trace.router_ms / 1000)
        for attempt in trace.attempts:
            self._attempt(trace.endpoint, attempt)

    def _attempt(self, endpoint: Endpoint, attempt: Attempt) -> None:
        found = self._of(Series(OPERATION[endpoint], attempt.route.provider, attempt.route.model))
        cls = attempt.cls or OutcomeClass.IGNORED
        error = "" if cls is OutcomeClass.OK else cls.value
        durations = found.durations.get(error)
        if durations is None:
            durations = found.durations[error] = Histogram(SECONDS)
        ended = attempt.started_ms if attempt.ended_ms is None else attempt.ended_ms
        durations.observe(max(0.0, ended - attempt.started_ms) / 1000)
        prompt, completion = attempt.prompt_tokens, attempt.completion_tokens
        if prompt is not None:
            found.tokens_in.observe(prompt)
        if completion is not None:
            found.tokens_out.observe(completion)
        if attempt.first_token_ms is not None:
            found.first_token.observe(max(0.0, attempt.first_token_ms - attempt.started_ms) / 1000)
            if completion is not None and completion > 1:
                found.per_token.observe(max(0.0, ended - attempt.first_token_ms) / 1000 / (completion - 1))
        if attempt.cost_usd is not None:
            found.cost_usd += attempt.cost_usd
            found.priced += 1
        elif not error:
            found.unpriced += 1

    def _of(self, key: Series) -> Observed:
        found = self.series.get(key)
        if found is None:
            if len(self.series) >= MOST_SERIES:
                key = Series(key.operation, OTHERS, OTHERS)
            found = self.series.setdefault(key, Observed())
        return found
