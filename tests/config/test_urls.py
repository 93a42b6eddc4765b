"""The base_url rule."""

from __future__ import annotations

import pytest

from routerconsole.config.urls import normalise_base_url


@pytest.mark.parametrize(
    ("raw", "kind", "normal"),
    [
        ("http://127.0.0.1:8000", "openai_compatible", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "openai_compatible", "http://127.0.0.1:8000/v1"),
        ("HTTP://Example.COM/v1/", "openai_compatible", "http://example.com/v1"),
        ("https://api.groq.com/openai/v1", "openai_compatible", "https://api.groq.com/openai/v1"),
        ("http://h/api//", "openai", "http://h/api"),
        ("http://h:11434/", "ollama", "http://h:11434"),
        ("http://h:11434/v1", "ollama", "http://h:11434"),
        ("https://api.anthropic.com/v1/", "anthropic", "https://api.anthropic.com"),
        ("http://[::1]:80", "openai", "http://[::1]:80/v1"),
        ("http://10.1.2.3", "openai", "http://10.1.2.3/v1"),
        ("http://my_host.internal", "openai", "http://my_host.internal/v1"),
    ],
)
def test_G13_urls_are_normalised(raw: str, kind: str, normal: str) -> None:
    """Case, trailing slashes and the dialect's own path are put right; private hosts are fine."""
    assert normalise_base_url(raw, kind) == normal


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ("ftp://h", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("h:8000", "scheme"),
        ("//h", "scheme"),
        ("http:h", "scheme"),
        ("http://", "host"),
        ("http://user:hunter2@h", "user or password"),
        ("http://hunter2@h", "user or password"),
        ("http://h?key=hunter2", "query"),
        ("http://h#f", "query"),
        ("http://h/?", "query"),
        ("http://a b", "spaces"),
        (" http://h", "spaces"),
        ("http://h\n", "spaces"),
        ("http://h\\x", "backslash"),
        ("http://h:99999", "port"),
        ("http://h:0", "port"),
        ("http://h:", "port"),
        ("http://h:x", "port"),
        ("http://bücher.example", "xn--bcher-kva.example"),
        ("http://h/../x", "path"),
        ("http://h/%2e%2e/x", "path"),
        ("http://h/v1/chat/completions", "appends"),
        ("http://[::1", "URL"),
        ("http://a..b", "host"),
        ("http://%31", "host"),
        ("", "empty"),
    ],
)
def test_G13_bad_urls_are_refused_without_repeating_them(raw: str, word: str) -> None:
    """Each is named for what is wrong, and no part that may be a password is shown."""
    with pytest.raises(ValueError, match=word) as caught:
        normalise_base_url(raw, "openai_compatible")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0251.0376.0251.0376",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.43518",
        "169.16689662",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[::169.254.169.254]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "100.100.100.200",
        "00000000000000000000000251.0376.0251.0376",
    ],
)
def test_X08_metadata_and_link_local_are_refused_in_every_spelling(host: str) -> None:
    """However the address is written, it is an error at load."""
    with pytest.raises(ValueError, match=r"metadata|link-local"):
        normalise_base_url(f"http://{host}/", "openai_compatible")
