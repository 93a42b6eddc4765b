"""The frozen words of an evaluation: targets, calls, what came back, verdicts, cells, runs.

Everything here is data: the runner fills samples, graders judge them, storage keeps cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from pydantic import JsonValue

from routerconsole.domain.request import Endpoint

from .vote_types import Votes

Json = JsonValue
"""A JSON value, parsed or to be sent; pydantic's, so that a stored cell can be read back."""

LENGTH = "length"
"""The finish reason of an answer that was cut at its token limit."""


class Status(StrEnum):
    """The one word of a cell. Only `pass` and `fail` are graded; everything else is availability, not an answer."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    ERROR = "error"
    RATE_LIMITED = "rate_limited"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"


GRADED = frozenset({Status.PASS, Status.FAIL})
RERUN = frozenset({Status.ERROR, Status.RATE_LIMITED})
"""What a resumed run asks again, besides the cells that are missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one cell ended: `code` is the fail code, error class, capability or reason; texts are redacted, unescaped."""

    status: Status
    code: str = ""
    detail: str = ""
    expected: str = ""
    actual: str = ""

    @property
    def graded(self) -> bool:
        """Whether it counts in k/n."""
        return self.status in GRADED

    def label(self) -> str:
        """Return the word shown, `pass` or `fail(wrong_value)`."""
        return f"{self.status}({self.code})" if self.code else str(self.status)


PASSED = Verdict(Status.PASS)


def failed(code: str, *, expected: str = "", actual: str = "", detail: str = "") -> Verdict:
    """A wrong answer."""
    return Verdict(Status.FAIL, code, detail, expected, actual)


def errored(cls: str, detail: str = "") -> Verdict:
    """No answer to judge: the class of what went wrong."""
    return Verdict(Status.ERROR, cls, detail)


def skipped(reason: str, detail: str = "") -> Verdict:
    """Not run, and why."""
    return Verdict(Status.SKIPPED, reason, detail)


def unsupported(capability: str, detail: str = "") -> Verdict:
    """Not run, or turned away, because the capability is known to be missing."""
    return Verdict(Status.UNSUPPORTED, capability, detail)


class TargetKind(StrEnum):
    """What a column is."""

    MODEL = "model"
    PROFILE = "profile"
    POOL = "pool"
    ROUTER = "router"
    AUTO = "auto"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Target:
    """A column: `id` is as the user wrote it; `name` what goes in the body's `model`; `window` is declared tokens."""

    id: str
    kind: TargetKind
    name: str
    provider: str | None = None
    model: str | None = None
    url: str | None = None
    window: int | None = None
    fingerprint: str | None = None
    keyed: bool = False
    """Whether a `url:` target was asked with a key; the key itself is nowhere."""


def parse_target(text: str) -> Target:
    """Return the column a text names (evals.md §4), or raise ValueError; whether it exists is not known here."""
    head, colon, rest = text.partition(":")
    if text == "auto":
        return Target(text, TargetKind.AUTO, text)
    if colon and head == "url" and rest.startswith(("http://", "https://")):
        return Target(text, TargetKind.URL, "", url=rest)
    if colon and head in ("profile", "pool") and rest:
        return Target(text, TargetKind(head), rest)
    if text.startswith("router/") and len(text) > len("router/"):
        return Target(text, TargetKind.ROUTER, text)
    provider, slash, model = text.partition("/")
    if not (provider and slash and model) or ":" in provider:
        raise ValueError(
            f"{text[:80]!r} is no target (write provider/model, profile:x, pool:x, router/x, auto or url:http://…)"
        )
    return Target(text, TargetKind.MODEL, text, provider, model)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to make next: `label` names it for assertions (`turn-1`, `control`, `needle-50` …).

    `body` has no `model`; the runner adds the column's and sends it as `endpoint`; `stream` says which way.
    """

    label: str
    endpoint: Endpoint
    body: Mapping[str, Json]
    stream: bool = False
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model made; `arguments` is the text it wrote, JSON or not."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a stream looked like: deltas with content, frames with a finish reason, `[DONE]` seen, bytes valid UTF-8."""

    deltas: int = 0
    finishes: int = 0
    done: bool = False
    utf8: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the upstream counted them; None where it did not say."""

    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the request was sent; `ttft_ms` is the first delta with content (streams only)."""

    total_ms: float = 0.0
    ttft_ms: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptFact:
    """One upstream call as the trace tells it: `route` is `provider/model`, `outcome` an OutcomeClass value."""

    route: str
    outcome: str
    status: int | None = None
    took_ms: float | None = None


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """Who was planned first, who served, what was tried, how circuits stood afterwards (by `provider/model`)."""

    request_id: str = ""
    served_by: str | None = None
    first: str | None = None
    attempts: tuple[AttemptFact, ...] = ()
    circuits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class CallError:
    """Why a call gave no answer. `cls` is an OutcomeClass value or `timeout` · `cancelled` · `cap`; `code` the API's.

    `typed` is whether the client got a documented error body (or error event) rather than a broken connection;
    `capability` is the word an upstream said it has not.
    """

    cls: str
    status: int | None = None
    code: str = ""
    message: str = ""
    retry_after_s: float | None = None
    capability: str | None = None
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one call; with `error` set, the other fields hold what had arrived before."""

    label: str
    request: Mapping[str, Json]
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    refusal: str = ""
    stream: StreamFacts | None = None
    timings: Timings = Timings()
    usage: Usage = Usage()
    cost_usd: float | None = None
    trace: TraceFacts = TraceFacts()
    error: CallError | None = None
    data: Json = None
    """The `data` list of an embeddings answer."""
    at: float = 0.0
    """UTC epoch seconds at which it was sent."""
    fingerprint: str = ""
    """The `system_fingerprint` of the answer."""
    frames: tuple[str, ...] = ()
    """What arrived, as it arrived: the first frames and the last ones, each shortened."""
    unkept: int = 0
    """How many frames between those are not kept."""

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut at its token limit."""
        return self.error is None and self.finish_reason == LENGTH


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything graders may look at: the calls of one repeat in order, the variables bound, the votes.

    `window` is the target's context window in tokens as it was planned for.
    """

    scenario_id: str
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    replies: tuple[Reply, ...] = ()
    votes: tuple[Votes, ...] = ()
    window: int | None = None

    def last(self) -> Reply | None:
        """Return the answer that counts where an assertion names none: the last that is no control."""
        return next((reply for reply in reversed(self.replies) if reply.label != "control"), None)


@dataclass(frozen=True, slots=True)
class Check:
    """How one assertion came out: `passed` is None where it could not be told, and `obstacle` says why."""

    type: str
    passed: bool | None
    gate: bool = True
    metric: str = ""
    code: str = ""
    expected: str = ""
    actual: str = ""
    label: str = ""
    obstacle: Verdict | None = None
    value: float | None = None
    """The number measured, for reports (milliseconds, tokens, USD, a score)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict and the checks behind it.

    `capable` is what the repeat says of the scenario's capability: only gates without a metric count, so that a wrong
    value in a tool call is a failure and the call still a call. None: it says nothing, or there is no capability.
    """

    verdict: Verdict
    checks: tuple[Check, ...] = ()
    capable: bool | None = None


@dataclass(frozen=True, slots=True)
class CellKey:
    """The place of a cell: one repeat (from 0) of one scenario on one target."""

    scenario_id: str
    target_id: str
    repeat: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One finished repeat. `at` is UTC epoch seconds; `sample` is None where nothing was sent or it is not loaded."""

    key: CellKey
    verdict: Verdict
    scenario_hash: str
    at: float = 0.0
    checks: tuple[Check, ...] = ()
    capable: bool | None = None
    sample: Sample | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    malformed_json: bool = False
    tool_calls: int = 0
    cached: str | None = None
    """The run whose answer this is; nothing was asked anew."""


class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ScenarioRef:
    """A scenario as a run knew it: results are comparable only under the same hash."""

    id: str
    hash: str
    title: str = ""
    capability: str | None = None
    kind: str = "chat"
    asks: str = ""
    """The hash of what is asked alone; answers may be graded again while it stays."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of a run; None is no limit. Seconds, tokens, USD."""

    wall_s: float | None = None
    tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run and its plan; times are UTC epoch seconds. The id is `meval_` and 12 hex digits."""

    id: str
    started_at: float
    seed: int
    repeats: int | None
    scenarios: tuple[ScenarioRef, ...]
    targets: tuple[Target, ...]
    caps: Caps = Caps()
    state: RunState = RunState.RUNNING
    completed_at: float | None = None
    actor: str = ""
    timeout_s: float | None = None
    """The longest a call may take; None is what each scenario says."""
    connections: int | None = None
    """Cells asked at once; None is as few as all runs together may."""
    cache: bool = False
