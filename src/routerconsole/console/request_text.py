"""One request as text, JSON or a curl line, and as a chat body that asks for the same again. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from routerconsole.control.sample import add_needs
from routerconsole.control.wire import plain
from routerconsole.domain.visible import json_text

from .render.cells import plain as text_of
from .render.waterfall import request_detail

if TYPE_CHECKING:
    from routerconsole.control.views import RequestDetail, RequestRow

WIDTH: Final = 120
"""Columns of a copied waterfall."""
CHARS_PER_TOKEN: Final = 4
MAX_CHARS: Final = 400_000
"""Of a dry run's made-up text: a request of more than 100,000 tokens is asked about as one of that size."""
_PATHS: Final = {"completions": "completions", "embeddings": "embeddings"}
_BY_HEADER: Final = frozenset({"embeddings"})
"""Words that no chat body and no requirement can say."""


def as_text(detail: RequestDetail) -> str:
    """Return the request as it is drawn."""
    return "\n".join(text_of(line).rstrip() for line in request_detail(detail, None, WIDTH))


def as_json(detail: RequestDetail) -> str:
    """Return the request as the API gives it, indented."""
    return json_text(plain(detail), indent=2)


def as_curl(row: RequestRow, endpoint: str) -> str:
    """Return a shell line that asks for the same model and needs; the text is a placeholder, the key a variable.

    `endpoint` is the address clients use, with `/v1`.
    """
    kind = _PATHS.get(row.endpoint, "chat/completions")
    if kind == "embeddings":
        body: dict[str, Any] = {"model": row.model or "auto", "input": "Hello"}
        headers: dict[str, str] = {}
    elif kind == "completions":
        body, headers = {"model": row.model or "auto", "prompt": "Hello", "stream": row.stream}, {}
    else:
        body, headers = same_again(row, estimate_tokens=0)
    told = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items())
    key = "-H \"authorization: Bearer $OPENAI_API_KEY\" -H 'content-type: application/json'"
    parts = ("curl -sS", shlex.quote(f"{endpoint}/{kind}"), key, told, "-d", shlex.quote(json_text(body)))
    return " ".join(part for part in parts if part)


def same_again(row: RequestRow, *, estimate_tokens: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a chat body and hint headers that ask for the same model, needs, agent and size."""
    text = "x" * min(estimate_tokens * CHARS_PER_TOKEN, MAX_CHARS) or "Hello"
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    headers: dict[str, str] = {}
    if row.model is not None:
        body["model"] = row.model
    if row.agent is not None and _header_safe(row.agent):
        headers["x-router-agent"] = row.agent
    wanted = [word for word in dict.fromkeys((*row.needed, *row.forced)) if _header_safe(word)]
    if row.stream:
        body["stream"] = True
    required = [word for word in add_needs(body, wanted) if word not in _BY_HEADER]
    if "tools" in row.forced:
        body["tool_choice"] = "required"
    if required:
        headers["x-router-require"] = ",".join(required)
    return body, headers


def _header_safe(text: str) -> bool:
    return text.isascii() and text.isprintable() and "," not in text
