"""What one simulated model does: the frozen vocabulary of timings, answers, refusals and wire faults.

Pure data and pure choices; the composing modules turn it into bytes. It refuses to know sockets, clocks and dialects.
Positions in a stream (`cut_after`, `stall_after`, `error_after`) count content events: None never, -1 before any
event at all, 0 after the role frame and the preamble, n after n content, reasoning or tool-call deltas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp, log
from random import Random
from types import MappingProxyType
from typing import Literal


class Spread(StrEnum):
    """The shape of a delay's distribution."""

    FIXED = "fixed"
    UNIFORM = "uniform"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True)
class Delay:
    """A delay in seconds: fixed `a`, uniform `a`…`b`, or lognormal with median `a` and sigma `b`."""

    a: float
    b: float = 0.0
    spread: Spread = Spread.FIXED

    def sample(self, rng: Random) -> float:
        """Draw one delay in seconds, never negative."""
        if self.spread is Spread.UNIFORM:
            return max(0.0, rng.uniform(self.a, self.b))
        if self.spread is Spread.LOGNORMAL and self.a > 0:
            return exp(rng.normalvariate(log(self.a), self.b))
        return max(0.0, self.a)


def uniform(low: float, high: float) -> Delay:
    """A delay drawn evenly between two bounds, in seconds."""
    return Delay(low, high, Spread.UNIFORM)


def lognormal(median: float, sigma: float = 0.4) -> Delay:
    """A delay with a long tail: its median in seconds and its sigma."""
    return Delay(median, sigma, Spread.LOGNORMAL)


def sample(delay: Delay | float, rng: Random) -> float:
    """Draw from a delay, or take a plain number of seconds as it is."""
    return delay.sample(rng) if isinstance(delay, Delay) else max(0.0, delay)


class Wire(StrEnum):
    """What goes wrong below the body of the reply."""

    NONE = "none"
    HANG = "hang"  # the request is read, nothing is ever sent
    RESET = "reset"  # RST before any byte
    CLOSE = "close"  # FIN before any byte
    STALE = "stale"  # a reused connection is closed when the next request arrives; a new one is served
    STALE_RESET = "stale_reset"  # the same with RST
    NOT_HTTP = "not_http"
    BAD_STATUS = "bad_status"  # a status line that is no status line
    MID_HEADERS = "mid_headers"  # closes in the middle of a header
    HEADERS_HANG = "headers_hang"  # half of the head, then silence
    BODY_HANG = "body_hang"  # the head and no body, then silence
    LONG_LENGTH = "long_length"  # content-length says more than is sent, then FIN
    SHORT_LENGTH = "short_length"  # content-length says less than is sent
    DOUBLE_LENGTH = "double_length"  # content-length twice, with the same value
    CONFLICTING_LENGTH = "conflicting_length"  # content-length twice, with different values
    TRUNCATED_CHUNKS = "truncated_chunks"  # a chunked body without its last chunk, then FIN
    BAD_CHUNK = "bad_chunk"  # a chunk size that is no number
    EXTRA_BYTES = "extra_bytes"  # a second, unasked response behind the first
    HUGE_HEADER = "huge_header"  # one header line of 64 KiB
    LONG_HEADER = "long_header"  # one header line of 10 KB
    MANY_HEADERS = "many_headers"  # 1,000 headers
    INJECTION = "injection"  # bare CR, bare LF and ESC inside header values
    COOKIES = "cookies"  # Set-Cookie, Location, CSP and other headers nobody may pass on
    EARLY_HINTS = "early_hints"  # 103 before the reply
    CONTINUE = "continue"  # an unasked 100 before the reply
    NO_CONTENT = "no_content"  # 204
    PARTIAL = "partial"  # 206 with half of the body
    GZIP_LIE = "gzip_lie"  # content-encoding: gzip on a body that is not


class Answering(StrEnum):
    """The body of a 200: the model's answer, or one of the bodies that only look like success."""

    NORMAL = "normal"
    EMPTY = "empty"  # no bytes at all
    OBJECT = "object"  # {}
    NULL = "null"
    LIST = "list"  # []
    NO_CHOICES = "no_choices"  # choices: []
    NULL_CHOICES = "null_choices"
    ERROR = "error"  # 200 whose body is the error named by `error`
    HTML = "html"
    PROSE = "prose"  # text/plain
    BLANK = "blank"  # an answer whose content is ""
    SPACES = "spaces"  # an answer whose content is only white space
    NUMBER = "number"  # content is a number
    PARTS = "parts"  # content is a list of parts
    MISSING = "missing"  # no content key
    TRUNCATED = "truncated"  # JSON cut in the middle, with the right content-length
    BAD_UTF8 = "bad_utf8"
    NAN = "nan"
    BIG_NUMBER = "big_number"  # a number with 1,000,000 digits
    DEEP = "deep"  # JSON 100,000 levels deep
    HUGE = "huge"  # `huge_bytes` of valid JSON


class Cut(StrEnum):
    """How a stream that is cut ends."""

    CLEAN = "clean"  # the last chunk is sent: a clean EOF without finish
    FIN = "fin"  # closed without the last chunk
    RESET = "reset"
    MID_CHUNK = "mid_chunk"  # closed inside a chunk


ToolStyle = Literal["obey", "ignore", "wrong_name", "bad_arguments", "cut_arguments", "always"]
JsonStyle = Literal["obey", "prose", "fenced", "truncated", "wrong_schema"]
IndexStyle = Literal["dense", "zero", "missing", "from_one", "jumps"]
IdStyle = Literal["unique", "empty", "repeat", "missing"]
GarbleStyle = Literal["json", "utf8", "nul", "long", "endless"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A behaviour that replaces the usual one from `start` to `end` seconds, folded by `every` if given."""

    start: float
    end: float
    behaviour: Behaviour
    every: float | None = None

    def holds(self, elapsed: float) -> bool:
        """Whether this phase is on, so many seconds after the simulator's start."""
        return in_window(elapsed, start=self.start, end=self.end, every=self.every)


def in_window(elapsed: float, *, start: float, end: float, every: float | None) -> bool:
    """Whether a moment lies in a window, folded by its period if it has one."""
    moment = elapsed % every if every else elapsed
    return start <= moment < end


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """All that can be said about one model; the default is a healthy one that obeys its request."""

    # time
    latency: Delay | float = 0.0  # before the first byte of any reply
    ttft: Delay | float = 0.0  # streams: between the role frame and the first content
    tokens_per_second: float | None = None  # None: as fast as possible (whole replies are not paced)
    # the answer
    text: str | None = None  # None: words made from the seed, the model and the prompt
    tokens: int = 16
    reasoning: int = 0  # reasoning deltas before the text
    finish_reason: str | None = None  # None: stop, tool_calls or length, as it is
    usage: Literal["asked", "always", "never"] = "asked"
    served_as: str | None = None  # the model id in the answer
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))  # more top-level fields
    answer: Answering = Answering.NORMAL
    huge_bytes: int = 500_000_000
    dimensions: int = 8  # of an embedding
    # capabilities
    tools: ToolStyle = "obey"
    tool_calls: int = 1
    tool_index: IndexStyle = "dense"
    tool_ids: IdStyle = "unique"
    arguments_first: bool = False  # streams: the name comes after the arguments
    json: JsonStyle = "obey"
    refuse: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # capability word → body name
    context_window: int | None = None  # a longer prompt (chars / 4) is refused with `context_error`
    context_error: str = "openai_context"
    max_body_bytes: int | None = None  # a longer request is a 413
    capabilities: tuple[str, ...] = ("text", "tools", "json", "json_schema")  # told in listings
    # errors
    statuses: tuple[int | str, ...] = ()  # a status or a body name per request; 200 answers
    repeat: Literal["last", "cycle"] = "last"
    error: str | None = None  # body name for the errors above, for in-band errors and for Answering.ERROR
    retry_after: str | float | tuple[str | float, ...] | None = None  # see hints.py
    headers: tuple[tuple[str, str], ...] = ()
    date_skew: float = 0.0  # seconds added to the Date header
    # streams
    framing: Literal["asked", "whole", "stream"] = "asked"
    content_type: str | None = None
    done: bool = True  # [DONE] (or the dialect's last event)
    uneven: bool = False  # n > 1: the choices but the first end half-way
    finish: bool = True  # the event with the finish reason
    role: bool = True
    preamble: tuple[Literal["usage", "comment", "ping", "empty"], ...] = ()  # after the role frame, before content
    newline: Literal["lf", "crlf", "cr"] = "lf"
    space: bool = True  # `data: x`, or `data:x`
    bom: bool = False
    last_blank: bool = True  # the blank line after the last event
    multi_line: bool = False  # each event's JSON over several data lines
    heartbeat_s: float | None = None  # comments this often while waiting
    cut_after: int | None = None
    cut: Cut = Cut.FIN
    stall_after: int | None = None
    stall_s: float | None = None  # None: for ever
    error_after: int | None = None
    garble: int | None = None  # the event with this number, from 0, is broken
    garble_as: GarbleStyle = "json"
    garble_bytes: int = 2_000_000
    # wire
    wire: Wire = Wire.NONE
    slice_bytes: int | None = None  # the reply goes out in pieces of this size
    slice_delay: float = 0.001
    # time table: the first phase that holds replaces all of the above
    schedule: tuple[Phase, ...] = ()

    def at(self, elapsed: float) -> Behaviour:
        """The behaviour in force so many seconds after the simulator's start."""
        for phase in self.schedule:
            if phase.holds(elapsed):
                return phase.behaviour
        return self

    def status(self, n: int) -> int | str:
        """The status, or the name of the body, for the n-th request (from 1)."""
        if not self.statuses:
            return 200
        if self.repeat == "cycle":
            return self.statuses[(n - 1) % len(self.statuses)]
        return self.statuses[min(n, len(self.statuses)) - 1]

    def but(self, phase: Phase, *more: Phase) -> Behaviour:
        """The same behaviour with a time table."""
        return replace(self, schedule=(phase, *more))


def flapping(good: Behaviour, bad: Behaviour, *, up: float, down: float) -> Behaviour:
    """A behaviour that is `good` for `up` seconds and `bad` for `down`, over and over."""
    return good.but(Phase(start=up, end=up + down, every=up + down, behaviour=bad))
