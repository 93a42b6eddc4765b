"""The OpenAI dialect: everything passes, little is rewritten."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.registry import Provider, ProviderKind
from routerconsole.domain.request import Endpoint
from routerconsole.domain.secret import Secret
from routerconsole.providers.dialect import Undecodable
from routerconsole.providers.openai import OpenAIDialect, Quirk

from .asks import TOOL, USER, ask, model, sent

DIALECT = OpenAIDialect()
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(extra=st.dictionaries(st.text().filter(lambda name: name not in ("model", "stream", "messages")), JSON))
def test_a_body_arrives_equal_but_for_the_model(extra: dict[str, object]) -> None:
    """Unknown fields, odd values and all: only `model` differs."""
    request = ask(**extra)
    assert sent(DIALECT, request) == {**request.body, "model": "m:1"}


def test_usage_is_asked_for_in_streams_without_losing_other_options() -> None:
    """`include_usage` is always set in a stream, beside what the client set, and the client's body is untouched."""
    request = ask(stream=True, stream_options={"include_usage": False, "x": 1})
    assert sent(DIALECT, request)["stream_options"] == {"include_usage": True, "x": 1}
    assert request.body["stream_options"] == {"include_usage": False, "x": 1}
    assert sent(DIALECT, ask(stream=True, stream_options=None))["stream_options"] == {"include_usage": True}
    assert sent(DIALECT, ask(stream=True, stream_options="odd"))["stream_options"] == "odd"
    assert "stream_options" not in sent(DIALECT, ask(stream=False))


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        (Endpoint.CHAT, "/chat/completions"),
        (Endpoint.COMPLETIONS, "/completions"),
        (Endpoint.EMBEDDINGS, "/embeddings"),
    ],
)
def test_each_endpoint_has_its_path(endpoint: Endpoint, path: str) -> None:
    """The path is the endpoint's."""
    assert DIALECT.encode(ask(endpoint, input="x"), model()).path == path


@pytest.mark.parametrize(
    ("base", "full"),
    [
        ("http://h:1", "http://h:1/v1/models"),
        ("http://h:1/", "http://h:1/v1/models"),
        ("http://h/v1", "http://h/v1/models"),
        ("http://h/v1/", "http://h/v1/models"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/models"),
        ("https://h/proxy", "https://h/proxy/models"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/models"),
    ],
)
def test_an_empty_base_path_means_v1(base: str, full: str) -> None:
    """The path is appended to the base; an empty one gets `/v1`."""
    assert DIALECT.url(Provider("p", ProviderKind.OPENAI, base), "/models") == full


def test_the_reply_is_the_upstreams_own_bytes() -> None:
    """A whole answer is parsed once and handed on unchanged."""
    body = b'{ "id":"x", "choices":[ ], "vendor":{"n":1e2} }'
    reply = DIALECT.decode(ask(), body)
    assert reply.raw == body
    assert reply.data["vendor"] == {"n": 100.0}
    assert DIALECT.decode(ask(), b"\xef\xbb\xbf{}").data == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b'{"a":',
        b"\xff\xfe{",
        b"NaN",
        b'{"a":Infinity}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":"\xff"}',
    ],
)
def test_U43_what_is_not_strict_json_is_undecodable(body: bytes) -> None:
    """HTML, halves, NaN, extreme depth and bad UTF-8 raise, and quickly."""
    with pytest.raises(Undecodable):
        DIALECT.decode(ask(), body)


def test_events_pass_as_they_are() -> None:
    """Stream events are not re-serialised; `[DONE]` is one of them."""
    decoder = DIALECT.stream_decoder(ask(stream=True))
    for event in (b'{ "choices":[{"delta":{"content":"a\xe2\x80\xa8"}}] }', b"[DONE]"):
        assert decoder.decode_delta(event, None) == [event]
    assert decoder.finish() == []


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (b'{"object":"error","message":"boom","type":"BadRequestError","code":400}', None),
        (b'{"object": "error", "message": "boom"}', None),
        (b'{"message":"boom"}', b"error"),
        (b'{"error":{"message":"boom"}}', b"error"),
        (b'"boom"', b"error"),
    ],
)
def test_S23_errors_of_vllm_become_error_objects(event: bytes, name: bytes | None) -> None:
    """However a server writes an in-band error, it comes out under `error`."""
    (chunk,) = DIALECT.stream_decoder(ask(stream=True)).decode_delta(event, name)
    assert orjson.loads(chunk)["error"]["message"] == "boom"


def test_a_bare_error_body_becomes_an_error_object() -> None:
    """The same for a whole answer with status 200."""
    reply = DIALECT.decode(ask(), b'{"object":"error","message":"boom","code":40303}')
    assert reply.data["error"]["message"] == "boom"
    assert orjson.loads(reply.raw) == reply.data


def test_S27_tool_call_deltas_are_byte_identical() -> None:
    """Three interleaved calls pass untouched."""
    decoder = DIALECT.stream_decoder(ask(stream=True, tools=[TOOL]))
    events = [
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":%d,"function":{"arguments":"{\\"a\\": %d"}}]}}]}'
        % (n, n)
        for n in (0, 1, 2, 1, 0)
    ]
    assert [chunk for event in events for chunk in decoder.decode_delta(event, None)] == events


def test_the_llama_cpp_python_quirk_is_found_and_served() -> None:
    """A server whose listing says `owned_by: "me"` gets an empty string where it chokes on null, others the null."""
    history = [USER, {"role": "assistant", "content": None, "tool_calls": []}, {"role": "user", "content": None}]
    listing = b'{"object":"list","data":[{"id":"model.gguf","object":"model","owned_by":"me"}]}'
    assert DIALECT.decode_listing(listing).quirks == {Quirk.EMPTY_FOR_NULL}
    messages = sent(DIALECT.with_quirks(frozenset({Quirk.EMPTY_FOR_NULL})), ask(messages=history))["messages"]
    assert [message["content"] for message in messages] == ["hello", "", None]
    assert sent(DIALECT, ask(messages=history))["messages"] == history
    assert DIALECT.decode_listing(b'{"data":[{"id":"x","owned_by":"openai"}]}').quirks == frozenset()


def test_the_key_goes_into_a_bearer_header() -> None:
    """With a key one header, without none."""
    assert DIALECT.auth_headers(Secret("sk-1")) == (("authorization", "Bearer sk-1"),)
    assert DIALECT.auth_headers(None) == ()


def test_a_listing_gives_its_ids_and_drops_what_is_none() -> None:
    """Odd entries are left out; what is no listing raises."""
    body = orjson.dumps(
        {
            "data": [
                {"id": "a"},
                {"id": "b/c:free"},
                {"id": 5},
                {},
                "x",
                {"id": "a"},
                {"id": "e\x1b[2J"},
                {"id": "x" * 999},
            ]
        }
    )
    assert list(DIALECT.decode_listing(body).models) == ["a", "b/c:free"]
    for bad in (b"[]", b'{"data":{}}', b"<html>", b"null"):
        with pytest.raises(Undecodable):
            DIALECT.decode_listing(bad)
