"""Secrets leave text by value and by pattern; error text becomes short and readable."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.effort import cpu

from routerconsole.domain.redact import PLACEHOLDERS, REDACTED, Redactor, scrub
from routerconsole.domain.secret import Secret

CANARY = 'canary/+="é\\ 7!x'


@pytest.mark.parametrize(
    "encoded",
    [
        CANARY,
        quote(CANARY),
        quote(CANARY, safe=""),
        quote(CANARY, safe="").lower(),
        quote_plus(CANARY),
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        json.dumps(json.dumps(CANARY))[1:-1],
        repr(CANARY),
        CANARY.encode().hex(),
        *(
            base64.b64encode(b"x" * shift + CANARY.encode() + tail).decode()
            for shift in range(4)
            for tail in (b"", b"y", b"yy")
        ),
        *(base64.urlsafe_b64encode(b"x" * shift + CANARY.encode()).decode() for shift in range(3)),
    ],
)
def test_X17_known_values_go_in_every_encoding(encoded: str) -> None:
    """Plain, URL-, JSON-escaped, hexadecimal and base64 at any alignment, standard and URL-safe."""
    text = Redactor([Secret(CANARY)]).redact(f"before {encoded} after")
    assert REDACTED in text
    assert "canary" not in text.lower()
    for piece in (CANARY[:6], base64.b64encode(CANARY.encode()).decode()[:8], CANARY.encode().hex()[:8]):
        assert piece not in text


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40),
    st.binary(max_size=4),
    st.binary(max_size=4),
)
def test_a_value_never_survives_in_base64(value: str, before: bytes, after: bytes) -> None:
    """Whatever surrounds it, the characters that depend on the value alone are gone."""
    raw = value.encode()
    text = base64.b64encode(before + raw + after).decode()
    redacted = Redactor([value]).redact(text)
    assert redacted != text or value.lower() in PLACEHOLDERS


@given(st.text(max_size=100), st.text(alphabet="abcXYZ019-_/+", min_size=9, max_size=30), st.text(max_size=100))
def test_a_value_never_survives_plain(before: str, value: str, after: str) -> None:
    """Any text around it: the value is not in the result."""
    assert value not in Redactor([value]).redact(before + value + after)


def test_a_value_inside_another_leaves_no_rest() -> None:
    """The longest value goes first."""
    assert Redactor(["secret12", "secret12-longer-part"]).redact("secret12-longer-part") == REDACTED


def test_a_value_cut_off_at_the_end_goes_too() -> None:
    """A size limit may have cut the text in the middle of a key."""
    assert "canary-va" not in Redactor(["canary-value-123456"]).redact("the key was canary-value-12")


def test_short_values_and_placeholders_do_not_mangle_text() -> None:
    """`ollama` written as a key protects nothing."""
    assert Redactor(["ollama", "abc", "EMPTY"]).redact("ollama abc empty") == "ollama abc empty"


def test_what_a_subscription_token_begins_with_may_be_named() -> None:
    """A refusal that says `[redacted]…` tells nobody what was refused; a token itself goes all the same."""
    assert scrub("tokens (sk-ant-oat…) are refused") == "tokens (sk-ant-oat…) are refused"
    for token in ("sk-ant-oat01-abcdef", "sk-ant-oat.abcdef", "sk-ant-oat-abcdef", "sk-ant-oatabcdef"):
        assert "abcdef" not in scrub(f"x {token} y")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Incorrect API key provided: sk-abc123. You can", "abc123"),
        ("Incorrect API key provided: sk-proj-ab*****wxyz.", "wxyz"),
        ("sk-ant-api03-AbC_d-9", "AbC_d"),
        ("Authorization: Bearer abc.def-123", "abc.def"),
        ("authorization: Basic dXNlcjpwYXNz", "dXNl"),
        ('{"Authorization": "Bearer xyz123"}', "xyz123"),
        ("using Bearer abcdef here", "abcdef"),
        ("api_key=hello123&x=1", "hello123"),
        ("apiKey: 'hello123'", "hello123"),
        ('{"api_key":"hello123"}', "hello123"),
        ('{\\"api_key\\": \\"hello123\\"}', "hello123"),
        ("X-API-Key: hello123", "hello123"),
        ("https://h/p?a=1&key=hello123&b=2", "hello123"),
        ("https://h/p?access_token=hello123", "hello123"),
        ("https://h/p?X-Amz-Signature=hello123", "hello123"),
        ("http://user:hello123@h/p", "hello123"),
        ("OPENAI_API_KEY=hello123", "hello123"),
        ("AWS_SECRET_ACCESS_KEY=hel/lo+123", "lo+123"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghijkl"),
        ("github_pat_11ABCDEFG0abcdefghijkl", "ABCDEFG"),
        ("gsk_abcdefghijklmnopqrstuvwx", "ghijkl"),
        ("hf_abcdefghijklmnopqrstuvwx", "ghijkl"),
        ("AIzaSyA-abcdefghijklmnopqrstuv", "ghijkl"),
        ("xoxb-1234567890-abcdef", "abcdef"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2ln"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEhello\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEhello", "MIIE"),
        ("password=hello123", "hello123"),
        ("providers.0.api_key: sk-hello123", "hello123"),
        ("providers.0.api_key=hello123", "hello123"),
        ("providers.0.api_key: 'hello123'", "hello123"),
        ("my.providers.api_key: hello123", "hello123"),
        ("see providers.0.kind; api_key: hello123", "hello123"),
        ('"client_secret": "hello123"', "hello123"),
        ("Cookie: session=hello123", "hello123"),
    ],
)
def test_C1_33_key_like_text_is_redacted(text: str, secret: str) -> None:
    """Keys of known shapes and values of key-like names go; a mark stays."""
    clean = scrub(text)
    assert secret not in clean
    assert REDACTED in clean


@pytest.mark.parametrize(
    "text",
    [
        "accounts/fireworks/models/llama-v3p1-70b-instruct not found",
        "missing_secret: OPENAI_API_KEY",
        "set api_key: env:OPENAI_API_KEY",
        "p.yaml:4: providers.0.api_key: missing_secret: NOPE_KEY (provider 'a' stays unavailable until it is set)",
        "p.yaml:9: providers.12.accounts.3.api_key: must be a text",
        "p.yaml:9: providers.0.headers.x-api-key: missing_secret: NOPE_KEY",
        "p.yaml:9: providers.0.headers.Authorization: must be a text",
        "Bearer token is invalid",
        "unexpected token: }",
        "max_tokens=4096 is too large",
        "risk-free task-runner desk-lamp",
        "The key is wrong. Check the key.",
        "maximum context length is 8192 tokens, prompt_tokens: 9000",
        "model 'llama3.1:8b' not found, try pulling it first",
        "http://127.0.0.1:11434/api/chat refused",
    ],
)
def test_C1_33_ordinary_text_survives(text: str) -> None:
    """Model paths, variable names and plain words are left alone."""
    assert scrub(text) == text


def test_C1_33_long_text_is_truncated_and_html_readable() -> None:
    """500 words become one short line; tags, scripts and styles are gone, the text stays."""
    assert len(scrub("word " * 500)) <= 300
    assert len(scrub("word " * 500, limit=50)) <= 50
    page = (
        "<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>p{}</style>"
        "<script>var x='<p>no</p>'</script></head>"
        "<body><h1>502 Bad&nbsp;Gateway</h1><!-- hidden --><p>try &amp; again</p></body></html>"
    )
    clean = scrub(page)
    assert "502 Bad Gateway" in clean
    assert "try & again" in clean
    assert not any(part in clean for part in ("<", "var x", "p{}", "hidden"))


def test_C1_34_cdn_pages_are_named_and_others_are_not() -> None:
    """Cloudflare's 1010 is said in words; JSON that mentions cloudflare and nginx pages are left as they are."""
    page = (
        "<!DOCTYPE html><html><head><title>Access denied | api.example.com used Cloudflare to restrict access"
        "</title></head><body><h1>Error 1010</h1>"
        "<p>The owner has banned your access based on your browser's signature.</p></body></html>"
    )
    for text in (page, "error code: 1010"):
        said = scrub(text)
        assert said.startswith("CDN blocked")
        assert "1010" in said
        assert "browser signature" in said
    body = '{"error": {"message": "cloudflare/llama-3 error code: 1010 is overloaded"}}'
    assert scrub(body) == body
    nginx = (
        "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center>"
        "<hr><center>nginx</center></body></html>"
    )
    assert "CDN" not in scrub(nginx)
    assert "nginx" in scrub(nginx)


@given(st.text(max_size=400), st.integers(min_value=1, max_value=100))
def test_scrubbed_text_is_one_short_printable_line(text: str, limit: int) -> None:
    """No control character, line break or overlong text comes out, whatever goes in."""
    clean = scrub(text, limit)
    assert len(clean) <= limit
    assert clean.isprintable()


HOSTILE = (
    "sk-",
    "sk-.",
    "Bearer ",
    "bearer    ",
    "eyJ",
    "eyJaaaaaaaaa.",
    "://a",
    "://a:",
    "api_key=",
    "api_key: x ",
    "providers.0.api_key: ",
    "providers.0.",
    "api_key",
    "key api ",
    "authorization:",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN A",
    "?aaaa_key=",
    "&a-",
    "token",
    'secret"   ',
    "<",
    "<script",
    "<!--",
    "cookie: ",
    " ",
    "\n",
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_X29_hostile_text_costs_linear_time(unit: str) -> None:
    """Eight times the text costs nowhere near sixty-four times the time, in processor time."""
    redactor = Redactor(["canary-value-123456"])

    def cost(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        return cpu(lambda: redactor.redact(text))

    assert cost(400_000) < max(cost(50_000), 0.001) * 24


def test_a_redactor_shows_nothing_of_what_it_knows() -> None:
    """Its repr names a number only."""
    assert "canary" not in repr(Redactor(["canary-value"]))
