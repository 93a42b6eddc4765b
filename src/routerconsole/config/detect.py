"""Zero configuration: which providers the environment and this machine offer. Pure; the probing is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .models import Kind, ModelSettings, ProviderSettings, Settings

_HOSTED_PRIORITY, _LOCAL_PRIORITY = 100, 10


@dataclass(frozen=True, slots=True)
class Hosted:
    """A hosted service: found by its key's variable. Only `model` joins pools: nobody is billed by surprise."""

    name: str
    variable: str
    kind: Kind
    base_url: str
    model: str


@dataclass(frozen=True, slots=True)
class Local:
    """A server on this machine: found by asking `listing`; all it lists joins pools."""

    name: str
    kind: Kind
    base_url: str
    listing: str


HOSTED: tuple[Hosted, ...] = (
    Hosted("openai", "OPENAI_API_KEY", "openai", "https://api.openai.com/v1", "gpt-4o-mini"),
    Hosted("anthropic", "ANTHROPIC_API_KEY", "anthropic", "https://api.anthropic.com", "claude-3-5-haiku-latest"),
    Hosted("openrouter", "OPENROUTER_API_KEY", "openai_compatible", "https://openrouter.ai/api/v1", "openrouter/auto"),
    Hosted("groq", "GROQ_API_KEY", "openai_compatible", "https://api.groq.com/openai/v1", "llama-3.1-8b-instant"),
    Hosted("mistral", "MISTRAL_API_KEY", "openai_compatible", "https://api.mistral.ai/v1", "mistral-small-latest"),
    Hosted("deepseek", "DEEPSEEK_API_KEY", "openai_compatible", "https://api.deepseek.com/v1", "deepseek-chat"),
    Hosted(
        "together",
        "TOGETHER_API_KEY",
        "openai_compatible",
        "https://api.together.xyz/v1",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ),
    Hosted(
        "fireworks",
        "FIREWORKS_API_KEY",
        "openai_compatible",
        "https://api.fireworks.ai/inference/v1",
        "accounts/fireworks/models/llama-v3p1-8b-instruct",
    ),
    Hosted("cerebras", "CEREBRAS_API_KEY", "openai_compatible", "https://api.cerebras.ai/v1", "llama3.1-8b"),
    Hosted("xai", "XAI_API_KEY", "openai_compatible", "https://api.x.ai/v1", "grok-3-mini"),
    Hosted(
        "gemini",
        "GEMINI_API_KEY",
        "openai_compatible",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-2.0-flash",
    ),
)
"""Defaults are each vendor's small general model as its own documentation names it; a config replaces them."""

LOCAL: tuple[Local, ...] = (
    Local("ollama", "ollama", "http://127.0.0.1:11434", "http://127.0.0.1:11434/api/tags"),
    Local("lmstudio", "openai_compatible", "http://127.0.0.1:1234/v1", "http://127.0.0.1:1234/v1/models"),
    Local("vllm", "openai_compatible", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/models"),
    Local("llamacpp", "openai_compatible", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/models"),
)


def from_answers(env: Mapping[str, str], answers: Mapping[str, list[str] | None]) -> Settings:
    """Return settings for every hosted key in `env` (a reference to it) and every local server that answered.

    `answers` has the ids a server listed by its listing URL, None where nothing of the kind answers.
    """
    found = [_local(local, ids) for local in LOCAL if (ids := answers.get(local.listing)) is not None]
    found += [_hosted(hosted) for hosted in HOSTED if _offered(hosted, env)]
    return Settings(providers=found)


def _offered(hosted: Hosted, env: Mapping[str, str]) -> bool:
    """Whether the environment has a key for this service itself.

    With OPENAI_BASE_URL set (as `routerconsole env` does) OPENAI_API_KEY opens that server, not OpenAI's: it may be our
    own client token and must not be sent there.
    """
    if hosted.variable == "OPENAI_API_KEY" and env.get("OPENAI_BASE_URL", "").strip():
        return False
    return bool(env.get(hosted.variable, "").strip())


def listed_ids(body: object) -> list[str] | None:
    """Return the model ids in an Ollama or OpenAI listing; None where the body is neither."""
    if not isinstance(body, dict):
        return None
    for key, field in (("models", "name"), ("data", "id")):
        entries = body.get(key)
        if isinstance(entries, list):
            names = (entry.get(field) for entry in entries if isinstance(entry, dict))
            return [name for name in names if isinstance(name, str) and name]
    return None


def _local(local: Local, ids: list[str]) -> ProviderSettings:
    unique = {name.casefold(): name for name in reversed(ids) if _listable(name)}
    models = [ModelSettings(id=name) for name in reversed(unique.values())]
    return ProviderSettings(
        name=local.name, kind=local.kind, base_url=local.base_url, priority=_LOCAL_PRIORITY, models=models
    )


def _listable(name: str) -> bool:
    """Whether a listed name can be a model id: a server's text is not trusted."""
    return 0 < len(name) <= 512 and name == name.strip() and name.isprintable()


def _hosted(hosted: Hosted) -> ProviderSettings:
    return ProviderSettings(
        name=hosted.name,
        kind=hosted.kind,
        base_url=hosted.base_url,
        api_key=f"env:{hosted.variable}",
        priority=_HOSTED_PRIORITY,
        models=[ModelSettings(id=hosted.model, default=True)],
    )
