"""What a simulated model says is valid where it should be, and the same for the same seed."""

from __future__ import annotations

import json
from random import Random

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.simulator import Behaviour, Delay, lognormal, uniform
from routerconsole.simulator.behaviour import Spread, sample
from routerconsole.simulator.bodies import BODIES, named
from routerconsole.simulator.content import Ask, instance, make_answer, pieces_of, words

_LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 30},
        {"type": "string", "maxLength": 3},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "minimum": 5},
        {"type": "integer", "exclusiveMinimum": 5, "multipleOf": 4},
        {"type": "number", "maximum": -2, "minimum": -3},
        {"type": "boolean"},
        {"type": "null"},
        {"type": ["string", "null"]},
        {"enum": ["a", "b"]},
        {"const": 5},
        {"$ref": "#/$defs/leaf"},
    ]
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "minItems": 2}, inner),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
            st.dictionaries(st.text(max_size=5), inner, max_size=4),
        ),
    ),
    max_leaves=8,
)


@given(_SCHEMAS)
def test_an_instance_satisfies_its_schema(schema: dict[str, object]) -> None:
    """Objects, arrays, scalars with bounds, options and local references give a valid instance."""
    whole = {"$defs": {"leaf": {"type": "integer", "maximum": 0}}, **schema}
    jsonschema_rs.validator_for(whole).validate(instance(whole))


def test_a_recursive_schema_ends() -> None:
    """A schema that contains itself gives an instance in the end."""
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert json.dumps(instance(schema))


@pytest.mark.parametrize("schema", [None, 5, [], {"$ref": "#/nowhere"}, {"type": "unheard-of"}, {"type": []}])
def test_what_is_no_schema_gives_null(schema: object) -> None:
    """Nonsense gives null, never an error."""
    assert instance(schema) is None


@given(st.text())
def test_pieces_add_up_to_the_text(text: str) -> None:
    """Cutting a text into deltas loses nothing."""
    assert "".join(pieces_of(text)) == text
    assert all(pieces_of(text))


def test_answers_depend_on_seed_model_and_prompt_only() -> None:
    """The same three give the same words, another one gives others."""
    ask = Ask(model="m", prompt="hello")
    first = make_answer(ask, Behaviour(), seed=1, n=1).text
    assert make_answer(ask, Behaviour(), seed=1, n=9).text == first
    assert make_answer(Ask(model="m", prompt="hullo"), Behaviour(), seed=1, n=1).text != first
    assert make_answer(ask, Behaviour(), seed=2, n=1).text != first
    assert words(0, 1) == []


@pytest.mark.parametrize("delay", [Delay(0.5), uniform(0.1, 0.9), lognormal(0.5, 0.3), 0.5])
def test_delays_are_seeded_and_centred(delay: Delay | float) -> None:
    """The same dice give the same delays; their median is where it was put; none is negative."""
    first, second = ([sample(delay, rng) for _ in range(2001)] for rng in (Random(3), Random(3)))
    assert first == second
    assert min(first) >= 0
    assert sorted(first)[1000] == pytest.approx(0.5, rel=0.15)
    assert Delay(-1.0).sample(Random(1)) == 0.0
    assert Delay(0.0, 1.0, Spread.LOGNORMAL).sample(Random(1)) == 0.0


def test_every_named_body_is_what_it_says() -> None:
    """JSON bodies parse; every name has a sensible status; an unknown name is sent as the text itself."""
    for name, body in BODIES.items():
        assert 200 <= body.status < 600, name
        if body.content_type == "application/json":
            assert "error" in json.loads(body.body), name
    assert named("something else", 418).body == b"something else"
    assert named('{"error": 1}', 418).content_type == "application/json"
    assert named("openai_quota", 400).status == 400
    assert named(None, 503).status == 503
