"""Model listings of a simulator (OpenAI, OpenRouter, Anthropic, Ollama), and Ollama's pulls as they happen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from zlib import crc32

import orjson

from routerconsole.simulator.http import LAST_CHUNK, Step, Wait, chunk, head
from routerconsole.simulator.script import Listed, Pull

_CREATED = 1_760_000_000
_WHEN = "2026-01-02T03:04:05Z"
_OLLAMA_WORDS = {"tools": "tools", "vision": "vision", "reasoning": "thinking", "embeddings": "embedding"}
_PARAMETERS = {"tools": ["tools", "tool_choice"], "json": ["response_format"], "json_schema": ["structured_outputs"]}
VERSION = "0.12.0"  # what `/api/version` says


def openai_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models`."""
    data = [{"id": e.id, "object": "model", "created": _CREATED, "owned_by": "simulator"} for e in entries]
    return {"object": "list", "data": data}


def openrouter_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` with OpenRouter's fields."""
    return {"data": [_openrouter(entry) for entry in entries]}


def _openrouter(entry: Listed) -> dict[str, object]:
    """One OpenRouter entry."""
    inputs = ["text", *(["image"] if "vision" in entry.capabilities else [])]
    free = entry.id.endswith(":free")
    parameters = [name for word in entry.capabilities for name in _PARAMETERS.get(word, [])]
    return {
        "id": entry.id,
        "name": entry.id,
        "created": _CREATED,
        "context_length": entry.context_window or 8192,
        "architecture": {"modality": "text->text", "input_modalities": inputs, "output_modalities": ["text"]},
        "pricing": {"prompt": "0" if free else "0.0000005", "completion": "0" if free else "0.0000015"},
        "top_provider": {"context_length": entry.context_window or 8192, "max_completion_tokens": 4096},
        "supported_parameters": parameters,
    }


def anthropic_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` of Anthropic."""
    data = [{"type": "model", "id": e.id, "display_name": e.id, "created_at": _WHEN} for e in entries]
    return {"data": data, "has_more": False, "first_id": None, "last_id": None}


def ollama_tags(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /api/tags`, and `/api/ps` with the same entries."""
    return {"models": [_tag(entry) for entry in entries]}


def _tag(entry: Listed) -> dict[str, object]:
    """One Ollama entry."""
    return {
        "name": entry.id,
        "model": entry.id,
        "modified_at": _WHEN,
        "size": 2_000_000_000,
        "digest": f"{crc32(entry.id.encode('utf-8', 'replace')):08x}" * 8,
        "details": {"format": "gguf", "family": "llama", "parameter_size": "3B", "quantization_level": "Q4_K_M"},
    }


def ollama_show(entry: Listed) -> dict[str, object]:
    """`POST /api/show`, with the capabilities."""
    words = ["completion", *(_OLLAMA_WORDS[word] for word in entry.capabilities if word in _OLLAMA_WORDS)]
    return {
        "modelfile": "# simulated",
        "template": "{{ .Prompt }}",
        "details": {"format": "gguf", "family": "llama", "parameter_size": "3B", "quantization_level": "Q4_K_M"},
        "model_info": {"general.architecture": "llama", "llama.context_length": entry.context_window or 8192},
        "capabilities": words,
        "modified_at": _WHEN,
    }


def pull_lines(pull: Pull, name: str) -> Iterator[tuple[dict[str, object], bool]]:
    """The progress lines of a pull, each with whether it took a step's time."""
    digest = f"sha256:{crc32(name.encode('utf-8', 'replace')):08x}"
    yield {"status": "pulling manifest"}, True
    for step in range(1, pull.steps + 1):
        if not pull.ok and step >= pull.fail_at:
            yield {"error": pull.error}, False
            return
        done = pull.total * step // pull.steps
        yield {"status": f"pulling {digest[7:19]}", "digest": digest, "total": pull.total, "completed": done}, True
    for status in ("verifying sha256 digest", "writing manifest"):
        yield {"status": status}, False
    yield {"status": "success"}, False


def pull_steps(pull: Pull, name: str) -> Iterator[Step]:
    """A streamed pull on the wire."""
    yield head(200, [("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")])
    for line, takes_time in pull_lines(pull, name):
        yield chunk(orjson.dumps(line) + b"\n")
        if takes_time:
            yield Wait(pull.step_s)
    yield LAST_CHUNK
