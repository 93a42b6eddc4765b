"""The verdicts on transport faults, timers, inner errors and whole answers."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure, FaultScope, GateReason, OutcomeClass
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing import classify
from routerconsole.routing.faults import Phase, TransportFault

CHAT = Needs(Endpoint.CHAT)


def http(status: int, body: bytes | dict[str, Any], *, needs: Needs = CHAT, **headers: str) -> Failure:
    return classify.http_failure(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body if isinstance(body, bytes) else orjson.dumps(body),
        kind=ProviderKind.OPENAI_COMPATIBLE,
        endpoint=needs.endpoint,
        needs=needs,
        wall_now=0.0,
    )


def whole(data: object, endpoint: Endpoint = Endpoint.CHAT) -> OutcomeClass | None:
    failure = classify.whole_reply(data, endpoint=endpoint, needs=Needs(endpoint))
    return failure.cls if failure else None


def said(finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}]}


# ---- statuses


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_C1_23_transient_statuses_send_the_request_on(status: int) -> None:
    """429 and 5xx are the upstream's trouble: rate or server."""
    assert http(status, b"x").cls is (OutcomeClass.RATE if status == 429 else OutcomeClass.SERVER)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_C1_23_C1_40_other_statuses_are_not_transient(status: int) -> None:
    """A client's or a setting's fault counts on no breaker."""
    failure = http(status, b"x")
    assert failure.cls not in (OutcomeClass.SERVER, OutcomeClass.RATE)
    assert not failure.effect.route
    assert not failure.provider_counts


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (402, {}, OutcomeClass.QUOTA),
        (429, {"error": {"message": "slow down"}}, OutcomeClass.RATE),
        (429, {"error": {"message": "You exceeded your quota"}}, OutcomeClass.QUOTA),
        (500, {"error": {"code": "insufficient_quota", "message": "quota"}}, OutcomeClass.SERVER),
        (500, {"error": {"message": "quota exceeded, billing"}}, OutcomeClass.SERVER),
    ],
)
def test_C1_41_quota_rate_or_neither(status: int, body: dict[str, Any], expected: OutcomeClass) -> None:
    """402 is quota, 429 is rate unless its body says quota, 500 is neither."""
    assert http(status, body).cls is expected


def test_C1_41_inner_quota_and_a_completion_about_quota() -> None:
    """A 200 whose error says insufficient_quota is quota; an answer that talks about quota is an answer."""
    assert whole({"error": {"code": "insufficient_quota", "message": "x"}}) is OutcomeClass.QUOTA
    assert whole(said(content="Your insufficient_quota error means billing.")) is None


# ---- what a client may read


def test_C1_33_message_and_detail_hold_no_secret() -> None:
    """Keys, bearer tokens, URLs and paths of an upstream stay out; a model path survives."""
    text = "bad key sk-abcdefghijklmnopqrstuv Bearer abc.def.ghi at http://10.0.0.7:8000/v1 in /srv/app/main.py"
    failure = http(400, {"error": {"message": text + " model accounts/fireworks/models/llama-v3p1-70b-instruct"}})
    assert failure.message is not None
    for leaked in ("abcdefghijklmnop", "abc.def", "10.0.0.7", "/srv/app"):
        assert leaked not in failure.message
    assert "accounts/fireworks/models/llama-v3p1-70b-instruct" in failure.message
    assert "abcdefghijklmnop" not in failure.detail


def test_C1_33_long_texts_are_cut() -> None:
    """Five hundred words do not reach a trace or a client whole."""
    failure = http(400, {"error": {"message": "word " * 500}})
    assert len(failure.detail) <= 400
    assert failure.message is not None
    assert len(failure.message) <= 500


def test_C1_34_cdn_pages_are_named_and_others_are_not() -> None:
    """A Cloudflare 1010 page is told as such; JSON naming a cloudflare model and an nginx page stay as they are."""
    page = b"<!doctype html><title>Access denied | Cloudflare</title><h1>Error 1010</h1> cloudflare browser"
    assert "1010" in http(403, page).detail
    assert "browser signature" in http(403, page).detail
    model = http(400, {"error": {"message": "no cloudflare/llama-3 today"}})
    assert model.detail == "no cloudflare/llama-3 today"
    assert "CDN" not in http(502, b"<html><h1>502 Bad Gateway</h1>nginx</html>").detail


def test_U25_html_is_never_a_public_message() -> None:
    """A proxy's page has no public message."""
    assert http(403, b"<html><body>no</body></html>").message is None


# ---- transport and timers


@pytest.mark.parametrize(
    "fault",
    [
        TransportFault.DNS,
        TransportFault.REFUSED,
        TransportFault.UNREACHABLE,
        TransportFault.CONNECT_TIMEOUT,
        TransportFault.TLS_HANDSHAKE,
        TransportFault.RESET,
        TransportFault.EOF,
        TransportFault.WRITE_FAILED,
    ],
)
def test_a_new_connection_that_fails_is_connect(fault: TransportFault) -> None:
    """Nothing received on a new connection counts on the provider."""
    failure = classify.transport_failure(fault, reused=False, any_bytes=False)
    assert failure.cls is OutcomeClass.CONNECT
    assert failure.provider_counts


@pytest.mark.parametrize("fault", [TransportFault.RESET, TransportFault.EOF, TransportFault.WRITE_FAILED])
def test_U07_a_reused_connection_that_closed_counts_nowhere(fault: TransportFault) -> None:
    """An idle connection closing under our send is neutral."""
    failure = classify.transport_failure(fault, reused=True, any_bytes=False)
    assert failure.cls is OutcomeClass.STALE_CONN
    assert not failure.provider_counts


def test_U49_certificates_and_forbidden_addresses_are_settings() -> None:
    """They fault the provider and say why."""
    for fault in (TransportFault.TLS_CERTIFICATE, TransportFault.FORBIDDEN_ADDRESS):
        failure = classify.transport_failure(fault, reused=False, any_bytes=False, detail="certificate has expired")
        assert (failure.cls, failure.scope) == (OutcomeClass.AUTH, FaultScope.PROVIDER)
        assert "expired" in failure.detail


@pytest.mark.parametrize(
    ("fault", "committed", "expected"),
    [
        (TransportFault.EOF, False, OutcomeClass.BAD_200),
        (TransportFault.RESET, False, OutcomeClass.BAD_200),
        (TransportFault.BAD_RESPONSE, False, OutcomeClass.BAD_200),
        (TransportFault.TOO_LARGE, False, OutcomeClass.BAD_200),
        (TransportFault.RESET, True, OutcomeClass.CUT),
        (TransportFault.TLS_HANDSHAKE, True, OutcomeClass.CUT),
    ],
)
def test_an_answer_that_broke_off(fault: TransportFault, committed: bool, expected: OutcomeClass) -> None:
    """A short answer is a bad answer; after the commit it is a cut."""
    assert classify.transport_failure(fault, reused=True, any_bytes=True, committed=committed).cls is expected


@pytest.mark.parametrize(
    ("phase", "zero", "full", "cls", "provider", "counted"),
    [
        (Phase.CONNECT, True, True, OutcomeClass.CONNECT, True, True),
        (Phase.FIRST_BYTE, True, True, OutcomeClass.TIMEOUT_FIRST, True, True),
        (Phase.FIRST_TOKEN, False, True, OutcomeClass.TIMEOUT_FIRST, False, True),
        (Phase.FIRST_BYTE, True, False, OutcomeClass.TIMEOUT_FIRST, False, False),
        (Phase.WHOLE, True, True, OutcomeClass.TIMEOUT_FIRST, True, True),
        (Phase.IDLE, False, True, OutcomeClass.CUT, False, True),
    ],
)
def test_C1_32_C1_40_timers_of_ours(
    *, phase: Phase, zero: bool, full: bool, cls: OutcomeClass, provider: bool, counted: bool
) -> None:
    """Our own timer is the upstream's failure, neutral where we cut it short."""
    failure = classify.timeout_failure(phase=phase, zero_bytes=zero, waited_full=full)
    assert (failure.cls, failure.provider_counts, failure.counted) == (cls, provider, counted)
    assert failure.detail


# ---- errors inside a 200


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, OutcomeClass.SERVER),
        ({"error": {"message": "boom", "type": "InternalServerError", "code": 500}}, OutcomeClass.BAD_200),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, OutcomeClass.BAD_200),
        ({"error": {"message": "quota", "code": "insufficient_quota"}}, OutcomeClass.QUOTA),
        ({"error": {"message": "slow", "code": 429}}, OutcomeClass.RATE),
        ({"error": {"message": "x", "type": "rate_limit_error"}}, OutcomeClass.RATE),
        ({"error": 'model "x" not found, try pulling it first'}, OutcomeClass.MISSING),
        ({"error": {"message": "This model's maximum context length is 5"}}, OutcomeClass.CONTEXT),
        ({"error": {"message": "x", "type": "invalid_request_error"}}, OutcomeClass.CLIENT_ERROR),
        ({"error": {"message": "x", "code": "content_filter"}}, OutcomeClass.POLICY),
        ({"error": {"message": "x", "type": "authentication_error"}}, OutcomeClass.AUTH),
        ({"error": {"message": "something"}}, OutcomeClass.BAD_200),
        ({"error": "text"}, OutcomeClass.BAD_200),
    ],
)
def test_C1_24_S23_inner_errors_are_classed_by_their_code(event: dict[str, Any], expected: OutcomeClass) -> None:
    """An inner error code is classified first; without one a 200 with an error is a bad answer."""
    assert classify.stream_error(event).cls is expected
    assert classify.stream_error(orjson.dumps(event)).cls is expected
    assert classify.inner_error(event) is not None


@pytest.mark.parametrize(
    "event",
    [{"choices": [{"delta": {"content": "hi"}}]}, {"choices": [], "error": None}, {"usage": {}}, {}, [], None, 1],
)
def test_C1_24_content_is_no_error(event: object) -> None:
    """A content delta and odd shapes are no error events."""
    assert classify.inner_error(event) is None


def test_inner_capability_refusal_names_the_word() -> None:
    """A refusal inside a 200 disproves what the request needs."""
    failure = classify.stream_error({"error": "gemma does not support tools"}, Needs(Endpoint.CHAT, (Word.TOOLS,)))
    assert (failure.cls, failure.refused) == (OutcomeClass.CAPABILITY, (Word.TOOLS,))


def test_a_rate_error_inside_a_200_sets_its_gate() -> None:
    """The hint of the body is read there too."""
    failure = classify.stream_error({"error": {"message": "Rate limit reached. Please try again in 20s", "code": 429}})
    assert (failure.gate, failure.retry_after) == (GateReason.RATE, 20.0)


# ---- whole answers


@pytest.mark.parametrize(
    "data",
    [
        {}, None, [], 5, "text", True,
        {"choices": []}, {"choices": None}, {"choices": {}}, {"choices": [None]}, {"choices": ["x"]},
        {"choices": [{}]}, {"choices": [{"message": "hi"}]}, {"choices": [{"message": {"content": 5}}]},
        {"choices": [{"message": {"content": {"a": 1}}}]}, {"choices": [{"message": {"tool_calls": {"a": 1}}}]},
        {"choices": [{"message": {"tool_calls": [1]}}]}, {"error": {"message": "x"}}, {"error": "x", "choices": []},
    ],
)  # fmt: skip
def test_C1_20_C1_21_U32_U34_bad_answers(data: object) -> None:
    """What has not the shape of a chat answer is a bad answer."""
    assert whole(data) is OutcomeClass.BAD_200


@pytest.mark.parametrize(
    "data",
    [
        said(content=""),
        said(content="   \n"),
        said(content=None),
        said(),
        said(content=[{"type": "text", "text": ""}]),
        said(content=[]),
        said(content=None, tool_calls=[]),
        said(content="", reasoning_content=""),
        said(content="", refusal=""),
    ],
)
def test_C1_20_C1_21_blank_answers(data: object) -> None:
    """An answer of the right shape that says nothing is blank."""
    assert whole(data) is OutcomeClass.BLANK


@pytest.mark.parametrize(
    "data",
    [
        said(content="hi"),
        said(content="", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{}"}}]),
        said(content=None, function_call={"name": "f", "arguments": "{}"}),
        said(content=None, refusal="no"),
        said(content=None, reasoning_content="hmm"),
        said(content=None, reasoning="hmm"),
        said(content=None, audio={"id": "a"}),
        said(content=[{"type": "text", "text": "hi"}]),
        said(content=[{"type": "new_kind", "data": 1}]),
        said("length", content=""),
        said("content_filter", content=None),
        {"choices": [said(content="")["choices"][0], said(content="x")["choices"][0]]},
        said("brand_new_reason", content="x", unknown={"a": 1}) | {"unknown": 1, "error": None},
    ],
)
def test_C1_21_U34_U35_usable_answers(data: object) -> None:
    """Calls, refusals, reasoning, parts, a second choice, truncation and unknown fields are all answers."""
    assert whole(data) is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"choices": [{"text": "hi"}]}, None),
        ({"choices": [{"text": " "}]}, OutcomeClass.BLANK),
        ({"choices": [{"text": "", "finish_reason": "length"}]}, None),
        ({"choices": [{"message": {"content": "hi"}}]}, OutcomeClass.BAD_200),
        ({"choices": [{"text": 4}]}, OutcomeClass.BAD_200),
    ],
)
def test_completions_have_their_own_shape(data: object, expected: OutcomeClass | None) -> None:
    """A completion's choice carries `text`."""
    assert whole(data, Endpoint.COMPLETIONS) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"data": [{"embedding": [0.1, 2]}]}, None),
        ({"data": [{"embedding": "AAAA"}]}, None),
        ({"data": []}, OutcomeClass.BAD_200),
        ({"data": [{"embedding": []}]}, OutcomeClass.BAD_200),
        ({"data": [{"embedding": ["a"]}]}, OutcomeClass.BAD_200),
        ({"data": [{}]}, OutcomeClass.BAD_200),
        ({"choices": [{"message": {"content": "hi"}}]}, OutcomeClass.BAD_200),
    ],
)
def test_embeddings_have_their_own_shape(data: object, expected: OutcomeClass | None) -> None:
    """An embeddings answer carries vectors of numbers or base64."""
    assert whole(data, Endpoint.EMBEDDINGS) is expected


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b""), (204, b""), (200, b"<html><title>Login</title></html>"), (200, b'{"a":'), (200, b"ok")],
)
def test_U31_U32_U39_bodies_that_are_not_json(status: int, body: bytes) -> None:
    """HTML, text, half JSON and nothing are bad answers, told without markup."""
    failure = classify.not_json(status, "text/html", body)
    assert failure.cls is OutcomeClass.BAD_200
    assert failure.detail
    assert "<" not in failure.detail


def test_S32_an_error_in_a_foreign_shape_is_still_read() -> None:
    """A body a dialect cannot decode may be an error with a code."""
    body = b'[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Please retry in 46s"}}]'
    assert classify.not_json(200, "application/json", body).cls is OutcomeClass.RATE


# ---- robustness


@given(status=st.integers(100, 599), body=st.binary(max_size=300), hint=st.text(max_size=40))
def test_classify_is_total_on_bytes(status: int, body: bytes, hint: str) -> None:
    """Any status, body and header give one failure with a sane wait."""
    failure = http(status, body, retry_after=hint)
    assert failure.cls is not OutcomeClass.OK
    assert failure.retry_after is None or 0 <= failure.retry_after <= 86_400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "choices", "delta", "content", "detail", "tool_calls"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(data=_JSON, endpoint=st.sampled_from(list(Endpoint)))
def test_whole_reply_and_errors_are_total_on_json(data: Any, endpoint: Endpoint) -> None:
    """Any JSON is judged without an exception, as an answer and as an error body."""
    classify.whole_reply(data, endpoint=endpoint, needs=Needs(endpoint))
    assert http(400, orjson.dumps(data)).cls is not OutcomeClass.OK


@pytest.mark.parametrize(
    "unit",
    [b"model ", b"retry in ", b"try again in 1", b"image input ", b"'", b"exceeds the ", b"http://", b"/a", b"1.1.1."],
)
def test_X29_megabytes_of_phrases_take_linear_time(unit: bytes) -> None:
    """No phrase pattern backtracks: a megabyte of its own words is read in well under a second."""
    body = unit * (1_000_000 // len(unit))
    began = time.thread_time()
    http(400, body, needs=Needs(Endpoint.CHAT, tuple(Word)))
    http(429, {"error": {"message": body.decode()}})
    assert time.thread_time() - began < 10.0
