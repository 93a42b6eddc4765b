"""Did an answer deliver what the request forced: a tool call, JSON, JSON that fits a schema (routing.md §4).

Runs after classify.whole_reply; a shape it does not know counts as delivered. Validating a client's schema can neither
fetch nor hang: remote references are off, patterns run on a linear engine, and a schema that could explode is not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

import jsonschema_rs
import orjson

from routerconsole.domain.capability import Word
from routerconsole.domain.request import JsonObject, Needs

MAX_SCHEMA: Final = 128 * 1024
"""Bytes of a schema we compile; a larger one is only parsed against."""
MAX_INSTANCE: Final = 1 << 20
"""Characters of content we validate (about 10 ms); longer content must only parse."""
PREAMBLE: Final = 64
"""Characters of prose a forced call may still follow: a stream is held for 64 events, of a character or more each."""
_MAX_STEPS: Final = 20_000
_MAX_WORK: Final = 5_000_000
"""Schema steps times values in the answer; 2^24 steps of nested `allOf` took 0.2 s."""
_MAX_PATTERNS: Final = 100
_REGEX_BYTES: Final = 1 << 16
"""A compiled pattern's size: at 1 MB a hostile one took 46 s on 1 MB of text, at 64 KB it takes 2 ms."""
_MAX_UNFOLDED: Final = 200_000
_MAX_SCHEMA_DEPTH: Final = 128
_TRUNCATED: Final = frozenset({"length", "content_filter"})
_UNBOUNDED_KEYS: Final = ("$dynamicRef", "$recursiveRef")


class Undelivered(NamedTuple):
    """The forced words an answer lacks and why; false when everything was delivered."""

    words: tuple[Word, ...] = ()
    detail: str = ""

    def __bool__(self) -> bool:
        return bool(self.words)


DELIVERED: Final = Undelivered()


def undelivered(data: object, needs: Needs) -> Undelivered:
    """Return what a whole OpenAI-shaped answer failed to deliver; truncated answers are never at fault."""
    if not needs.forced or not isinstance(data, Mapping):
        return DELIVERED
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        return DELIVERED
    for word in needs.forced:
        if word is Word.TOOLS:
            detail = _tools(choices, needs.named_tool)
        elif word is Word.JSON:
            detail = _json(choices, None)
        elif word is Word.JSON_SCHEMA:
            detail = _json(choices, needs.schema)
        else:
            detail = None
        if detail is not None:
            return Undelivered((word,), detail)
    return DELIVERED


def parses(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def judge_json(text: str, schema: JsonObject | None) -> str | None:
    """Return why a text is not the JSON that was asked for (`fenced`, `not JSON`, `schema: …`), or None."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "fenced" if text.lstrip().startswith("```") else "not JSON"
    if schema is None or len(text) > MAX_INSTANCE:
        return None
    # every value but the first follows one of these characters
    return _mismatch(value, schema, values=1 + text.count(",") + text.count("{") + text.count("["))


# ---- tools


def _tools(choices: list[Any], named: str | None) -> str | None:
    detail = "no tool call"
    for choice in choices:
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(message, Mapping):
            return None
        if choice.get("finish_reason") in _TRUNCATED and not _spoke_prose(message):
            return None
        for name, arguments in calls_of(message):
            if named is not None and name is not None and name != named:
                detail = "a different tool was called"
            elif isinstance(arguments, str) and not parses(arguments):
                detail = "tool arguments are not JSON"
            else:
                return None
    return detail


def _spoke_prose(message: Mapping[str, Any]) -> bool:
    """Whether an answer that ran into its limit was prose all the way, judged as the same answer streamed would be.

    llama.cpp forbids the end token while a tool is forced, so a model without tools talks until it is cut off; a short
    beginning may still have led to a call.
    """
    content = message.get("content")
    begun = any(True for _ in calls_of(message))
    return isinstance(content, str) and len(content.strip()) > PREAMBLE and not begun


def calls_of(message: Mapping[str, Any]) -> Iterator[tuple[str | None, object]]:
    """Yield (name, arguments) of each call; arguments None where the kind of call carries no JSON."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if not isinstance(call, Mapping):
            yield None, None
            continue
        holder = call.get("function")
        if isinstance(holder, Mapping):
            yield _name(holder), holder.get("arguments")
        else:
            custom = call.get("custom")
            yield (_name(custom) if isinstance(custom, Mapping) else None), None
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        yield _name(legacy), legacy.get("arguments")


def _name(holder: Mapping[str, Any]) -> str | None:
    name = holder.get("name")
    return name if isinstance(name, str) else None


# ---- JSON


def _json(choices: list[Any], schema: JsonObject | None) -> str | None:
    """Judge every choice: one that is prose makes the answer undelivered; refusals, calls and truncation do not."""
    for choice in choices:
        if not isinstance(choice, Mapping) or choice.get("finish_reason") in _TRUNCATED:
            continue
        text = _content(choice)
        if text is None:
            continue
        detail = judge_json(text, schema)
        if detail is not None:
            return detail
    return None


def _content(choice: Mapping[str, Any]) -> str | None:
    """Return the text to judge, or None where there is none that promises JSON."""
    message = choice.get("message")
    if not isinstance(message, Mapping):
        text = choice.get("text")
        return text if isinstance(text, str) else None
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and content.strip():
        return content
    if message.get("refusal") or message.get("tool_calls") or message.get("function_call"):
        return None
    return "" if isinstance(content, str) or content is None else None


# ---- schemas


def _mismatch(value: object, schema: JsonObject, *, values: int) -> str | None:
    """Return where `value` breaks the schema, or None; a schema that cannot be run safely judges nothing."""
    try:
        raw = orjson.dumps(schema)
    except (orjson.JSONEncodeError, RecursionError):
        return None
    if len(raw) > MAX_SCHEMA:
        return None
    compiled = _compiled(raw)
    if compiled is None:
        return None
    validator, steps, fan_out = compiled
    if steps * values > _MAX_WORK or (fan_out > 1 and fan_out ** min(_depth(value), 64) > _MAX_UNFOLDED):
        return None
    try:
        error = next(iter(validator.iter_errors(value)), None)
    except Exception:  # noqa: BLE001 - the validator is foreign code run on a client's schema: it may refuse, never break us
        return None
    if error is None:
        return None
    where = "/".join(str(step) for step in error.instance_path)[:80]
    return f"schema: does not fit at /{where}"


@lru_cache(maxsize=64)
def _compiled(raw: bytes) -> tuple[jsonschema_rs.Validator, int, int] | None:
    """Return a schema's validator, its steps and its recursive fan-out, None where it must not be run."""
    schema = orjson.loads(raw)
    cost = _Unfolded(schema).total()
    if cost is None:
        return None
    try:
        validator = jsonschema_rs.validator_for(
            schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES)
        )
    except Exception:  # noqa: BLE001 - an invalid schema raises several kinds; it is the upstream's to reject
        return None
    return validator, *cost


def _refuse(uri: str) -> NoReturn:
    raise LookupError("remote references are off")


class _TooMuch(Exception):
    """The schema must not be run: it would unfold too far, or refers where we do not follow."""


class _Unfolded:
    """Counts a schema's evaluation steps with every reference unfolded once, and how often it re-enters itself."""

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._done: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()
        self._patterns = 0

    def total(self) -> tuple[int, int] | None:
        """Return the steps and the recursive re-entries of one turn, None where the schema must not be run."""
        try:
            return self._visit(self._root, 0)
        except _TooMuch:
            return None

    def _visit(self, node: Any, depth: int) -> tuple[int, int]:
        if not isinstance(node, dict | list):
            return 0, 0
        key = id(node)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return 1, 1
        if depth > _MAX_SCHEMA_DEPTH:
            raise _TooMuch
        self._open.add(key)
        steps, again = 1 + len(node), 0
        for child in self._children(node, depth):
            more, loops = self._visit(child, depth + 1)
            steps, again = steps + more, again + loops
            if steps > _MAX_STEPS:
                raise _TooMuch
        self._open.discard(key)
        self._done[key] = steps, again
        return steps, again

    def _children(self, node: dict[str, Any] | list[Any], depth: int) -> Iterator[Any]:
        if isinstance(node, list):
            yield from node
            return
        for key, value in node.items():
            if key in ("pattern", "patternProperties"):
                self._patterns += len(value) if isinstance(value, dict) else 1
                if self._patterns > _MAX_PATTERNS:
                    raise _TooMuch
            if key == "$ref" and isinstance(value, str):
                yield self._target(value)
            elif key in _UNBOUNDED_KEYS or (key in ("$id", "id") and depth and isinstance(value, str)):
                raise _TooMuch
            elif depth or key not in ("$defs", "definitions"):  # below the root these may be names of properties
                yield value

    def _target(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            raise _TooMuch
        node: Any = self._root
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise _TooMuch
        return node


def _depth(value: object) -> int:
    """Return how deep a parsed value nests, without recursion."""
    deepest, layer = 0, [value]
    while layer:
        deepest += 1
        layer = [
            child
            for node in layer
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return deepest
