"""Model lists of the OpenAI dialect: each server adds fields of its own, and what they say is read here.

OpenRouter (parameters, modalities, prices per token), vLLM (max_model_len), llama.cpp (meta, and /props), LM Studio
(/api/v0/models), LiteLLM (/model/info), and the context lengths hosted services write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from routerconsole.domain.capability import NODE_OF, Tri, Word
from routerconsole.domain.fingerprint import fingerprint
from routerconsole.domain.listing import ListedModel, base_of
from routerconsole.providers import listing
from routerconsole.providers.dialect import Detail, Page, Undecodable, WireRequest
from routerconsole.providers.listing import Object

EMPTY_FOR_NULL: Final = "empty_for_null"
PROPS, LMSTUDIO, LITELLM = "/props", "/api/v0/models", "/model/info"
AT_ROOT: Final = frozenset({PROPS, LMSTUDIO})
"""Paths that stand beside `/v1`, not below it."""
_LITELLM_OWNERS: Final = frozenset({"openai", "litellm", ""})
_MODALITIES: Final = {"image": Word.VISION, "audio": Word.AUDIO, "video": Word.VIDEO}
_FLAGS: Final = {
    "supports_function_calling": Word.TOOLS,
    "supports_vision": Word.VISION,
    "supports_audio_input": Word.AUDIO,
    "supports_response_schema": Word.JSON_SCHEMA,
    "supports_reasoning": Word.REASONING,
    "supports_system_messages": Word.SYSTEM,
}
"""LiteLLM's flags; null says nothing.

Of parallel calls no listing is believed: it is a child of tools, whose yes would stand against everybody's no to tools.
"""
_MISTRAL_FLAGS: Final = {"function_calling": Word.TOOLS, "vision": Word.VISION, "completion_chat": Word.TEXT}


def decode(data: Any, *, ask: bool) -> Page:
    """Return the page of a listing; `ask` lets it name further questions. Raise Undecodable."""
    found = listing.entries(data, "data", "id")
    models = {id_: _model(id_, entry) for id_, entry in found.rows.items()}
    owners = {entry.get("owned_by") or "" for entry in found.rows.values() if _is_text(entry.get("owned_by"))}
    more = isinstance(data, dict) and data.get("has_more") is True
    return found.page(
        models.values(),
        more=more,
        quirks=frozenset({EMPTY_FOR_NULL}) if "me" in owners else frozenset(),
        details=_details(models, owners) if ask else (),
    )


def decode_detail(detail: Detail, data: Any, known: Mapping[str, ListedModel]) -> list[ListedModel]:
    """Return the models an answer says more of; raise Undecodable."""
    match detail.wire.path:
        case path if path == PROPS:
            return [_with_props(model, listing.objects(data))] if (model := known.get(detail.model or "")) else []
        case path if path == LMSTUDIO:
            rows = listing.entries(data, "data", "id").rows
            return [_with_lmstudio(known[id_], entry) for id_, entry in rows.items() if id_ in known]
        case path if path == LITELLM:
            return [*_with_litellm(listing.entries(data, "data", "model_name").rows, known)]
    raise Undecodable("nothing of the kind was asked")


def _details(models: Mapping[str, ListedModel], owners: set[str]) -> tuple[Detail, ...]:
    """What else a server of this kind can tell. Of llama.cpp's many models only a single one: to ask would load it."""
    if not models:
        return ()
    if owners == {"llamacpp"}:
        return (Detail(WireRequest("GET", PROPS, b""), next(iter(models))),) if len(models) == 1 else ()
    if "organization_owner" in owners:
        return (Detail(WireRequest("GET", LMSTUDIO, b"")),)
    if owners <= _LITELLM_OWNERS and all(model.bare for model in models.values()):
        return (Detail(WireRequest("GET", LITELLM, b"")),)
    return ()


def _model(id_: str, entry: Object) -> ListedModel:
    meta, top = listing.objects(entry.get("meta")), listing.objects(entry.get("top_provider"))
    pricing = listing.objects(entry.get("pricing"))
    # Together writes its prices per million, and numbers, where OpenRouter writes them per token, as text
    price_in = listing.usd_per_mtok(pricing.get("prompt")) if "prompt" in pricing else None
    price_out = listing.usd_per_mtok(pricing.get("completion")) if "completion" in pricing else None
    name = listing.shown(entry.get("name"))
    return ListedModel(
        id=id_,
        capabilities=_capabilities(id_, entry),
        context_window=listing.tokens(
            meta.get("n_ctx"),
            entry.get("max_model_len"),
            entry.get("context_length"),
            entry.get("context_window"),
            entry.get("loaded_context_length"),
            entry.get("max_context_length"),
            top.get("context_length"),
            meta.get("n_ctx_train"),
        ),
        max_output_tokens=listing.tokens(
            top.get("max_completion_tokens"), entry.get("max_completion_tokens"), entry.get("max_output_tokens")
        ),
        usd_per_mtok_in=price_in,
        usd_per_mtok_out=price_out,
        free=listing.is_free(price_in, price_out),
        display=None if name == id_ else name,
        description=listing.prose(entry.get("description")),
    )


def _capabilities(id_: str, entry: Object) -> dict[str, Tri]:
    """What an entry says; what it leaves out is unknown, but a variant's listing is all there is to say of it."""
    found: dict[str, Tri] = {}
    architecture = listing.objects(entry.get("architecture"))
    asked = entry.get("supported_parameters")
    inputs, outputs = architecture.get("input_modalities"), architecture.get("output_modalities")
    own = base_of(id_) is not None
    if isinstance(asked, list):
        parameters = listing.words(asked)
        json = bool(parameters & {"structured_outputs", "response_format"})
        pairs = [
            (Word.TOOLS, "tools" in parameters),
            (Word.REASONING, bool(parameters & {"reasoning", "include_reasoning"})),
            (Word.JSON, json),
            (Word.JSON_SCHEMA, "structured_outputs" in parameters),
        ]
        found |= listing.said((word, value or (False if own else None)) for word, value in pairs)
    if isinstance(inputs, list):
        given = listing.words(inputs)
        found |= listing.said((word, name in given or (False if own else None)) for name, word in _MODALITIES.items())
    if isinstance(outputs, list) and outputs:
        made = listing.words(outputs)
        found |= listing.said([(Word.TEXT, "text" in made)])
        if "embeddings" in made or "embedding" in made:
            found |= listing.said([(Word.EMBEDDINGS, True)])
    found |= _typed(entry)
    return found | listing.said(listing.flags(listing.objects(entry.get("capabilities")), _MISTRAL_FLAGS))


def _typed(entry: Object) -> dict[str, Tri]:
    """LM Studio's type, and its list of capabilities."""
    kind = entry.get("type")
    found: dict[str, Tri] = {}
    if kind in ("embeddings", "embedding"):
        found |= listing.said([(Word.EMBEDDINGS, True), (Word.TEXT, False)])
    elif kind == "vlm":
        found |= listing.said([(Word.TEXT, True), (Word.VISION, True)])
    elif kind == "llm":
        found |= listing.said([(Word.TEXT, True), (Word.VISION, False)])
    told = entry.get("capabilities")
    if isinstance(told, list) and "tool_use" in listing.words(told):
        found |= listing.said([(Word.TOOLS, True)])
    return found


def _with_props(model: ListedModel, props: Object) -> ListedModel:
    """llama.cpp: the window of one slot, what the projector takes, and what the chat template can say."""
    caps, modalities = listing.objects(props.get("chat_template_caps")), listing.objects(props.get("modalities"))
    tools = caps.get("supports_tool_calls", caps.get("supports_tools"))
    found = listing.said(
        (
            (Word.TOOLS, tools if isinstance(tools, bool) else None),
            (Word.SYSTEM, True if caps.get("supports_system_role") is True else None),
            *listing.flags(modalities, {"vision": Word.VISION, "audio": Word.AUDIO, "video": Word.VIDEO}),
        )
    )
    settings = listing.objects(props.get("default_generation_settings"))
    window = listing.tokens(settings.get("n_ctx")) or model.context_window
    return replace(
        model,
        capabilities={**model.capabilities, **found},
        context_window=window,
        fingerprint=_loaded(props) or model.fingerprint,
    )


def _loaded(props: Object) -> str | None:
    """What a llama.cpp server has loaded: its build, and a digest of the file's name, its kind and the template."""
    said = [str(props.get(name) or "") for name in ("model_path", "model_ftype", "chat_template")]
    digest = hashlib.sha256("\0".join(said).encode("utf-8", "backslashreplace")).hexdigest()[:12] if any(said) else ""
    return fingerprint({"build": [listing.shown(props.get("build_info"), 80) or ""], "loaded": [digest]}) or None


def _with_lmstudio(model: ListedModel, entry: Object) -> ListedModel:
    window = listing.tokens(entry.get("loaded_context_length"), entry.get("max_context_length"))
    capabilities = {**model.capabilities, **_typed(entry)}
    return replace(model, capabilities=capabilities, context_window=window or model.context_window)


def _with_litellm(rows: Mapping[str, Object], known: Mapping[str, ListedModel]) -> Iterator[ListedModel]:
    for name, row in rows.items():
        info = listing.objects(row.get("model_info"))
        if name not in known or not info:
            continue
        price_in = listing.usd_per_mtok(info.get("input_cost_per_token"))
        price_out = listing.usd_per_mtok(info.get("output_cost_per_token"))
        found = listing.said(listing.flags(info, _FLAGS))
        mode = info.get("mode")
        if mode == "embedding":
            found |= listing.said([(Word.EMBEDDINGS, True), (Word.TEXT, False)])
        elif mode in ("chat", "completion", "responses"):
            found[NODE_OF[Word.TEXT]] = Tri.YES
        yield replace(
            known[name],
            capabilities={**known[name].capabilities, **found},
            context_window=listing.tokens(info.get("max_input_tokens"), info.get("max_tokens")),
            max_output_tokens=listing.tokens(info.get("max_output_tokens")),
            usd_per_mtok_in=price_in,
            usd_per_mtok_out=price_out,
            free=listing.is_free(price_in, price_out),
        )


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)
