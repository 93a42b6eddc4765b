"""What a request needs, and which bodies never reach routing."""

from __future__ import annotations

import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import NODE_OF, CapabilityTree, Word
from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.request import ChatRequest, Endpoint, Hints, Needs
from routerconsole.routing.needs import IMAGE_TOKENS, VIDEO_TOKENS, needs_of, validate

TREE = CapabilityTree()
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
PNG = "data:image/png;base64,AAAA"


def request(body: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT, hints: Hints | None = None) -> ChatRequest:
    return ChatRequest(
        id="r1",
        endpoint=endpoint,
        body=body,
        size=100,
        model=None,
        stream=body.get("stream") is True,
        hints=hints or Hints(),
    )


def needs(endpoint: Endpoint = Endpoint.CHAT, **body: Any) -> Needs:
    full = {"messages": HI, **body} if endpoint is Endpoint.CHAT else body
    return needs_of(request(full, endpoint), TREE)


def rejected(body: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        validate(body, endpoint)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.status == 400
    return caught.value


def image(url: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": url}]}]


# ---- words


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        ("required", True),
        ("any", True),
        ({"type": "function", "function": {"name": "f"}}, True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}, True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, False),
        ("auto", False),
        ("none", False),
        (None, False),
    ],
)
def test_C1_01_C1_06_when_tools_are_forced(choice: Any, forced: bool) -> None:
    """`required` and a named function force a call; auto, none and absent do not; tools are needed either way."""
    found = needs(tools=[TOOL], tool_choice=choice)
    assert found.needed == (Word.TOOLS,)
    assert found.forced == ((Word.TOOLS,) if forced else ())


def test_C1_01_required_without_tools_forces_nothing() -> None:
    """There is nothing to call."""
    assert needs(tool_choice="required").forced == ()
    assert needs(tools=[], tool_choice="required").needed == ()


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    ],
)
def test_C1_01_the_named_function_is_kept(body: dict[str, Any]) -> None:
    """Every way to name a function is read, the legacy one too."""
    found = needs(**body)
    assert found.named_tool == "f"
    assert found.forced == (Word.TOOLS,)


@pytest.mark.parametrize("kind", ["image_url", "input_image"])
def test_C1_03_C1_06_an_image_part_needs_vision(kind: str) -> None:
    """Only a part makes a vision request."""
    found = needs(messages=[{"role": "user", "content": [{"type": kind, "image_url": {"url": PNG}}]}])
    assert found.needed == (Word.VISION,)


@pytest.mark.parametrize(
    "content",
    [
        "rename logo.png please",
        "what is in this image? data:image/png;base64,AAAA",
        [{"type": "text", "text": "a.png"}],
    ],
)
def test_C1_03_prose_and_file_names_need_nothing(content: Any) -> None:
    """Words in prose prove no need."""
    assert needs(messages=[{"role": "user", "content": content}]).needed == ()


def test_C1_06_a_plain_request_needs_nothing() -> None:
    """No extra field, no need."""
    assert (needs().needed, needs().forced) == ((), ())


def test_the_other_words() -> None:
    """Audio, reasoning, parallel tools, system, streaming and embeddings each have one sign."""
    audio = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]
    assert needs(messages=audio).needed == (Word.AUDIO,)
    assert needs(reasoning_effort="low").needed == (Word.REASONING,)
    assert needs(reasoning={"effort": "high"}).needed == (Word.REASONING,)
    assert needs(reasoning_effort=None).needed == ()
    assert needs(tools=[TOOL], parallel_tool_calls=True).needed == (Word.TOOLS, Word.PARALLEL_TOOLS)
    assert needs(parallel_tool_calls=True).needed == ()
    assert needs(tools=[TOOL, TOOL]).needed == (Word.TOOLS,)
    assert needs(messages=[{"role": "system", "content": "x"}, *HI]).needed == (Word.SYSTEM,)
    assert needs(stream=True).needed == (Word.STREAMING,)
    assert needs(Endpoint.EMBEDDINGS, input="x").needed == (Word.EMBEDDINGS,)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}},
        {"type": "video_url", "video_url": "data:video/mp4;base64,AAAA"},
        {"type": "input_video", "input_video": {"data": "AAAA", "format": "mp4"}},
        {"type": "input_video", "video_url": "https://x.example/v.mp4"},
        {"type": "input_video", "file_id": "file-1"},
    ],
)
def test_C4_04_a_video_part_needs_vision_and_video(part: dict[str, object]) -> None:
    """In every shape clients send; it counts as tokens, prose about videos does not."""
    found = needs(messages=[{"role": "user", "content": [part]}])
    assert found.needed == (Word.VISION, Word.VIDEO)
    assert found.estimate_tokens >= VIDEO_TOKENS
    assert needs(messages=[{"role": "user", "content": "cut video_url clip.mp4"}]).needed == ()


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url"},
        {"type": "video_url", "video_url": {"url": "/etc/passwd"}},
        {"type": "video_url", "video_url": {"url": "file:///x.mp4"}},
        {"type": "input_video", "input_video": {"url": "clip.mp4"}},
        {"type": "input_video", "input_video": "clip.mp4"},
        {"type": "input_video"},
    ],
)
def test_a_video_part_without_a_link_or_with_a_path_is_refused(part: dict[str, object]) -> None:
    """Local files are never read."""
    with pytest.raises(RequestRejected) as caught:
        needs(messages=[{"role": "user", "content": [part]}])
    assert (caught.value.status, caught.value.code) == (400, ErrorCode.INVALID_REQUEST)


def test_response_formats() -> None:
    """The format's type decides; `text` asks for nothing; the schema is kept."""
    assert needs(response_format={"type": "text"}).needed == ()
    found = needs(response_format={"type": "json_object"})
    assert (found.needed, found.forced) == ((Word.JSON,), (Word.JSON,))
    found = needs(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}})
    assert (found.needed, found.forced) == ((Word.JSON_SCHEMA,), (Word.JSON_SCHEMA,))
    assert found.schema == {"type": "object"}


# ---- strict requirements


def test_required_words_become_nodes() -> None:
    """Words, paths and leaves of x-router-require resolve in the tree."""
    hints = Hints(require=("tools", "interaction.reasoning", "ocr"), tags=("local",))
    found = needs_of(request({"messages": HI}, hints=hints), TREE)
    assert found.required == (
        NODE_OF[Word.TOOLS],
        "interaction.reasoning",
        "understanding.vision-understanding.ocr",
    )
    assert found.tags == ("local",)


def test_an_unknown_required_word_names_the_nearest() -> None:
    """A typo is refused with a suggestion."""
    with pytest.raises(RequestRejected) as caught:
        needs_of(request({"messages": HI}, hints=Hints(require=("toolz",))), TREE)
    assert caught.value.param == "x-router-require"
    assert "toolz" in caught.value.message
    assert "tools" in caught.value.message


# ---- estimate


def test_the_estimate_counts_text_tools_arguments_and_the_output_cap() -> None:
    """About a quarter of the characters, plus the larger of the two output caps."""
    base = needs().estimate_tokens
    assert needs(messages=[{"role": "user", "content": "x" * 4002}]).estimate_tokens - base == 1000
    assert needs(max_tokens=500).estimate_tokens - base == 500
    assert needs(max_tokens=5, max_completion_tokens=700).estimate_tokens - base == 700
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "y" * 400}}
    history = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert needs(messages=history).estimate_tokens - base >= 100
    tool = {"type": "function", "function": {"name": "f", "description": "d" * 4000}}
    assert needs(tools=[tool]).estimate_tokens - base >= 1000


def test_R16_odd_caps_are_ignored_not_refused() -> None:
    """What max_tokens may be is the upstream's to judge."""
    for cap in (0, -1, "hot", None, True, 1.5):
        assert needs(max_tokens=cap, temperature="hot", n=1000).estimate_tokens == needs().estimate_tokens


def test_image_bytes_are_no_text() -> None:
    """A large data URI counts as one image."""
    small, large = needs(messages=image({"url": PNG})), needs(messages=image({"url": PNG + "A" * 400_000}))
    assert small.estimate_tokens == large.estimate_tokens
    assert large.estimate_tokens < 2 * IMAGE_TOKENS


def test_token_arrays_count_as_tokens() -> None:
    """Token ids are tokens."""
    assert needs(Endpoint.EMBEDDINGS, input=[1] * 300).estimate_tokens == 300
    assert needs(Endpoint.EMBEDDINGS, input=[[1] * 10, [2] * 10]).estimate_tokens == 20
    assert needs(Endpoint.COMPLETIONS, prompt=["abcd", "efgh"]).estimate_tokens == 2


# ---- refusals


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [*HI, None]}, "messages[1]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": 1, "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content"),
        ({"messages": HI, "stream": "true"}, "stream"),
        ({"messages": HI, "stream": 1}, "stream"),
        ({"messages": HI, "stream": 0}, "stream"),
        ({"messages": HI, "stream_options": True}, "stream_options"),
        ({"messages": HI, "tools": {}}, "tools"),
        ({"messages": HI, "tools": "x"}, "tools"),
        ({"messages": HI, "tools": ["x"]}, "tools[0]"),
        ({"messages": HI, "tool_choice": 5}, "tool_choice"),
        ({"messages": HI, "response_format": "json_object"}, "response_format"),
        ({"messages": HI, "response_format": {"type": 5}}, "response_format.type"),
        ({"messages": HI, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"messages": HI, "parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "messages[0].tool_calls[0]"),
    ],
)  # fmt: skip
def test_R11_R17_wrong_types_name_the_field(body: dict[str, Any], param: str) -> None:
    """A wrong type in a field the router reads is refused by name."""
    assert rejected(body).param == param


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "assistant", "content": None},
        {"role": "brand_new_role", "content": "x"},
        {"role": "tool", "content": "x", "tool_call_id": "nope"},
        {"role": "user", "content": [{"type": "brand_new_part", "anything": [1]}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
        {"role": "user", "content": []},
        {"role": "assistant", "tool_calls": None, "content": ""},
    ],
)
def test_R11_R12_R18_what_passes_through(message: dict[str, Any]) -> None:
    """Null content, unknown roles and unknown parts are the upstream's to judge."""
    validate({"messages": [message], "unknown": {"a": 1}}, Endpoint.CHAT)


@pytest.mark.parametrize("url", [None, {}, "", {"url": ""}, {"url": None}, {"url": 5}, 5, []])
def test_R12_an_image_part_needs_a_url(url: Any) -> None:
    """An image part that names nothing is refused."""
    assert rejected({"messages": image(url)}).param == "messages[0].content[1].image_url"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "../x.png", "C:\\x.png", "ftp://h/x", "gopher://x"]
)
def test_X11_R12_local_paths_and_odd_schemes_are_refused(url: str) -> None:
    """Paths are never read; only data and http(s) URLs are forwarded."""
    error = rejected({"messages": image({"url": url})})
    assert url not in error.message


@pytest.mark.parametrize("url", [PNG, "http://127.0.0.1/x.png", "HTTPS://example.org/x.png", "data:,x"])
def test_X11_urls_pass_through(url: str) -> None:
    """A URL is passed on, never fetched."""
    validate({"messages": image({"url": url})}, Endpoint.CHAT)


def test_R12_parts() -> None:
    """A part that is not an object, and ten thousand parts, are refused."""
    assert rejected({"messages": [{"role": "user", "content": ["x"]}]}).param == "messages[0].content[0]"
    many = [{"type": "text", "text": "x"}] * 10_000
    assert rejected({"messages": [{"role": "user", "content": many}]}).param == "messages[0].content"
    spread = [{"role": "user", "content": [{"type": "text", "text": "x"}] * 100}] * 100
    rejected({"messages": spread})


@pytest.mark.parametrize("key", ["api_base", "base_url", "api_key", "extra_headers"])
@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_R20_fields_that_would_redirect_a_request(key: str, endpoint: Endpoint) -> None:
    """They are refused on every endpoint, even when null, and their value is never echoed."""
    body = {"messages": HI, "prompt": "x", "input": "x", key: "sk-very-secret"}
    error = rejected(body, endpoint)
    assert error.param == key
    assert "sk-very" not in error.message
    rejected({**body, key: None}, endpoint)


def test_X12_image_paths_are_refused() -> None:
    """Ollama's `images` are refused at the top and in a message; the path is not echoed."""
    assert rejected({"messages": HI, "images": ["/etc/shadow"]}).param == "images"
    error = rejected({"messages": [{"role": "user", "content": "x", "images": ["/etc/shadow"]}]})
    assert error.param == "messages[0].images"
    assert "/etc/shadow" not in error.message


@pytest.mark.parametrize("name", ["", "   ", 5, True, [], {}, "x" * 10_000, "a\nb", "a\x1b[2Jb", "a\x00", "a\x9b0m"])
def test_R09_model_names_that_cannot_be(name: Any) -> None:
    """Empty, wrong, huge and control-bearing names are refused and not echoed raw."""
    error = rejected({"messages": HI, "model": name})
    assert error.param == "model"
    assert "\x1b" not in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("name", [None, "auto", "../x", "model-🦙", "\u202egpt", "a/b:c.d", "x" * 200])
def test_R09_other_names_are_for_the_resolver(name: str | None) -> None:
    """An unknown name is a 404, not a 400."""
    validate({"messages": HI, "model": name}, Endpoint.CHAT)


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        (Endpoint.EMBEDDINGS, {}, "input"),
        (Endpoint.EMBEDDINGS, {"input": None}, "input"),
        (Endpoint.EMBEDDINGS, {"input": []}, "input"),
        (Endpoint.EMBEDDINGS, {"input": 5}, "input"),
        (Endpoint.EMBEDDINGS, {"input": [None]}, "input[0]"),
        (Endpoint.COMPLETIONS, {}, "prompt"),
        (Endpoint.COMPLETIONS, {"prompt": {}}, "prompt"),
        (Endpoint.COMPLETIONS, {"prompt": [[1, "x"]]}, "prompt[0]"),
    ],
)
def test_R11_other_endpoints_name_their_field(endpoint: Endpoint, body: dict[str, Any], param: str) -> None:
    """Embeddings need `input`, completions `prompt`."""
    assert rejected(body, endpoint).param == param


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "image_url", "url", "role", "function", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_FIELDS = [
    "model", "messages", "stream", "tools", "tool_choice", "response_format", "reasoning", "max_tokens", "input",
    "prompt", "functions", "function_call", "parallel_tool_calls", "stream_options", "n",
]  # fmt: skip


@given(body=st.dictionaries(st.sampled_from(_FIELDS), _ANY), endpoint=st.sampled_from(list(Endpoint)))
def test_R23_any_body_is_read_or_refused(body: dict[str, Any], endpoint: Endpoint) -> None:
    """No JSON object makes the reader fail in any other way than a named 400."""
    named: str | None = "accepted"
    try:
        needs_of(request(body, endpoint), TREE)
    except RequestRejected as error:
        named = error.param
    assert named


def test_a_small_body_costs_microseconds() -> None:
    """The hot path stays cheap: 15 µs is the aim, the bound leaves room for a busy machine."""
    small = request({"model": "auto", "messages": [{"role": "system", "content": "s"}, *HI], "stream": True})
    best = min(timeit.repeat(lambda: needs_of(small, TREE), number=500, repeat=5)) / 500
    assert best < 60e-6
