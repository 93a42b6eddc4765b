"""Graders of what an answer says: its text, its JSON, its reasoning."""

from __future__ import annotations

import orjson

from routerconsole.routing.deliver import MAX_INSTANCE, judge_json

from .assertions import (
    Assertion,
    FinishReason,
    JsonPath,
    JsonSchema,
    JsonValid,
    Once,
    Similar,
    TextHas,
    TextIs,
    TextMatches,
)
from .finding import Facts, Finding, answer, shown, untold
from .json_path import NoSuchPlace, same, value_at
from .text import doubled, leaked, matches, similarity, trimmed
from .types import Json, Reply

_TOO_LONG = "too_long"


def grade_text(kind: str, said: Assertion, reply: Reply, facts: Facts) -> Finding | None:
    """Return how a text assertion came out, None for one of another family."""
    if isinstance(said, TextIs):
        return _is(kind, said, reply, facts)
    if isinstance(said, TextHas):
        wanted = [facts.text(value) for value in said.values]
        folded = trimmed(reply.text).casefold()
        found = [value.casefold() in folded for value in wanted]
        passed = all(found) if kind == "contains_all" else any(found)
        return Finding(passed, shown(", ".join(wanted)), answer(reply))
    if isinstance(said, TextMatches):
        return Finding(matches(said.pattern, reply.text), said.pattern, answer(reply))
    if isinstance(said, Similar):
        share = similarity(facts.text(said.value), reply.text)
        return Finding(share >= said.min, f"similarity >= {said.min:g}", f"{share:.2f}", value=share)
    if isinstance(said, FinishReason):
        return Finding(reply.finish_reason in said.values, ", ".join(said.values), str(reply.finish_reason))
    if isinstance(said, Once):
        return _once(said, reply, facts)
    if kind == "reasoning_present":
        return Finding(bool(reply.reasoning.strip()), "reasoning in its own field", answer(reply))
    if kind == "reasoning_not_leaked":
        mark = leaked(reply.text)
        return Finding(not mark, "no reasoning in the content", mark or answer(reply))
    return _json(said, reply, facts)


def _is(kind: str, said: TextIs, reply: Reply, facts: Facts) -> Finding:
    """Equal or contained; a contained word stands alone, so that "READY" is not found in "ALREADY"."""
    loose = said.punctuation == "ignore"
    wanted, got = facts.text(said.value), trimmed(reply.text, punctuation=loose)
    if kind == "equals":
        passed = got == wanted
    elif kind == "iequals":
        passed = got.casefold() == wanted.casefold()
    else:
        passed = _stands_in(wanted.casefold(), got.casefold())
    return Finding(passed, shown(wanted), answer(reply))


def _stands_in(wanted: str, text: str) -> bool:
    """Whether a text holds another one that is not the inside of a longer word or number."""
    at = text.find(wanted)
    while wanted and at >= 0:
        end = at + len(wanted)
        joined_before = at > 0 and wanted[0].isalnum() and text[at - 1].isalnum()
        joined_after = end < len(text) and wanted[-1].isalnum() and text[end].isalnum()
        if not joined_before and not joined_after:
            return True
        at = text.find(wanted, at + 1)
    return False


def _once(said: Once, reply: Reply, facts: Facts) -> Finding:
    if said.marker is None:
        passage = doubled(reply.text)
        return Finding(not passage, "no passage said twice", shown(passage) if passage else answer(reply))
    marker = facts.text(said.marker)
    times = reply.text.count(marker)
    return Finding(times <= 1, f"{marker} at most once", f"{times} times")


def _json(said: Assertion, reply: Reply, facts: Facts) -> Finding | None:
    if not isinstance(said, JsonValid | JsonSchema | JsonPath):
        return None
    if len(reply.text) > MAX_INSTANCE:
        return untold(_TOO_LONG, f"{len(reply.text)} characters")
    document = json_of(reply.text)
    if isinstance(said, JsonValid):
        fits = isinstance(document, tuple) and (said.any or isinstance(document[0], dict))
        return Finding(fits, "JSON" if said.any else "a JSON object", answer(reply))
    if document is None:
        return Finding(False, "JSON", answer(reply))
    if isinstance(said, JsonSchema):
        schema = said.schema_ if said.schema_ is not None else facts.schema
        why = judge_json(reply.text.strip(), dict(schema or {}))
        return Finding(why is None, "JSON that fits the schema", f"{why}: {answer(reply)}" if why else answer(reply))
    return _path(said, document[0], facts)


def _path(said: JsonPath, document: Json, facts: Facts) -> Finding:
    try:
        found = value_at(document, said.path)
    except NoSuchPlace:
        return Finding(said.exists is False, f"a value at {said.path}", shown(document))
    if said.exists is not None:
        return Finding(said.exists, f"{'a' if said.exists else 'no'} value at {said.path}", shown(found))
    wanted = [facts.value(value) for value in (said.one_of if said.one_of is not None else [said.equals])]
    return Finding(any(same(found, value) for value in wanted), shown(wanted), shown(found))


def json_of(text: str) -> tuple[Json] | None:
    """Return the one JSON value a text is, in a tuple (it may be null), or None; fences and prose are no JSON."""
    try:
        return (orjson.loads(text.strip()),)
    except orjson.JSONDecodeError:
        return None
