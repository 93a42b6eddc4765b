"""The table of kinds: a dialect for each, or a reason."""

from __future__ import annotations

import importlib
from pathlib import Path

import orjson
import pytest

from routerconsole.domain.registry import Account, Provider, ProviderKind
from routerconsole.domain.secret import Secret
from routerconsole.providers.kinds import (
    KINDS,
    completion_probe,
    dialect_of,
    frame_parser,
    unusable,
)
from routerconsole.providers.ndjson import NdjsonParser
from routerconsole.providers.openai import OpenAIDialect, Quirk
from routerconsole.providers.sse import SseParser

from .asks import model

SERVED = list(ProviderKind)


def test_every_kind_is_in_the_table() -> None:
    """Nothing the configuration accepts is unknown here."""
    assert set(KINDS) == set(ProviderKind)


@pytest.mark.parametrize("kind", SERVED)
def test_a_completion_probe_costs_one_token(kind: ProviderKind) -> None:
    """The smallest request each dialect can make."""
    body = orjson.loads(completion_probe(dialect_of(kind), model()).body)
    assert body["model"] == "m:1"
    assert 1 in (body.get("max_tokens"), body.get("options", {}).get("num_predict"))


@pytest.mark.parametrize("kind", SERVED)
def test_a_stream_parser_fits_the_framing(kind: ProviderKind) -> None:
    """JSON lines for Ollama, events for the others."""
    parser = frame_parser(dialect_of(kind).framing)
    assert isinstance(parser, NdjsonParser if kind is ProviderKind.OLLAMA else SseParser)


def test_quirks_belong_to_a_server() -> None:
    """A dialect with quirks is another object than the shared one."""
    odd = dialect_of(ProviderKind.OPENAI_COMPATIBLE, frozenset({Quirk.EMPTY_FOR_NULL}))
    plain = dialect_of(ProviderKind.OPENAI_COMPATIBLE)
    assert isinstance(odd, OpenAIDialect)
    assert isinstance(plain, OpenAIDialect)
    assert (odd.quirks, plain.quirks) == ({Quirk.EMPTY_FOR_NULL}, frozenset())


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [
        (ProviderKind.AIRLLM, None, "airllm"),
        (ProviderKind.OPENAI, None, "missing_secret"),
        (ProviderKind.OPENAI, Secret(""), "missing_secret"),
        (ProviderKind.ANTHROPIC, Secret("sk-ant-oat01-canary"), "API key"),
        (ProviderKind.ANTHROPIC, Secret("sk-ant-api03"), None),
        (ProviderKind.OPENAI_COMPATIBLE, None, None),
        (ProviderKind.OLLAMA, None, None),
    ],
)
def test_an_unusable_provider_says_why(kind: ProviderKind, key: Secret | None, reason: str | None) -> None:
    """Missing extras and keys, and subscription tokens, have words of their own; no key is shown."""
    found = unusable(Provider("p", kind, "http://h"), Account(api_key=key))
    assert (found is None) is (reason is None)
    if reason is not None:
        assert found is not None
        assert reason in found
        assert "canary" not in found


def test_reasons_of_the_configuration_come_first() -> None:
    """What loading found is not hidden by what this table finds."""
    provider = Provider("p", ProviderKind.OPENAI, "http://h", unavailable="bad URL")
    assert unusable(provider, Account()) == "bad URL"
    account = Account(unavailable="missing_secret: NAME")
    assert unusable(Provider("p", ProviderKind.OPENAI, "http://h"), account) == "missing_secret: NAME"


def test_the_two_airllm_stands_on_do_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch and transformers together serve a checkpoint; either alone does not."""
    provider = Provider("p", ProviderKind.AIRLLM, "http://h")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torch", "transformers"):
        assert "airllm" in (unusable(provider, Account()) or "")
        (tmp_path / f"{name}.py").touch()
        importlib.invalidate_caches()
    assert unusable(provider, Account()) is None
