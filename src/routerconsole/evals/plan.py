"""Which call comes next: a pure function of the scenario, the drawn variables, the window and the answers so far.

The runner asks, sends, appends the answer and asks again until there is nothing left to ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from routerconsole.domain.request import Endpoint
from routerconsole.routing.needs import CHARS_PER_TOKEN

from .fill import fill, filled
from .haystack import buried, transcript
from .picture import data_uri
from .scenario import CONTROL, Scenario, TurnSection, labels
from .types import Call, Json, Reply, Verdict, skipped

_CHUNK: Final = 0.5
"""The share of the window one piece of a transcript takes; notes, instructions and the answer need the rest."""
_OVERFLOW: Final = 2.0
_FRAME: Final = 32
"""Tokens left for what a server puts around a message."""
_LONGER: Final = 1.5
"""How much longer than the window a transcript is that has to be compacted."""
_COMPACT: Final = (
    "Compact the following part of a conversation into short notes for yourself. Keep every fact, name, number and "
    "code exactly as written. Leave out small talk. Answer with the notes only."
)
_DRILL: Final = "This is a drill. Say a few words."
"""What a drill asks that does not say itself."""
_EMBEDDED: Final = "A second, quite different sentence about ships in the harbour at night."


def obstacle(scenario: Scenario, *, window: int | None) -> Verdict | None:
    """Return why a scenario cannot be asked of a target with this window, or None."""
    if scenario.kind in ("long_context", "compaction") and window is None:
        return skipped("window_unknown", "the target's context window is not known (set context_window)")
    return None


def next_call(
    scenario: Scenario, variables: Mapping[str, str], replies: Sequence[Reply], *, window: int | None = None
) -> Call | None:
    """Return the call to make after these answers, or None where nothing is left to ask.

    A conversation ends with its first error; a latency, long-context or drill scenario goes on after one. An answer
    is allowed half the window at most, however much the scenario would let a larger one say.
    """
    call = _next(scenario, variables, replies, window)
    most = None if call is None else call.body.get("max_tokens")
    if call is None or window is None or not isinstance(most, int) or most <= window // 2:
        return call
    return replace(call, body={**call.body, "max_tokens": max(1, window // 2)})


def _next(
    scenario: Scenario, variables: Mapping[str, str], replies: Sequence[Reply], window: int | None
) -> Call | None:
    said = scenario.said
    if scenario.kind in ("chat", "compaction", "embeddings") and any(reply.error is not None for reply in replies):
        return None
    if scenario.kind == "compaction":
        return _compaction(scenario, variables, replies, window or 0)
    names = labels(said)
    if len(replies) >= len(names):
        return None
    label = names[len(replies)]
    if scenario.kind == "embeddings":
        return _embedding(scenario, variables, label)
    if label == CONTROL:
        return _chat(scenario, label, _conversation(scenario, said.control[:1], variables, ()))
    if scenario.kind == "chat":
        if not _can_go_on(said.turns[len(replies)], replies):
            return None
        return _chat(scenario, label, _conversation(scenario, said.turns[: len(replies) + 1], variables, replies))
    messages = _conversation(scenario, said.turns or [TurnSection(user=_DRILL)], variables, ())
    if said.long_context is not None:
        text = filled(said.turns[0].user or "", variables)
        hidden = filled(said.long_context.needle, variables)
        messages[-1] = {"role": "user", "content": _haystack(scenario, label, hidden, text, window or 0)}
    elif len(replies) or scenario.kind == "latency":
        # the same question twice could be answered from a cache
        messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']} (question {len(replies) + 1})"}
    return _chat(scenario, label, messages)


def _haystack(scenario: Scenario, label: str, hidden: str, question: str, window: int) -> str:
    """Return filler with the needle at the label's percentage of the window, and the question.

    What is longer than fits beside the answer is cut to that, so in a very small window the last needle stands last.
    """
    said = scenario.said.long_context
    if said is None or label == "overflow":
        size = int(window * _OVERFLOW) * CHARS_PER_TOKEN - len(question) - len(hidden)
        return f"{buried(hidden, depth=50, size=size)}\n\n{question}"
    tokens = min(int(window * said.fill), window - min(scenario.max_tokens, window // 2) - _FRAME)
    size = max(tokens * CHARS_PER_TOKEN - len(question) - len(hidden), 1)
    depth = min(100.0, int(label.removeprefix("needle-")) * window * CHARS_PER_TOKEN / size)
    return f"{buried(hidden, depth=depth, size=size)}\n\n{question}"


def _can_go_on(turn: TurnSection, replies: Sequence[Reply]) -> bool:
    """Whether there is a call to give a tool's result to."""
    return turn.tool is None or bool(replies and replies[-1].tool_calls)


def _chat(scenario: Scenario, label: str, messages: list[dict[str, Json]]) -> Call:
    said = scenario.said
    body: dict[str, Json] = {"messages": [*messages], **said.request, "max_tokens": scenario.max_tokens}
    if scenario.temperature is not None:
        body["temperature"] = scenario.temperature
    if said.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return Call(label, Endpoint.CHAT, body, stream=said.stream, timeout_s=scenario.timeout_s)


def _conversation(
    scenario: Scenario, turns: Sequence[TurnSection], variables: Mapping[str, str], replies: Sequence[Reply]
) -> list[dict[str, Json]]:
    """Return the messages up to the last of these turns, the model's own answers between them."""
    messages: list[dict[str, Json]] = []
    if scenario.said.system is not None:
        messages.append({"role": "system", "content": filled(scenario.said.system, variables)})
    for index, turn in enumerate(turns):
        if index:
            messages.append(_spoken(replies[index - 1]))
        if turn.tool is not None:
            result = filled(turn.tool, variables)
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": result} for call in replies[index - 1].tool_calls
            ]
            continue
        text = filled(turn.user or "", variables)
        if turn.image is None:
            messages.append({"role": "user", "content": text})
        else:
            picture: Json = {"type": "image_url", "image_url": {"url": data_uri(filled(turn.image, variables))}}
            messages.append({"role": "user", "content": [{"type": "text", "text": text}, picture]})
    return messages


def _spoken(reply: Reply) -> dict[str, Json]:
    """The model's own answer as a message; reasoning is left out, as every API asks."""
    message: dict[str, Json] = {"role": "assistant", "content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
    return message


def _embedding(scenario: Scenario, variables: Mapping[str, str], label: str) -> Call:
    text = filled(scenario.said.turns[0].user or "", variables)
    extra = fill(dict(scenario.said.request), variables)
    body: dict[str, Json] = {
        **(extra if isinstance(extra, dict) else {}),
        "input": [text, _EMBEDDED],
        "encoding_format": "base64" if label == "base64" else "float",
    }
    return Call(label, Endpoint.EMBEDDINGS, body, timeout_s=scenario.timeout_s)


# ---- compaction


def pieces(scenario: Scenario, variables: Mapping[str, str], window: int) -> tuple[str, ...]:
    """Return the transcript, longer than the window, in pieces that fit beside notes and instructions."""
    said = scenario.said.compaction
    if said is None:
        return ()
    tokens = min(window, said.budget)
    facts = [filled(fact, variables) for fact in said.facts]
    lines = transcript(facts, size=int(tokens * _LONGER) * CHARS_PER_TOKEN)
    most = max(int(tokens * _CHUNK) * CHARS_PER_TOKEN, 400)
    found = [""]
    for line in lines:
        if found[-1] and len(found[-1]) + len(line) > most:
            found.append("")
        found[-1] += line + "\n"
    return tuple(found)


def _compaction(scenario: Scenario, variables: Mapping[str, str], replies: Sequence[Reply], window: int) -> Call | None:
    """Each piece is compacted by a model call together with the notes so far; then only the notes are left."""
    parts = pieces(scenario, variables, window)
    notes = replies[-1].text if replies else ""
    if len(replies) > len(parts):
        return None
    if len(replies) == len(parts):
        question = filled(scenario.said.turns[0].user or "", variables)
        text = f"Notes of our conversation so far:\n{notes}\n\n{question}"
        return _chat(scenario, "recall", [{"role": "user", "content": text}])
    before = f"Your notes so far:\n{notes}\n\n" if notes else ""
    text = f"{_COMPACT}\n\n{before}The next part:\n{parts[len(replies)]}"
    return _chat(scenario, f"compact-{len(replies) + 1}", [{"role": "user", "content": text}])
