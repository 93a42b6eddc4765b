"""Whether an answer delivered what was forced."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import Word
from routerconsole.domain.request import Endpoint, JsonObject, Needs
from routerconsole.routing.deliver import undelivered

TOOLS = Needs(Endpoint.CHAT, (Word.TOOLS,), (Word.TOOLS,))
NAMED = Needs(Endpoint.CHAT, (Word.TOOLS,), (Word.TOOLS,), named_tool="get_weather")
JSON = Needs(Endpoint.CHAT, (Word.JSON,), (Word.JSON,))
AUTO = Needs(Endpoint.CHAT, (Word.TOOLS,), ())


def schema_needs(schema: JsonObject | None) -> Needs:
    return Needs(Endpoint.CHAT, (Word.JSON_SCHEMA,), (Word.JSON_SCHEMA,), schema=schema)


def said(finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


def test_forced_tools_answered_in_prose_until_the_limit_are_undelivered() -> None:
    """A model that talks past the hold-back bound and is cut off has not begun a call; a short beginning may have."""
    forced = Needs(Endpoint.CHAT, needed=(Word.TOOLS,), forced=(Word.TOOLS,))
    assert undelivered(said("length", content="word " * 100), forced).words == (Word.TOOLS,)
    assert not undelivered(said("length", content="I would"), forced)


def called(name: str = "get_weather", arguments: Any = '{"city": "Bern"}') -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return said("tool_calls", content=None, tool_calls=[call])


@pytest.mark.parametrize(
    "data",
    [
        called(),
        said(content=None, function_call={"name": "f", "arguments": "{}"}),
        said("length", content="I would"),
        {"id": "x"},
        {"choices": []},
        {"choices": None},
        "text",
        None,
        5,
        {"choices": ["odd"]},
        called(arguments={"city": "Bern"}),
        {"choices": [said(content="prose")["choices"][0], called()["choices"][0]]},
    ],
)
def test_C1_02_C1_07_U36_tools_delivered(data: Any) -> None:
    """A call in any choice, the legacy shape, truncation and unknown shapes count as delivered."""
    assert not undelivered(data, TOOLS)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (said(content="It is sunny."), "no tool call"),
        (said(content="", tool_calls=[]), "no tool call"),
        (said(content="I would call get_weather({})"), "no tool call"),
        (called(arguments='{"city": '), "tool arguments are not JSON"),
        (called(arguments=""), "tool arguments are not JSON"),
    ],
)
def test_C1_02_C1_07_U36_tools_undelivered(data: Any, detail: str) -> None:
    """Prose is no call, and a call whose arguments do not parse is none either."""
    found = undelivered(data, TOOLS)
    assert found.words == (Word.TOOLS,)
    assert found.detail == detail


def test_C1_07_C1_18_auto_never_lacks_a_call() -> None:
    """Without force, prose is an answer."""
    assert not undelivered(said(content="prose"), AUTO)


def test_a_named_function_must_be_the_one() -> None:
    """Another function's call does not deliver a named one."""
    assert not undelivered(called("get_weather"), NAMED)
    found = undelivered(called("get_time"), NAMED)
    assert (found.words, found.detail) == ((Word.TOOLS,), "a different tool was called")


@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", ' {"a": 1}\n', [{"type": "text", "text": '{"a": 1}'}]])
def test_C1_05_U37_json_delivered(content: Any) -> None:
    """Content that parses is delivered, parts included."""
    assert not undelivered(said(content=content), JSON)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ("Sure! Here it is", "not JSON"),
        ('{"a": ', "not JSON"),
        ('{"a": NaN}', "not JSON"),
        ('```json\n{"a": 1}\n```', "fenced"),
        ("", "not JSON"),
    ],
)
def test_C1_05_C1_07_U37_json_undelivered(content: str, detail: str) -> None:
    """Prose, half JSON and fences are no delivery; fences are told as such."""
    found = undelivered(said(content=content), JSON)
    assert (found.words, found.detail) == ((Word.JSON,), detail)


@pytest.mark.parametrize(
    "data",
    [
        {"choices": []},
        {"id": 1},
        "html",
        said("length", content='{"a": '),
        said(content=None, refusal="no"),
        called(),
        {"choices": [{"text": '{"a": 1}'}]},
    ],
)
def test_C1_05_U37_safe_defaults(data: Any) -> None:
    """Unknown shapes, truncation, refusals and calls are never undelivered JSON."""
    assert not undelivered(data, JSON)


def test_every_choice_is_checked() -> None:
    """One choice of prose among two is not JSON mode."""
    both = {"choices": [said(content="{}")["choices"][0], said(content="prose")["choices"][0]]}
    assert undelivered(both, JSON)


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_schemas_are_checked() -> None:
    """JSON that breaks the schema is undelivered, and the place is told."""
    assert not undelivered(said(content='{"name": "x", "age": 3}'), schema_needs(SCHEMA))
    found = undelivered(said(content='{"name": "x", "age": -3}'), schema_needs(SCHEMA))
    assert found.words == (Word.JSON_SCHEMA,)
    assert found.detail == "schema: does not fit at /age"
    assert undelivered(said(content="prose"), schema_needs(SCHEMA)).detail == "not JSON"
    assert not undelivered(said(content='{"b": 1}'), schema_needs(None))


def test_recursive_schemas_are_checked() -> None:
    """An ordinary tree schema works."""
    tree = {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["v"],
    }
    assert not undelivered(said(content='{"v": 1, "kids": [{"v": 2, "kids": []}]}'), schema_needs(tree))
    assert undelivered(said(content='{"v": 1, "kids": [{"w": 2}]}'), schema_needs(tree))


def _bomb(holder: str) -> dict[str, Any]:
    parts: dict[str, Any] = {
        f"a{n}": {"allOf": [{"$ref": f"#/{holder}/a{n + 1}"}, {"$ref": f"#/{holder}/a{n + 1}"}]} for n in range(60)
    }
    parts["a60"] = {"type": "integer"}
    if holder == "$defs":
        return {"$defs": parts, "$ref": "#/$defs/a0"}
    return {"properties": parts, "$ref": f"#/{holder}/a0"}


def _nested_bomb() -> dict[str, Any]:
    fan = {"anyOf": [{"properties": {"c": {"$ref": "#"}, "x": False}, "required": [f"n{i}"]} for i in range(8)]}
    return {"properties": {"c": fan["anyOf"][0]}, **fan}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"properties": {"a": {"$ref": "https://example.org/x"}}},
        {"$ref": "#/definitions/nope"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        _bomb("$defs"),
        _bomb("properties"),
        _nested_bomb(),
        {"$id": "urn:x", "$dynamicAnchor": "n", "allOf": [{"$dynamicRef": "#n"}]},
        {"type": "nope"},
        {"$schema": "http://example.org/none", "type": "object"},
        {"pattern": "^(?=(a+)+$)"},
        {"properties": {"s": {"pattern": "^(a+)+$"}}},
        {"pattern": "(a{1000}){1000}"},
        {"description": "x" * 200_000},
        {"items": {"items": {"not": "a schema"}}},
    ],
)
def test_R15_a_clients_schema_can_neither_fetch_nor_hang(schema: dict[str, Any]) -> None:
    """Remote, cyclic, exploding, invalid and huge schemas judge nothing and take no time."""
    content = '{"s": "' + "a" * 40 + 'b", "c": ' + '{"c": ' * 12 + "{}" + "}" * 13
    began = time.thread_time()
    found = undelivered(said(content=content), schema_needs(schema))
    assert time.thread_time() - began < 5.0
    assert found.detail in ("", "schema: does not fit at /s")


def test_deep_and_large_content_is_judged_in_bounded_time() -> None:
    """Content over the validation bound only has to parse."""
    big = '{"a": "' + "x" * 3_000_000 + '"}'
    began = time.thread_time()
    assert not undelivered(said(content=big), schema_needs({"required": ["b"]}))
    assert undelivered(said(content="[" * 100_000), schema_needs(SCHEMA))
    assert time.thread_time() - began < 5.0


@pytest.mark.parametrize(
    ("schema", "content"),
    [
        ({"items": {"allOf": [{"enum": [str(n) for n in range(40)]}] * 400}}, "[" + "1," * 400_000 + "1]"),
        ({"items": {"type": "integer", "pattern": "(?:a|aa|aaa){2000}c"}}, '["' + "a" * 900_000 + '"]'),
        ({"pattern": "(?:[ab]*a[ab]{300})c"}, '"' + "a" * 900_000 + '"'),
        ({"properties": {f"p{n}": {"pattern": f"^x{{{n}}}$"} for n in range(2000)}}, '{"p1": "x"}'),
        ({"uniqueItems": True}, "[" + ",".join(f"[{n}]" for n in range(100_000)) + "]"),
    ],
)
def test_R15_the_product_of_schema_and_answer_is_bounded(schema: dict[str, Any], content: str) -> None:
    """A costly schema over a large answer is not run."""
    began = time.thread_time()
    undelivered(said(content=content), schema_needs(schema))
    assert time.thread_time() - began < 5.0


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "tool_calls", "function", "name", "arguments", "text"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(data=_ANY, needs=st.sampled_from([TOOLS, NAMED, JSON, schema_needs(SCHEMA)]))
def test_delivery_is_total(data: Any, needs: Needs) -> None:
    """Any JSON is judged without an exception, and only forced words are named."""
    assert set(undelivered(data, needs).words) <= set(needs.forced)


_KEYS = ["$ref", "$defs", "allOf", "anyOf", "items", "properties", "type", "enum", "not", "pattern", "$id", "required"]
_SCHEMAS = st.recursive(
    st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["#", "#/$defs/a", "object", "string", "^a+$", "#/properties/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*_KEYS, "a"]), inner, max_size=4),
    max_leaves=14,
)


@given(schema=st.dictionaries(st.sampled_from(_KEYS), _SCHEMAS), value=_ANY)
def test_any_schema_is_run_or_left_alone(schema: dict[str, Any], value: Any) -> None:
    """No schema makes the check raise or stall."""
    undelivered(said(content=orjson.dumps(value).decode()), schema_needs(schema))
