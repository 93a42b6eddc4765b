"""The gate between an upstream's stream and the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure, OutcomeClass
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing.stream_gate import DONE, GateState, StreamGate

PLAIN = Needs(Endpoint.CHAT)
TOOLS = Needs(Endpoint.CHAT, (Word.TOOLS,), (Word.TOOLS,))
NAMED = Needs(Endpoint.CHAT, (Word.TOOLS,), (Word.TOOLS,), named_tool="f")
JSON = Needs(Endpoint.CHAT, (Word.JSON,), (Word.JSON,))
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, *, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served-model"}
    return orjson.dumps({**head, "choices": [choice], **more})


def text(content: str, **more: Any) -> bytes:
    return chunk({"content": content}, **more)


def tool(**entry: Any) -> bytes:
    return chunk({"tool_calls": [entry]})


def usage(**more: Any) -> bytes:
    return orjson.dumps({"id": "c1", "model": "served-model", "choices": [], "usage": USAGE, **more})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")


class Run:
    """Everything a gate gave out for a list of payloads, one feed per payload, then the end of the upstream."""

    def __init__(self, payloads: Sequence[bytes], needs: Needs = PLAIN, *, want_usage: bool = False) -> None:
        self.gate = StreamGate(needs, want_usage=want_usage)
        self.sent: list[bytes] = []
        self.failure: Failure | None = None
        self.undelivered: tuple[Word, ...] = ()
        self.committed_at: int | None = None
        for n, payload in enumerate(payloads):
            step = self.gate.feed([payload])
            self.sent += step.payloads
            if step.committed:
                self.committed_at = n
            if step.failure is not None:
                self.failure, self.undelivered = step.failure, step.undelivered
                return
        step = self.gate.finish()
        self.sent += step.payloads
        if step.failure is not None:
            self.failure, self.undelivered = step.failure, step.undelivered
        elif step.committed:
            self.committed_at = len(payloads)

    @property
    def cls(self) -> OutcomeClass | None:
        return self.failure.cls if self.failure else None

    @property
    def content(self) -> str:
        deltas = [orjson.loads(sent)["choices"] for sent in self.sent if sent != DONE]
        return "".join(choices[0]["delta"].get("content") or "" for choices in deltas if choices)


# ---- before the commit


def test_nothing_is_sent_before_first_content() -> None:
    """Role frames, empty deltas and usage wait for the first content, then come in order."""
    gate = StreamGate(PLAIN, want_usage=False)
    assert gate.feed([ROLE, chunk(), text("")]).state is GateState.HOLD
    step = gate.feed([text("hi")])
    assert (step.state, step.committed) == (GateState.COMMIT, True)
    assert list(step.payloads) == [ROLE, chunk(), text(""), text("hi")]
    assert gate.feed([text("!")]).state is GateState.PASS


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]},
        {"function_call": {"name": "f"}},
        {"refusal": "no"},
        {"audio": {"id": "a"}},
    ],
)
def test_S39_what_counts_as_content(delta: dict[str, Any]) -> None:
    """Content, reasoning, calls, refusals and audio commit."""
    assert Run([ROLE, chunk(delta), STOP, DONE]).committed_at == 1


@pytest.mark.parametrize(
    "event",
    [
        b'{"error":{"message":"boom","code":500}}',
        b'{"object":"error","message":"boom","code":400}',
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        b"not json",
        b"<html>",
        b"[]",
        b"null",
        b"5",
        b"",
    ],
)
def test_S04_S32_a_bad_first_event_fails_over(event: bytes) -> None:
    """An error or garbage first leaves the client untouched, and the attempt free to fail over."""
    run = Run([ROLE, event, text("late")])
    assert run.cls in (OutcomeClass.BAD_200, OutcomeClass.SERVER)
    assert run.sent == []


def test_C1_29_S04_an_inner_code_is_classed_first() -> None:
    """An insufficient_quota event is a quota failure, not a bad answer."""
    assert Run([b'{"error":{"code":"insufficient_quota","message":"x"}}']).cls is OutcomeClass.QUOTA


@pytest.mark.parametrize("events", [[], [ROLE], [ROLE, usage()], [usage()], [chunk(), chunk()]])
def test_S05_S06_S07_an_early_end_fails_over(events: list[bytes]) -> None:
    """Zero events, a lone role frame or usage and then the end: the client saw nothing."""
    run = Run(events)
    assert run.cls is OutcomeClass.BAD_200
    assert run.sent == []


def test_S07_metadata_is_held() -> None:
    """Usage and metadata chunks do not commit."""
    gate = StreamGate(PLAIN, want_usage=True)
    assert gate.feed([usage(), b'{"id":"c1","provider":"x"}', chunk()]).state is GateState.HOLD
    assert not gate.committed


@pytest.mark.parametrize("events", [[ROLE, STOP, DONE], [text("  \n"), STOP, DONE], [ROLE, DONE], [ROLE, STOP]])
def test_C1_20_a_blank_stream_fails_over(events: list[bytes]) -> None:
    """A stream that ends well and says nothing is blank."""
    run = Run(events)
    assert run.cls is OutcomeClass.BLANK
    assert run.sent == []


def test_a_bare_done_is_a_bad_answer() -> None:
    """No choice at all is no answer."""
    assert Run([DONE]).cls is OutcomeClass.BAD_200


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_truncation_explains_an_empty_answer(reason: str) -> None:
    """Nothing said because of a limit is an answer."""
    run = Run([ROLE, chunk(finish=reason), DONE])
    assert run.failure is None
    assert run.sent[-1] == DONE


def test_leading_white_space_is_kept() -> None:
    """White space before the first word belongs to the answer."""
    assert Run([ROLE, text("\n"), text(" "), text("hi"), STOP, DONE]).content == "\n hi"


def test_the_hold_back_is_bounded() -> None:
    """A thousand empty frames are neither sent nor kept."""
    gate = StreamGate(PLAIN, want_usage=False)
    for _ in range(1000):
        assert gate.feed([chunk({"role": "assistant"})]).state is GateState.HOLD
    step = gate.feed([text("hi")])
    assert step.state is GateState.COMMIT
    assert len(step.payloads) <= 65


def test_a_frame_without_content_over_the_bound_is_a_bad_answer() -> None:
    """64 KB that say nothing are no stream."""
    run = Run([chunk({"role": "x" * 70_000})])
    assert run.cls is OutcomeClass.BAD_200


# ---- after the commit


def test_S17_garbage_in_the_middle_is_a_cut() -> None:
    """What was received stays; the failure is a cut and nothing follows."""
    good = [text(f"t{n} ") for n in range(30)]
    run = Run([*good, b'{"choices":[{"delta":{"content":"x"', *good])
    assert run.cls is OutcomeClass.CUT
    assert run.sent == good
    one_feed = StreamGate(PLAIN, want_usage=False).feed([*good, b"{", *good])
    assert (one_feed.state, list(one_feed.payloads), one_feed.committed) == (GateState.FAILED, good, True)


def test_S20_a_clean_close_without_an_end_is_a_cut() -> None:
    """Forty tokens, no finish reason, no [DONE]: forty tokens and a cut, no invented end."""
    good = [text(f"t{n} ") for n in range(40)]
    run = Run(good)
    assert run.cls is OutcomeClass.CUT
    assert run.sent == good
    assert run.gate.finish_reason is None


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', OutcomeClass.SERVER),
        (b'{"error":{"message":"boom","type":"InternalServerError","code":500}}', OutcomeClass.CUT),
        (b'{"error":{"message":"x","code":"rate_limit_exceeded"}}', OutcomeClass.RATE),
        (b'{"error":"boom"}', OutcomeClass.CUT),
    ],
)
def test_S23_an_error_event_after_twenty_tokens(event: bytes, expected: OutcomeClass) -> None:
    """The event is not relayed; the failure is classed by its code, else a cut."""
    good = [text("t") for _ in range(20)]
    run = Run([*good, event])
    assert run.cls is expected
    assert run.sent == good


@pytest.mark.parametrize(
    "events", [[text("a"), STOP], [text("a"), DONE], [text("a"), STOP, DONE], [text("a", finish="stop"), DONE]]
)
def test_a_finish_reason_or_done_ends_well(events: list[bytes]) -> None:
    """Either is enough; [DONE] goes out exactly once, last."""
    run = Run(events)
    assert run.failure is None
    assert run.sent.count(DONE) == 1
    assert run.sent[-1] == DONE


def test_events_after_done_are_ignored() -> None:
    """The end is the end."""
    run = Run([text("a"), STOP, DONE, text("late"), b"garbage", DONE])
    assert run.failure is None
    assert run.content == "a"


def test_U35_unknown_fields_and_finish_reasons_pass_byte_for_byte() -> None:
    """What needs no repair is not touched."""
    odd = b'{ "choices" : [ {"index":0, "delta":{"content":"x","new":[1]}, "finish_reason":"brand_new"} ], "z":1e2 }'
    run = Run([odd, DONE])
    assert run.sent == [odd, DONE]
    assert run.gate.finish_reason == "brand_new"
    assert run.gate.served_model is None


def test_U55_the_served_model_is_noted() -> None:
    """The first model named is kept for the trace."""
    assert Run([text("x"), STOP]).gate.served_model == "served-model"


def test_S40_two_choices_interleaved() -> None:
    """Both are intact though one ends early."""
    events = [
        text("a0"),
        text("b0", index=1),
        chunk(finish="stop"),
        text("b1", index=1),
        chunk(finish="length", index=1),
        DONE,
    ]
    run = Run(events)
    assert run.failure is None
    assert run.sent == events
    assert Run(events[:-2]).cls is OutcomeClass.CUT


# ---- usage


def test_S41_usage_is_hidden_unless_asked_for() -> None:
    """We always ask upstream; a client that did not sees none of it, and the trace has it."""
    attached = text("b", usage=USAGE)
    run = Run([text("a", usage=None), attached, STOP, usage(), DONE])
    assert all(b'"usage"' not in sent for sent in run.sent)
    assert run.content == "ab"
    assert run.gate.usage == USAGE


def test_S41_usage_comes_last_and_once() -> None:
    """However often and wherever an upstream tells it, the client gets one usage chunk before [DONE]."""
    early = usage(usage={"prompt_tokens": 3, "completion_tokens": 1})
    run = Run([early, text("a", usage={"completion_tokens": 2}), STOP, usage(), DONE], want_usage=True)
    told = [orjson.loads(sent) for sent in run.sent if sent != DONE and b'"usage":{' in sent]
    assert told == [{"id": "c1", "model": "served-model", "choices": [], "usage": USAGE}]
    assert run.sent[-1] == DONE
    assert b'"usage":{' in run.sent[-2]


def test_S41_no_usage_is_invented() -> None:
    """An upstream without support gives none."""
    run = Run([text("a"), STOP, DONE], want_usage=True)
    assert run.sent == [text("a"), STOP, DONE]
    assert run.gate.usage is None


# ---- forced capabilities


def test_a_forced_tool_commits_at_its_call() -> None:
    """Text before the call waits; the call commits both."""
    run = Run(
        [ROLE, text("let me see"), tool(index=0, id="a", function={"name": "f", "arguments": "{}"}), STOP, DONE], TOOLS
    )
    assert run.committed_at == 2
    assert run.content == "let me see"


def test_U36_prose_for_a_forced_tool_is_undelivered() -> None:
    """Found at the end or at the bound; the client saw nothing."""
    for events in ([ROLE, text("sunny"), STOP, DONE], [text("word ")] * 200, [text("w" * 70_000)]):
        run = Run(events, TOOLS)
        assert (run.cls, run.undelivered) == (OutcomeClass.UNDELIVERED, (Word.TOOLS,))
        assert run.sent == []


def test_forced_tools_that_end_blank_or_truncated() -> None:
    """Nothing said is blank; cut by length is an answer."""
    assert Run([ROLE, STOP, DONE], TOOLS).cls is OutcomeClass.BLANK
    assert Run([text("I wou"), chunk(finish="length"), DONE], TOOLS).failure is None


def test_a_named_tool_must_be_the_one_called() -> None:
    """Another function's call is undelivered; the name may come after the arguments."""
    other = tool(index=0, id="a", function={"name": "g", "arguments": "{}"})
    run = Run([other, STOP, DONE], NAMED)
    assert (run.cls, run.undelivered) == (OutcomeClass.UNDELIVERED, (Word.TOOLS,))
    late = [tool(index=0, id="a", function={"arguments": "{}"}), tool(index=0, function={"name": "f"}), STOP, DONE]
    assert Run(late, NAMED).committed_at == 1


def test_reasoning_does_not_disprove_a_tool_call() -> None:
    """A model that thinks for long before it calls is not at fault."""
    thinking = [chunk({"reasoning_content": "hm "})] * 200
    run = Run([*thinking, tool(index=0, id="a", function={"name": "f", "arguments": "{}"}), STOP, DONE], TOOLS)
    assert run.failure is None


@pytest.mark.parametrize("start", ["{", "[", '  {"a"', "\n["])
def test_forced_json_commits_at_its_first_character(start: str) -> None:
    """An object or a list has begun."""
    gate = StreamGate(JSON, want_usage=False)
    assert gate.feed([ROLE, text(" ")]).state is GateState.HOLD
    assert gate.feed([text(start)]).state is GateState.COMMIT


@pytest.mark.parametrize(("start", "detail"), [("Sure", "not JSON"), ("```json", "fenced"), ('"a"', "not JSON")])
def test_U37_other_beginnings_are_undelivered(start: str, detail: str) -> None:
    """Prose and fences fail over at once."""
    run = Run([ROLE, text(start), text("{}")], JSON)
    assert (run.cls, run.undelivered) == (OutcomeClass.UNDELIVERED, (Word.JSON,))
    assert run.failure is not None
    assert run.failure.detail == detail
    assert run.sent == []


def test_invalid_json_at_the_end_is_flagged() -> None:
    """After the commit it is too late to fail over: the trace says so."""
    assert Run([text('{"a": '), text("nope"), STOP, DONE], JSON).gate.flags == ["json_invalid"]
    assert Run([text('{"a": '), text("1}"), STOP, DONE], JSON).gate.flags == []
    assert Run([text('{"a": '), chunk(finish="length"), DONE], JSON).gate.flags == []
    schema = Needs(Endpoint.CHAT, (Word.JSON_SCHEMA,), (Word.JSON_SCHEMA,), schema={"required": ["b"]})
    assert Run([text('{"a": 1}'), STOP, DONE], schema).gate.flags == ["schema_invalid"]


def test_a_lone_routes_undelivered_answer_can_be_released() -> None:
    """The held answer comes out whole, in order, whether it failed at the bound or at the end."""
    ended = Run([ROLE, text("sunny"), STOP, DONE], TOOLS)
    step = ended.gate.release()
    assert (step.state, step.committed, step.ended) == (GateState.COMMIT, True, True)
    assert list(step.payloads) == [ROLE, text("sunny"), STOP, DONE]
    gate = StreamGate(TOOLS, want_usage=False)
    words = [text(f"w{n} ") for n in range(100)]
    assert gate.feed(words).state is GateState.FAILED
    step = gate.release()
    assert list(step.payloads) == words
    assert list(gate.feed([STOP, DONE]).payloads) == [STOP, DONE]


# ---- tool calls


def calls(run: Run) -> dict[int, dict[str, str]]:
    """Add up what the client got, as an SDK does: by index."""
    found: dict[int, dict[str, str]] = {}
    for sent in run.sent:
        if sent == DONE:
            continue
        for choice in orjson.loads(sent)["choices"]:
            for entry in choice["delta"].get("tool_calls") or ():
                call = found.setdefault(entry["index"], {"id": "", "name": "", "arguments": ""})
                function = entry.get("function") or {}
                call["id"] += entry.get("id") or ""
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
    return found


def test_S27_parallel_calls_pass_byte_identical() -> None:
    """Three ordinary parallel calls are not touched."""
    events = []
    for n in range(3):
        events.append(tool(index=n, id=f"id{n}", type="function", function={"name": f"f{n}", "arguments": ""}))
        events += [tool(index=n, function={"arguments": part}) for part in ('{"x": ', f'"é\\u00e9{n}"', "}")]
    run = Run([*events, chunk(finish="tool_calls"), DONE])
    assert run.sent[:-2] == events
    assert run.gate.flags == []
    assert [call["arguments"] for call in calls(run).values()] == [f'{{"x": "é\\u00e9{n}"}}' for n in range(3)]


def test_S28_ollama_labels_every_call_zero() -> None:
    """Distinct ids on one index are distinct calls, numbered densely."""
    events = [tool(index=0, id=f"id{n}", function={"name": "f", "arguments": f'{{"n":{n}}}'}) for n in range(3)]
    found = calls(Run([*events, STOP, DONE]))
    assert found == {n: {"id": f"id{n}", "name": "f", "arguments": f'{{"n":{n}}}'} for n in range(3)}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # index missing
        (
            [{"id": "a", "function": {"name": "f", "arguments": "{"}}, {"function": {"arguments": "}"}}],
            [("a", "f", "{}")],
        ),
        # index from one, and jumping
        (
            [{"index": 1, "id": "a", "function": {"name": "f", "arguments": "{}"}},
             {"index": 7, "id": "b", "function": {"name": "g", "arguments": "{"}},
             {"index": 7, "function": {"arguments": "}"}}],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # a known id on another index
        (
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
             {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
             {"index": 1, "id": "a", "function": {"arguments": "}"}}],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # the id and name told again with every fragment
        (
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
             {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}],
            [("a", "f", "{}")],
        ),
        # empty ids, all on index zero
        (
            [{"index": 0, "id": "", "function": {"name": "f", "arguments": "{}"}},
             {"index": 0, "id": "", "function": {"name": "g", "arguments": "{}"}}],
            [("", "f", "{}"), ("", "g", "{}")],
        ),
        # the same function twice, no ids at all
        (
            [{"index": 0, "function": {"name": "f", "arguments": '{"a":1}'}},
             {"index": 0, "function": {"name": "f", "arguments": '{"a":2}'}}],
            [("", "f", '{"a":1}'), ("", "f", '{"a":2}')],
        ),
        # the name after the arguments
        (
            [{"index": 0, "id": "a", "function": {"arguments": "{}"}}, {"index": 0, "function": {"name": "f"}}],
            [("a", "f", "{}")],
        ),
        # the id after the name
        (
            [{"index": 0, "function": {"name": "f"}}, {"index": 0, "id": "a", "function": {"arguments": "{}"}}],
            [("a", "f", "{}")],
        ),
        # interleaved
        (
            [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
             {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
             {"index": 0, "function": {"arguments": "}"}},
             {"index": 1, "function": {"arguments": "]"}}],
            [("a", "f", "{}"), ("b", "g", "[]")],
        ),
    ],
)  # fmt: skip
def test_S29_broken_indices_and_ids(entries: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    """Known ids win, new ids are new calls, nothing is merged silently, indices are dense."""
    found = calls(Run([*(tool(**entry) for entry in entries), STOP, DONE]))
    assert sorted(found) == list(range(len(expected)))
    assert [(call["id"], call["name"], call["arguments"]) for _, call in sorted(found.items())] == expected


def test_S29_several_calls_in_one_event() -> None:
    """All calls of one event are repaired together."""
    both = chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}},
            ]
        }
    )
    assert [call["id"] for call in calls(Run([both, STOP, DONE])).values()] == ["a", "b"]


def test_S30_arguments_cut_in_the_middle_are_flagged() -> None:
    """The finish reason says tool_calls, the arguments are half a JSON."""
    half = tool(index=0, id="a", function={"name": "f", "arguments": '{"city": '})
    run = Run([half, chunk(finish="tool_calls"), DONE])
    assert run.failure is None
    assert run.gate.flags == ["tool_args_invalid"]


# ---- completions


def test_completions_stream_text() -> None:
    """`text` is content on the completions endpoint."""
    event = b'{"choices":[{"index":0,"text":"hi","finish_reason":null}]}'
    run = Run([event, b'{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}', DONE], Needs(Endpoint.COMPLETIONS))
    assert (run.failure, run.committed_at) == (None, 0)


# ---- properties

_EVENTS = st.lists(
    st.one_of(
        st.just(ROLE),
        st.builds(text, st.text(max_size=6)),
        st.just(usage()),
        st.just(STOP),
        st.builds(lambda name, part: tool(index=0, id=name, function={"name": name, "arguments": part}),
                  st.sampled_from(["a", "b", ""]), st.text(max_size=4)),
        st.just(b"garbage"),
        st.just(b'{"error":"x"}'),
        st.just(DONE),
        st.binary(max_size=8),
    ),
    max_size=30,
)  # fmt: skip


@given(events=_EVENTS, needs=st.sampled_from([PLAIN, TOOLS, NAMED, JSON]), want_usage=st.booleans())
def test_the_gate_never_leaks_before_commit(events: list[bytes], needs: Needs, want_usage: bool) -> None:
    """No payload leaves an uncommitted gate, a failure ends it, and [DONE] is last, once, and only without failure."""
    gate = StreamGate(needs, want_usage=want_usage)
    sent: list[bytes] = []
    failed = False
    for step in [*(gate.feed([event]) for event in events), gate.finish()]:
        if not gate.committed:
            assert step.payloads == ()
        if failed:
            assert step.payloads == ()
        sent += step.payloads
        failed = failed or step.failure is not None
        assert (step.failure is not None) == (step.state is GateState.FAILED)
    assert sent.count(DONE) == (1 if gate.ended else 0)
    assert gate.ended != failed
    if gate.ended:
        assert sent[-1] == DONE


@given(words=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40), data=st.data())
def test_content_out_is_content_in_for_any_split(words: list[str], data: st.DataObject) -> None:
    """However the payloads are batched, the text is complete, in order and told once."""
    said = "".join(words)
    payloads = [ROLE, *(text(word) for word in words), text("end"), STOP, DONE]
    gate = StreamGate(PLAIN, want_usage=False)
    sent: list[bytes] = []
    while payloads:
        count = data.draw(st.integers(1, len(payloads)))
        sent += gate.feed(payloads[:count]).payloads
        payloads = payloads[count:]
    out = "".join(orjson.loads(one)["choices"][0]["delta"].get("content", "") for one in sent if one != DONE)
    assert out == said + "end"
