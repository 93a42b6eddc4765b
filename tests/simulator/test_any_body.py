"""Whatever JSON a client sends, a simulated model answers: the router under test must never see the simulator break."""

from __future__ import annotations

from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.simulator import Behaviour
from routerconsole.simulator.http import Request
from routerconsole.simulator.replies import Context, model_steps

_ROUTES = ("/chat/completions", "/completions", "/embeddings", "/messages", "/api/chat", "/api/generate", "/api/embed")
_KEYS = st.sampled_from(
    [
        "model", "messages", "role", "content", "type", "text", "image_url", "tools", "tool_choice", "function", "name",
        "parameters", "properties", "items", "anyOf", "minItems", "minLength", "maximum", "minimum", "multipleOf",
        "response_format", "json_schema", "schema", "format", "stream", "stream_options", "n", "max_tokens", "input",
        "enum", "prompt", "system", "thinking", "options", "images", "$ref",
    ]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)
_BODIES = st.dictionaries(_KEYS, _JSON, max_size=8)


@pytest.mark.parametrize("route", _ROUTES)
@given(body=_BODIES, stream=st.booleans(), tools=st.sampled_from(["obey", "always"]))
def test_any_object_is_answered(route: str, body: dict[str, object], stream: bool, tools: str) -> None:
    """A reply is made to the end for any values under the known keys, whole and streamed."""
    raw = orjson.dumps({**body, "stream": stream}, option=orjson.OPT_NON_STR_KEYS)
    context = Context(
        request=Request("POST", "/v1" + route, [], raw, "peer", False),
        path="/v1" + route,
        body=orjson.loads(raw),
        model="m",
        n=1,
        turn=1,
        behaviour=Behaviour(tools=tools, tool_calls=2),  # type: ignore[arg-type] - one of the literals
        seed=1,
        rng=Random(1),
    )
    steps = list(model_steps(context, route))
    assert isinstance(steps[0], bytes)
    assert steps[0].startswith(b"HTTP/1.1 200 ")
