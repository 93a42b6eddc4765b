"""Model listings of a simulator, as each server writes them, and Ollama's pulls as they happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from zlib import crc32

import orjson

from routerconsole.simulator.http import LAST_CHUNK, Step, Wait, chunk, head
from routerconsole.simulator.script import Listed, Pull

_CREATED = 1_760_000_000
_WHEN = "2026-01-02T03:04:05Z"
_OLLAMA_WORDS = {"tools": "tools", "vision": "vision", "reasoning": "thinking", "embeddings": "embedding"}
_PARAMETERS = {
    "tools": ["tools", "tool_choice"],
    "json": ["response_format"],
    "json_schema": ["structured_outputs"],
    "reasoning": ["reasoning", "include_reasoning"],
}
_LITELLM = {
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "audio": "supports_audio_input",
}
VERSION = "0.12.0"  # what `/api/version` says


def openai_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models`."""
    return _owned(entries, "simulator")


def _owned(entries: Sequence[Listed], owner: str, **more: object) -> dict[str, object]:
    """A plain listing by one owner."""
    plain = {"object": "model", "created": _CREATED, "owned_by": owner}
    return {"object": "list", "data": [{"id": e.id, **plain, **more, **e.fields} for e in entries]}


def vllm_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` of vLLM: with the length it was started for."""
    rows = [{"max_model_len": e.context_window or 8192, "root": e.id, "parent": None, **e.fields} for e in entries]
    plain = {"object": "model", "created": _CREATED, "owned_by": "vllm"}
    return {"object": "list", "data": [{"id": e.id, **plain, **row} for e, row in zip(entries, rows, strict=True)]}


def llamacpp_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` of llama.cpp: the Ollama-like list beside the OpenAI one, and the model's own numbers."""
    data = []
    for e in entries:
        meta = {"n_ctx": e.context_window or 4096, "n_ctx_train": 65_536, "n_params": 457_280}
        inputs = {"input_modalities": ["text", *(["image"] if "vision" in e.capabilities else [])]}
        data.append({"id": e.id, "object": "model", "created": _CREATED, "owned_by": "llamacpp", "meta": meta,
                     "architecture": inputs, **e.fields})  # fmt: skip
    return {"object": "list", "data": data, "models": [{"name": e.id, "model": e.id} for e in entries]}


def llamacpp_props(entries: Sequence[Listed], over: Mapping[str, object]) -> dict[str, object]:
    """`GET /props`: the window of a slot, what the projector takes, what the chat template can say."""
    entry = entries[0] if entries else Listed(id="none")
    tools = "tools" in entry.capabilities
    return {
        "default_generation_settings": {"n_ctx": entry.context_window or 4096},
        "total_slots": 2,
        "model_alias": entry.id,
        "modalities": {"vision": "vision" in entry.capabilities, "audio": "audio" in entry.capabilities},
        "chat_template_caps": {"supports_tools": tools, "supports_tool_calls": tools, "supports_system_role": True},
        **over,
    }


def lmstudio_index(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` of LM Studio."""
    return _owned(entries, "organization_owner")


def lmstudio_models(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /api/v0/models` of LM Studio."""
    return {"object": "list", "data": [_lmstudio(entry) for entry in entries]}


def _lmstudio(entry: Listed) -> dict[str, object]:
    words = entry.capabilities
    kind = "embeddings" if "embeddings" in words else "vlm" if "vision" in words else "llm"
    tools = {"capabilities": ["tool_use"]} if "tools" in words else {}
    window = entry.context_window or 8192
    return {"id": entry.id, "object": "model", "type": kind, "state": "not-loaded", "max_context_length": window,
            **tools, **entry.fields}  # fmt: skip


def litellm_index(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/models` of LiteLLM: ids, all owned by OpenAI."""
    plain = {"object": "model", "created": 1_677_610_602, "owned_by": "openai"}
    return {"object": "list", "data": [{"id": entry.id, **plain} for entry in entries]}


def litellm_info(entries: Sequence[Listed]) -> dict[str, object]:
    """`GET /v1/model/info` of LiteLLM; it leaves open (null) what it does not know."""
    return {"data": [_litellm(entry) for entry in entries]}


def _litellm(entry: Listed) -> dict[str, object]:
    flags = {flag: True if word in entry.capabilities else None for word, flag in _LITELLM.items()}
    info = {"mode": "embedding" if "embeddings" in entry.capabilities else "chat",
            "max_input_tokens": entry.context_window or 8192, "max_output_tokens": 4096,
            "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, **flags, **entry.fields}  # fmt: skip
    return {"model_name": entry.id, "litellm_params": {"model": f"openai/{entry.id}"}, "model_info": info}


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
        **entry.fields,
    }


INDEXES: Mapping[str, Callable[[Sequence[Listed]], dict[str, object]]] = {
    "openai": openai_models,
    "openrouter": openrouter_models,
    "llamacpp": llamacpp_models,
    "vllm": vllm_models,
    "lmstudio": lmstudio_index,
    "litellm": litellm_index,
}
"""What `GET /v1/models` answers, by the script's `listing`."""


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
    talks = [] if "embeddings" in entry.capabilities else ["completion"]
    words = [*talks, *(_OLLAMA_WORDS[word] for word in entry.capabilities if word in _OLLAMA_WORDS)]
    return {
        "modelfile": "# simulated",
        "template": "{{ .Prompt }}",
        "details": {"format": "gguf", "family": "llama", "parameter_size": "3B", "quantization_level": "Q4_K_M"},
        "model_info": {"general.architecture": "llama", "llama.context_length": entry.context_window or 8192},
        "capabilities": words,
        "modified_at": _WHEN,
        **entry.fields,
    }


def pull_lines(pull: Pull, name: str) -> Iterator[dict[str, object] | Wait]:
    """The progress lines of a pull and the waits between them."""
    checksum = f"{crc32(name.encode('utf-8', 'replace')):08x}"
    yield {"status": "pulling manifest"}
    yield Wait(pull.step_s)
    for part in range(pull.parts):
        digest = f"sha256:{part:02x}{checksum}"
        for step in range(1, pull.steps + 1):
            if not pull.ok and step >= pull.fail_at:
                yield {"error": pull.error}
                return
            if pull.hang_at is not None and step >= pull.hang_at:
                yield Wait(None)
            done = pull.total * step // pull.steps
            yield {"status": f"pulling {digest[7:19]}", "digest": digest, "total": pull.total, "completed": done}
            yield Wait(pull.step_s)
    for status in ("verifying sha256 digest", "writing manifest", "success"):
        yield {"status": status}


def pull_steps(pull: Pull, name: str) -> Iterator[Step]:
    """A streamed pull on the wire."""
    yield head(200, [("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")])
    for line in pull_lines(pull, name):
        yield line if isinstance(line, Wait) else chunk(orjson.dumps(line) + b"\n")
    yield LAST_CHUNK
