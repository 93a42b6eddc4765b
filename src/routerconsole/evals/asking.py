"""One call of a scenario through the router, and what came back as graders read it: the Chat port is all it knows."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import orjson

from routerconsole.domain.errors import ErrorCode, RouterError, RoutingFailed
from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.request import ChatRequest, Endpoint, Hints, Origin

from .types import (
    AttemptFact,
    Call,
    CallError,
    Reply,
    StreamFacts,
    Target,
    TargetKind,
    Timings,
    ToolCall,
    TraceFacts,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.control.port import Chat
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Trace

GRACE_S: Final = 5.0
"""How much longer than its own deadline a call may take before it is given up from outside."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""An answer longer than this is given up as a flood (faults.md E05); no scenario asks for so much."""
FIRST_FRAMES: Final = 4
LAST_FRAMES: Final = 2
FRAME: Final = 300
WHOLE: Final = 1000
"""What is kept of an answer as it arrived: so many frames of so many characters (of one that came whole, more)."""
_DONE: Final = b"[DONE]"
_OF_CODE: Final = {
    ErrorCode.CAPABILITY_UNAVAILABLE: OutcomeClass.CAPABILITY,
    ErrorCode.CAPABILITY_NOT_DELIVERED: OutcomeClass.UNDELIVERED,
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: OutcomeClass.CONTEXT,
    ErrorCode.CONTENT_POLICY: OutcomeClass.POLICY,
}


async def ask(
    chat: Chat, target: Target, call: Call, *, limit_s: float | None = None, origin: Origin = Origin.EVAL
) -> Reply:
    """Make one call on a target and return what came back; it never raises but when cancelled.

    A model's column is pinned: nobody else may answer for it. `limit_s` shortens the call's own timeout (seconds).
    Any other origin than an evaluation's moves circuits.
    """
    timeout = call.timeout_s if limit_s is None else max(0.001, min(call.timeout_s, limit_s))
    body = {**call.body, "model": target.name}
    request = ChatRequest(
        id=chat.new_id(),
        endpoint=call.endpoint,
        body=body,
        size=len(orjson.dumps(body)),
        model=target.name,
        stream=call.stream,
        hints=Hints(timeout=timeout, no_fallback=target.kind is TargetKind.MODEL),
        origin=origin,
    )
    seen = _Seen(stream=call.stream)
    trace: Trace | None = None
    error: CallError | None = None
    try:
        async with asyncio.timeout(timeout + GRACE_S):
            exchange = await chat.open(request)
            trace = exchange.trace
            try:
                async for batch in exchange.deltas():
                    for payload in batch:
                        seen.take(payload)
                    if seen.flooded:
                        error = CallError("flood", message=f"more than {MOST_BYTES} bytes of answer", typed=False)
                        break
            finally:
                exchange.close()
    except RouterError as exc:
        trace = getattr(exc, "trace", None) or trace
        error = error_of(exc, trace)
    except TimeoutError:
        error = CallError("timeout", message=f"no end after {timeout:g} s", typed=False)
    return seen.reply(call, trace, error)


def read_back(payloads: Iterable[bytes], *, stream: bool) -> Reply:
    """Return an answer that was already given, whole or event by event, as graders read it."""
    seen = _Seen(stream=stream)
    for payload in payloads:
        seen.take(payload)
    return seen.reply(Call("kept", Endpoint.CHAT, {}, stream=stream), None, None)


def error_of(exc: RouterError, trace: Trace | None) -> CallError:
    """Return what a refusal or failure means for a cell: the last attempt's class, else the code's."""
    last = trace.attempts[-1].cls if trace is not None and trace.attempts else None
    cls: str = _OF_CODE.get(exc.code, last if last not in (None, OutcomeClass.OK) else exc.code)
    if exc.code is ErrorCode.DEADLINE_EXCEEDED:
        cls = "timeout"
    words = () if trace is None else (*trace.forced, *trace.needed)
    return CallError(
        cls=str(cls),
        status=exc.status,
        code=exc.code.value,
        message=exc.message,
        retry_after_s=exc.retry_after if isinstance(exc, RoutingFailed) else None,
        capability=str(words[0]) if cls == OutcomeClass.CAPABILITY and words else None,
    )


class _Seen:
    """What has arrived of one answer, whole or in deltas."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._finish: str | None = None
        self._usage: dict[str, Any] = {}
        self._data: Any = None
        self._fingerprint = ""
        self._deltas = self._finishes = 0
        self._done, self._utf8 = False, True
        self._first: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=LAST_FRAMES)
        self._frames = self._bytes = 0

    @property
    def flooded(self) -> bool:
        """Whether more came than any answer may be; nothing of it is kept but the first frames."""
        return self._bytes > MOST_BYTES

    def take(self, payload: bytes) -> None:
        """Take a whole answer, or one event of a stream."""
        self._frames += 1
        self._bytes += len(payload)
        (self._first if len(self._first) < FIRST_FRAMES else self._last).append(payload)
        if self.flooded:
            self._text, self._reasoning, self._refusal, self._data = [], [], [], None
            self._calls.clear()
            return
        if payload.strip() == _DONE:
            self._done = True
            return
        try:
            payload.decode("utf-8")
            document = orjson.loads(payload)
        except UnicodeDecodeError:
            self._utf8 = False
            return
        except orjson.JSONDecodeError:
            return
        if not isinstance(document, dict):
            return
        told = document.get("system_fingerprint")
        self._fingerprint = told if isinstance(told, str) else self._fingerprint
        self._usage = document["usage"] if isinstance(document.get("usage"), dict) else self._usage
        self._data = document.get("data", self._data)
        choices = document.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        finish = first.get("finish_reason")
        if isinstance(finish, str):
            self._finish = finish
            self._finishes += 1
        message = first.get("delta" if self._stream else "message")
        if isinstance(message, dict):
            self._said(message)

    def _frame(self, payload: bytes) -> str:
        """Return a frame as text; a long one is shortened before its end."""
        text, most = payload.decode("utf-8", "backslashreplace"), FRAME if self._stream else WHOLE
        return text if len(text) <= most else f"{text[: most - 103]} … {text[-100:]}"

    def _said(self, message: dict[str, Any]) -> None:
        before = len(self._text) + len(self._reasoning)
        _add(self._text, message.get("content"))
        _add(self._reasoning, message.get("reasoning_content") or message.get("reasoning"))
        _add(self._refusal, message.get("refusal"))
        calls = message.get("tool_calls")
        for number, item in enumerate(calls if isinstance(calls, list) else ()):
            if not isinstance(item, dict):
                continue
            index = item.get("index") if self._stream and isinstance(item.get("index"), int) else number
            known = self._calls.setdefault(int(index or 0), ["", "", ""])
            function = item.get("function")
            said = function if isinstance(function, dict) else {}
            for place, value in enumerate((item.get("id"), said.get("name"))):
                known[place] = known[place] or (value if isinstance(value, str) else "")
            known[2] += said["arguments"] if isinstance(said.get("arguments"), str) else ""
            self._deltas += self._stream
        self._deltas += len(self._text) + len(self._reasoning) > before

    def reply(self, call: Call, trace: Trace | None, error: CallError | None) -> Reply:
        """Return all of it, with what the router wrote down of the way."""
        details = self._usage.get("completion_tokens_details")
        return Reply(
            label=call.label,
            request=call.body,
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            tool_calls=tuple(ToolCall(name, arguments, id_) for id_, name, arguments in self._calls.values()),
            finish_reason=self._finish,
            refusal="".join(self._refusal),
            stream=StreamFacts(self._deltas, self._finishes, self._done, self._utf8) if self._stream else None,
            timings=_timings(trace, stream=self._stream),
            usage=Usage(
                prompt=_count(self._usage.get("prompt_tokens")),
                completion=_count(self._usage.get("completion_tokens")),
                reasoning=_count(details.get("reasoning_tokens")) if isinstance(details, dict) else None,
            ),
            cost_usd=None if trace is None else trace.cost_usd,
            trace=TraceFacts() if trace is None else facts_of(trace),
            error=error,
            data=self._data,
            at=0.0 if trace is None else trace.at,
            fingerprint=self._fingerprint,
            frames=tuple(self._frame(payload) for payload in (*self._first, *self._last)),
            unkept=self._frames - len(self._first) - len(self._last),
        )


def facts_of(trace: Trace) -> TraceFacts:
    """Return what a trace tells: who was planned first, who served, what was tried, how the circuits stood."""
    planned = next((each.route for each in trace.candidates if each.decision == "eligible"), None)
    first = trace.attempts[0].route if trace.attempts else planned
    return TraceFacts(
        request_id=trace.id,
        served_by=None if trace.selected is None else _label(trace.selected),
        first=None if first is None else _label(first),
        attempts=tuple(
            AttemptFact(
                _label(each.route),
                "ignored" if each.cls is None else str(each.cls),
                each.status,
                None if each.ended_ms is None else each.ended_ms - each.started_ms,
            )
            for each in trace.attempts
        ),
        circuits={_label(each.route): str(each.circuit_after) for each in trace.attempts},
    )


def _label(route: Route) -> str:
    return f"{route.provider}/{route.model}"


def _timings(trace: Trace | None, *, stream: bool) -> Timings:
    if trace is None:
        return Timings()
    return Timings(trace.total_ms or 0.0, trace.ttft_ms if stream else None)


def _add(parts: list[str], value: object) -> None:
    if isinstance(value, str) and value:
        parts.append(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
