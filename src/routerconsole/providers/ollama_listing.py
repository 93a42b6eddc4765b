"""Ollama's lists: `/api/tags` names the installed models, `/api/show` says what each can do and how much it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from routerconsole.domain.capability import Tri, Word
from routerconsole.domain.fingerprint import fingerprint
from routerconsole.domain.listing import ListedModel
from routerconsole.providers import listing
from routerconsole.providers.dialect import Detail, Page, WireRequest
from routerconsole.providers.listing import Object

MAX_DETAILS: Final = 500
"""Models asked about one by one; nobody has so many installed, and a hostile list must not keep us busy."""
_WORDS: Final = {
    "completion": Word.TEXT,
    "tools": Word.TOOLS,
    "vision": Word.VISION,
    "embedding": Word.EMBEDDINGS,
    "thinking": Word.REASONING,
}
"""Ollama's words; its list is all the model can do, so what it leaves out the model has not."""
_MORE: Final = {"audio": Word.AUDIO, "insert": "generation.text-generation.text-completion"}
"""Words that only some versions say, or that say less than the model can: their absence means nothing."""
_FAMILIES: Final = {"clip": Word.VISION, "mllama": Word.VISION, "bert": Word.EMBEDDINGS, "nomic-bert": Word.EMBEDDINGS}
"""Versions without `capabilities` name the families of a model's parts."""


def decode(data: Any) -> Page:
    """Return the page of `/api/tags`, with a question for each model; raise Undecodable."""
    found = listing.entries(data, "models", "model", "name")
    models = [_model(id_, entry) for id_, entry in found.rows.items()]
    asked = [WireRequest("POST", "/api/show", orjson.dumps({"model": model.id})) for model in models[:MAX_DETAILS]]
    details = tuple(Detail(wire, model.id) for wire, model in zip(asked, models, strict=False))
    return found.page(models, details=details)


def decode_detail(detail: Detail, data: Any, known: Mapping[str, ListedModel]) -> list[ListedModel]:
    """Return the model an `/api/show` answer is about, with what it says."""
    shown, model = listing.objects(data), known.get(detail.model or "")
    if model is None or not shown:
        return []
    told = shown.get("capabilities")
    capabilities = dict(model.capabilities)
    if isinstance(told, list):
        words = listing.words(told)
        capabilities = listing.said(
            [
                *((word, name in words) for name, word in _WORDS.items()),
                *((word, True) for name, word in _MORE.items() if name in words),
            ]
        )
    return [replace(model, capabilities=capabilities, context_window=_window(shown))]


def _model(id_: str, entry: Object) -> ListedModel:
    details = listing.objects(entry.get("details"))
    families = listing.words(details.get("families")) | listing.words([details.get("family")])
    capabilities: dict[str, Tri] = {}
    for family, word in _FAMILIES.items():
        if family in families:
            capabilities |= listing.said([(word, True)])
    parts = (listing.shown(details.get(name), 40) for name in ("parameter_size", "quantization_level", "format"))
    return ListedModel(
        id_,
        capabilities,
        description=" ".join(part for part in parts if part) or None,
        fingerprint=fingerprint({"digest": [listing.shown(entry.get("digest"), 80) or ""]}) or None,
    )


def _window(shown: Object) -> int | None:
    """The context length of the model's own architecture, else of whatever part names one."""
    info = listing.objects(shown.get("model_info"))
    architecture = info.get("general.architecture")
    lengths = [value for name, value in info.items() if name.endswith(".context_length")]
    return listing.tokens(info.get(f"{architecture}.context_length"), *lengths)
