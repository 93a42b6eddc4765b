"""The kinds of providers: which dialect each speaks, where it usually listens, and why one cannot be used."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from routerconsole.domain.registry import Account, Model, Provider, ProviderKind
from routerconsole.domain.request import ChatRequest, Endpoint, Origin
from routerconsole.providers.airllm import AirllmDialect
from routerconsole.providers.anthropic import AnthropicDialect, credential_problem
from routerconsole.providers.dialect import Dialect, Framing, WireRequest
from routerconsole.providers.frames import FrameParser
from routerconsole.providers.ndjson import NdjsonParser
from routerconsole.providers.ollama import OllamaDialect
from routerconsole.providers.openai import OpenAIDialect, Quirk
from routerconsole.providers.sse import SseParser


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table; `base_url` is where it is found unless configured; all of `instead` replace the extra."""

    dialect: Dialect
    base_url: str | None = None
    needs_key: bool = False
    extra: str | None = None
    instead: tuple[str, ...] = ()


_OPENAI: Final = OpenAIDialect()

KINDS: Final[Mapping[ProviderKind, Kind]] = MappingProxyType(
    {
        ProviderKind.OPENAI: Kind(_OPENAI, "https://api.openai.com/v1", needs_key=True),
        ProviderKind.OPENAI_COMPATIBLE: Kind(OpenAIDialect(curious=True)),
        ProviderKind.OLLAMA: Kind(OllamaDialect(), "http://127.0.0.1:11434"),
        ProviderKind.ANTHROPIC: Kind(AnthropicDialect(), "https://api.anthropic.com", needs_key=True),
        ProviderKind.SIMULATED: Kind(_OPENAI),
        ProviderKind.AIRLLM: Kind(AirllmDialect(), extra="airllm", instead=("torch", "transformers")),
    }
)


def dialect_of(kind: ProviderKind, quirks: frozenset[Quirk] = frozenset()) -> Dialect:
    """Return the dialect of a kind."""
    dialect = KINDS[kind].dialect
    return dialect.with_quirks(quirks) if quirks and type(dialect) is OpenAIDialect else dialect


def missing_extra(kind: ProviderKind) -> str | None:
    """Return the reason a kind lacks its optional package, or None."""
    row = KINDS[kind]
    extra = row.extra
    if extra is None or importlib.util.find_spec(extra) is not None:
        return None
    if row.instead and all(importlib.util.find_spec(name) is not None for name in row.instead):
        return None
    return f"missing_extra: {extra} (pip install 'routerconsole[{extra}]')"


def unusable(provider: Provider, account: Account) -> str | None:
    """Return why this provider cannot be used with this account, or None; the reasons of configuration come first."""
    known = provider.unavailable or account.unavailable or missing_extra(provider.kind)
    if known is not None:
        return known
    kind = KINDS[provider.kind]
    if kind.needs_key and not account.api_key:
        return "missing_secret: api_key"
    return credential_problem(account.api_key) if provider.kind is ProviderKind.ANTHROPIC else None


def frame_parser(framing: Framing) -> FrameParser:
    """Return a fresh parser for one streamed answer."""
    return NdjsonParser() if framing is Framing.NDJSON else SseParser()


def completion_probe(dialect: Dialect, model: Model) -> WireRequest:
    """Return the smallest chat request: it proves reach, key and model at the price of one token."""
    body = {"model": model.upstream_id, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    asked = ChatRequest(
        id="probe",
        endpoint=Endpoint.CHAT,
        body=body,
        size=0,
        model=model.upstream_id,
        stream=False,
        origin=Origin.PROBE,
    )
    return dialect.encode(asked, model)
