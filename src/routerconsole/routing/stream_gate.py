"""The gate between an upstream's stream and the client: holds back until first content, then passes and repairs.

1 nothing leaves before the commit: role frames, empty deltas and usage are held (64 events / 64 KB)
2 the first content commits; while a forced capability is needed, the delta that proves it does
3 before the commit every failure is still free: FAILED without payloads; after it, what was received stays sent
4 usage is hidden from a client that did not ask, else sent last and once
5 a finish reason or `[DONE]` ends well, neither is a cut
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.domain.request import Needs
from routerconsole.routing import classify
from routerconsole.routing.deliver import judge_json
from routerconsole.routing.stream_proof import Choice, called, json_begun, other_calls, proof_of
from routerconsole.routing.tool_deltas import ToolDeltas
from routerconsole.routing.usable import ENDED_BY_LIMIT, speaks

DONE: Final = b"[DONE]"
MAX_HELD_EVENTS: Final = 64
MAX_HELD_BYTES: Final = 64 * 1024
"""The hold-back bound (routing.md §7.1)."""
MAX_JUDGED: Final = 1 << 20
"""Characters of forced JSON kept to be judged at the end; longer answers are not judged."""
_NULL_USAGE: Final = b',"usage":null}'
_PLAIN_DELTA: Final = frozenset({"content", "role"})


class GateState(StrEnum):
    """What the caller does next."""

    HOLD = "hold"  # nothing may be sent yet
    COMMIT = "commit"  # first content: send the status line, then the payloads
    PASS = "pass"  # noqa: S105 - the verb; send the payloads
    FAILED = "failed"  # send the payloads, if any, then act on the failure


class Gate(NamedTuple):
    """One step's verdict. `committed`: the commit (first token) fell into this step, even if it then failed.

    `ended` says the stream is over for the client; the payloads then end with `[DONE]` unless it failed.
    """

    state: GateState
    payloads: tuple[bytes, ...] = ()
    failure: Failure | None = None
    committed: bool = False
    ended: bool = False
    undelivered: tuple[Word, ...] = ()


_HOLD: Final = Gate(GateState.HOLD)
_NOTHING: Final = Gate(GateState.PASS)


class _Stop(Exception):
    """Ends a step: the stream has failed."""

    def __init__(self, failure: Failure, undelivered: tuple[Word, ...] = ()) -> None:
        super().__init__(failure.detail)
        self.failure, self.undelivered = failure, undelivered


class StreamGate:
    """The state of one streamed answer; feed it OpenAI chunk payloads in order, then call finish()."""

    def __init__(self, needs: Needs, *, want_usage: bool) -> None:
        self._needs, self._want_usage = needs, want_usage
        self._proof = proof_of(needs)
        self._keep_text = Word.JSON in needs.forced or Word.JSON_SCHEMA in needs.forced
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._rest: list[bytes] = []
        self._choices: dict[int, Choice] = {}
        self._kept = 0
        self._last: Mapping[str, Any] = {}
        self._prose = self._white = False
        self._failure: Failure | None = None
        self.committed = False
        self.ended = False
        self.done_seen = False
        self.usage: Mapping[str, Any] | None = None
        self._counted_at = 0  # the event that told it
        self.served_model: str | None = None
        self.flags: list[str] = []
        self.events = 0
        self._lead = 0  # events before the first content

    @property
    def tokens(self) -> int:
        """About how many tokens came: upstreams send one an event from the first content on."""
        return max(0, self.events - self._lead)

    @property
    def final_usage(self) -> Mapping[str, Any]:
        """The usage where nothing came after it: what was told before the end counts less than there is."""
        return self.usage if self.usage is not None and self._counted_at == self.events else {}

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of the first choice that has one."""
        return next((choice.finish for _, choice in sorted(self._choices.items()) if choice.finish), None)

    def feed(self, payloads: Sequence[bytes]) -> Gate:
        """Take the next chunk payloads; `[DONE]` ends the stream."""
        if self.ended:
            return _NOTHING
        if self._failure is not None:
            return Gate(GateState.FAILED, failure=self._failure)
        was = self.committed
        out: list[bytes] = []
        for n, payload in enumerate(payloads):
            try:
                if payload == DONE:
                    self.done_seen = True
                    self._end(out)
                    break
                self._take(payload, out)
            except _Stop as stop:
                self._rest = list(payloads[n + 1 :])
                return self._fail(stop, out, was=was)
        return self._verdict(out, was=was)

    def finish(self) -> Gate:
        """The upstream ended: a finish reason or `[DONE]` makes it good, neither is a cut (uncommitted: bad_200)."""
        if self.ended:
            return _NOTHING
        if self._failure is not None:
            return Gate(GateState.FAILED, failure=self._failure)
        was = self.committed
        out: list[bytes] = []
        try:
            if not self._choices or any(choice.finish is None for choice in self._choices.values()):
                raise _Stop(classify.bad_stream(200, "the stream ended short", committed=self.committed))
            self._end(out)
        except _Stop as stop:
            return self._fail(stop, out, was=was)
        return self._verdict(out, was=was)

    def release(self) -> Gate:
        """Commit an undelivered answer all the same (a lone route's is returned); no proof is asked from here on."""
        self._proof = None
        self._failure = None
        rest, self._rest = self._rest, []
        out: list[bytes] = []
        self._commit(out)
        if self.done_seen or (not rest and self.finish_reason is not None):
            self._close(out)
            return self._verdict(out, was=False)
        more = self.feed(rest)
        return Gate(
            GateState.FAILED if more.failure else GateState.COMMIT,
            (*out, *more.payloads),
            more.failure,
            committed=True,
            ended=more.ended,
        )

    def _verdict(self, out: list[bytes], *, was: bool) -> Gate:
        if not self.committed:
            return _HOLD
        state = GateState.PASS if was else GateState.COMMIT
        return Gate(state, tuple(out), committed=not was, ended=self.ended)

    def _fail(self, stop: _Stop, out: list[bytes], *, was: bool) -> Gate:
        self._failure = stop.failure
        sent = tuple(out) if self.committed else ()
        return Gate(
            GateState.FAILED,
            sent,
            stop.failure,
            committed=self.committed and not was,
            undelivered=stop.undelivered,
        )

    # ---- one event

    def _take(self, payload: bytes, out: list[bytes]) -> None:
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise _Stop(
                classify.bad_stream(200, "an event of the stream is not valid JSON", committed=self.committed)
            ) from None
        if not isinstance(chunk, dict):
            raise _Stop(classify.bad_stream(200, "an event of the stream is not an object", committed=self.committed))
        choices = chunk.get("choices")
        if "error" in chunk or not choices:
            inner = classify.inner_error(chunk)
            if inner is not None:
                raise _Stop(self._in_band(inner))
        self.events += 1
        self._last = chunk
        if self.served_model is None:
            model = chunk.get("model")
            self.served_model = model if isinstance(model, str) else None
        usage = chunk.get("usage")
        if usage is not None:
            payload, chunk = self._without_usage(chunk, usage)
            if not choices:
                return
        elif "choices" not in chunk:
            return  # a ping or the like: no chunk, and its event name would be lost
        elif not self._want_usage and payload.endswith(_NULL_USAGE):
            payload = payload[: -len(_NULL_USAGE)] + b"}"
        speaks_now, changed = self._look(choices)
        if changed:
            payload = orjson.dumps(chunk)
        if self.committed:
            out.append(payload)
            return
        self._hold(payload, speaks_now, out)

    def _in_band(self, inner: Mapping[str, Any]) -> Failure:
        """Class an error event by its code; where it has none it is a bad answer before the commit, a cut after it."""
        failure = classify.stream_error(inner, self._needs)
        if self.committed and failure.cls is OutcomeClass.BAD_200:
            return Failure(OutcomeClass.CUT, failure.detail, status=200, code=failure.code, message=failure.message)
        return failure

    def _without_usage(self, chunk: dict[str, Any], usage: object) -> tuple[bytes, dict[str, Any]]:
        """Keep the usage for the trace and take it out of the chunk; the last one told wins."""
        if isinstance(usage, Mapping):
            self.usage, self._counted_at = usage, self.events
        del chunk["usage"]
        return orjson.dumps(chunk), chunk

    def _look(self, choices: object) -> tuple[bool, bool]:
        """Return whether this event says something, and whether a choice was repaired in place."""
        if not isinstance(choices, list):
            return False, False
        said = changed = False
        for entry in choices:
            if not isinstance(entry, dict):
                continue
            index = entry.get("index")
            choice = self._choices.get(index if type(index) is int else 0)
            if choice is None:
                choice = self._choices[index if type(index) is int else 0] = Choice()
            reason = entry.get("finish_reason")
            if reason is not None:
                choice.finish = reason if isinstance(reason, str) else str(reason)
            delta = entry.get("delta")
            if not isinstance(delta, dict):
                text = entry.get("text")
                said = self._heard(choice, text) or said
                continue
            said = self._heard(choice, delta.get("content")) or said
            if len(delta) > 2 or not _PLAIN_DELTA.issuperset(delta):
                changed = self._calls(choice, delta) or changed
                if not choice.spoke or not self.committed:
                    said = speaks(delta) or said
                    choice.spoke = choice.spoke or said
        return said, changed

    def _heard(self, choice: Choice, text: object) -> bool:
        """Note content text; return whether it says something."""
        if not isinstance(text, str) or not text:
            return False
        if self._keep_text and self._kept <= MAX_JUDGED:
            self._kept += len(text)
            choice.text.append(text)
        if self.committed:
            return True
        if text.isspace():
            self._white = True
            return False
        choice.spoke = self._prose = True
        return True

    def _calls(self, choice: Choice, delta: dict[str, Any]) -> bool:
        """Follow tool-call fragments; return whether the delta was repaired."""
        entries = delta.get("tool_calls")
        if not isinstance(entries, list) or not entries:
            return False
        if choice.tools is None:
            choice.tools = ToolDeltas()
        changed = False
        for n, entry in enumerate(entries):
            if isinstance(entry, dict):
                _, fixed = choice.tools.add(entry)
                if fixed is not None:
                    entries[n] = fixed
                    changed = True
        return changed

    # ---- hold-back

    def _hold(self, payload: bytes, speaks_now: bool, out: list[bytes]) -> None:
        self._held.append(payload)
        self._held_bytes += len(payload)
        if self._proof is None:
            if speaks_now:
                self._commit(out)
        elif self._proven():
            self._commit(out)
        if self.committed or (len(self._held) < MAX_HELD_EVENTS and self._held_bytes < MAX_HELD_BYTES):
            return
        if self._proof is not None and (self._prose or other_calls(self._choices.values())):
            raise _Stop(*self._lacking())
        if self._spoken() or self._white:
            # reasoning proves nothing either way, and white space is an answer's own: neither may be dropped
            self._commit(out)
            return
        # still nothing but role frames and empty deltas: keep the first, forget what only kept the line warm
        del self._held[1:]
        self._held_bytes = len(self._held[0])
        if self._held_bytes >= MAX_HELD_BYTES:
            raise _Stop(classify.bad_stream(200, "64 KB without content"))

    def _proven(self) -> bool:
        """Whether the forced capability is shown; raises _Stop where it is disproved."""
        if self._proof is Word.TOOLS:
            return called(self._choices.values(), self._last, self._needs.named_tool)
        verdict = json_begun(self._choices.values(), self._last)
        if isinstance(verdict, str):
            raise _Stop(*self._lacking(verdict))
        return verdict

    def _lacking(self, detail: str = "") -> tuple[Failure, tuple[Word, ...]]:
        word = self._proof or Word.TOOLS
        if not detail:
            detail = "not JSON" if word is not Word.TOOLS else "no tool call"
            if word is Word.TOOLS and other_calls(self._choices.values()):
                detail = "a different tool was called"
        return Failure(OutcomeClass.UNDELIVERED, detail, status=200, refused=(word,)), (word,)

    def _spoken(self) -> bool:
        return any(choice.spoke for choice in self._choices.values())

    def _commit(self, out: list[bytes]) -> None:
        self.committed = True
        self._lead = max(0, self.events - 1)
        out.extend(self._held)
        self._held = []
        self._held_bytes = 0

    # ---- the end

    def _end(self, out: list[bytes]) -> None:
        """The stream ended well on the wire: judge what is still unproven, then close."""
        if not self.committed:
            self._judge_uncommitted()
            self._commit(out)
        self._close(out)

    def _judge_uncommitted(self) -> None:
        if not self._choices:
            raise _Stop(Failure(OutcomeClass.BAD_200, "the stream had no choices", status=200))
        if any(choice.finish in ENDED_BY_LIMIT for choice in self._choices.values()):
            return
        if not self._spoken():
            raise _Stop(Failure(OutcomeClass.BLANK, "every choice is blank", status=200))
        if self._proof is not None:
            raise _Stop(*self._lacking())

    def _close(self, out: list[bytes]) -> None:
        self._flag()
        if self._want_usage and self.usage is not None:
            envelope = {key: self._last[key] for key in ("id", "object", "created", "model") if key in self._last}
            out.append(orjson.dumps({**envelope, "choices": [], "usage": self.usage}))
        out.append(DONE)
        self.ended = True

    def _flag(self) -> None:
        """Note for the trace what the stream promised and did not keep."""
        choices = self._choices.values()
        limited = any(choice.finish in ENDED_BY_LIMIT for choice in choices)
        if self._proof is Word.TOOLS and not limited and not called(choices, self._last, self._needs.named_tool):
            self._note("undelivered")  # it was committed at the bound, on reasoning alone
        for choice in choices:
            if choice.finish in ENDED_BY_LIMIT:
                continue
            if choice.tools is not None and any(call.broken for call in choice.tools.calls):
                self._note("tool_args_invalid")
            if choice.text and self._kept <= MAX_JUDGED:
                schema = self._needs.schema if Word.JSON_SCHEMA in self._needs.forced else None
                why = judge_json("".join(choice.text), schema)
                if why is not None:
                    self._note("schema_invalid" if why.startswith("schema") else "json_invalid")

    def _note(self, flag: str) -> None:
        if flag not in self.flags:
            self.flags.append(flag)
