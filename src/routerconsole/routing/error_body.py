"""What an upstream's error body says, whatever its shape: codes, a message, searchable text. It judges nothing.

Known shapes: OpenAI and Anthropic `error` objects, Google's (also as a list), Ollama's string, FastAPI's `detail`,
Mistral's and vLLM's flat objects, Cloudflare's `errors`, OpenRouter's nested `metadata.raw`, and text or HTML pages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from routerconsole.domain.redact import scrub

SCANNED: Final = 65_536
"""Bytes of an error body that are read; real ones stay under a few KB."""
MESSAGE_LIMIT: Final = 500
_MAX_NODES: Final = 200
_MAX_DEPTH: Final = 10
_TEXT_LIMIT: Final = 16_384
_NESTED_LIMIT: Final = 8_192

_CODE_KEYS: Final = frozenset(
    {"code", "type", "status", "reason", "error_code", "error_type", "kind", "name", "quotaid"}
)
_ECHO_KEYS: Final = frozenset({"input", "ctx", "url", "prompt", "messages", "body", "user_id", "help", "links", "loc"})
"""Keys that give back what the client sent, or link somewhere: text in them proves nothing about the upstream."""
_CODE: Final = re.compile(r"[A-Za-z0-9_./-]{1,100}")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """One error as told: lower-case `codes` and `text` to search, the `message`, and a numeric code in 400-599."""

    codes: frozenset[str] = frozenset()
    text: str = ""
    raw_text: str = ""
    message: str = ""
    code: str | None = None
    param: str | None = None
    number: int | None = None
    structured: bool = False

    @property
    def detail(self) -> str:
        """Return the scrubbed line for a trace."""
        said = scrub(self.message or self.raw_text)
        return f"{self.code}: {said}" if self.code and self.code.lower() not in said.lower() else said

    @property
    def public(self) -> str | None:
        """Return the message a client may read, None where the upstream sent a page or nothing."""
        return public_text(self.message) if self.structured and self.message else None


def read_bytes(body: bytes) -> ErrorBody:
    """Read an error body; never raises."""
    head = body[:SCANNED]
    text = head.decode("utf-8", "replace")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        try:
            told = read(orjson.loads(body.removeprefix(b"\xef\xbb\xbf")))
        except (orjson.JSONDecodeError, RecursionError):
            pass
        else:
            return replace(told, raw_text=text)
    plain = scrub(text, _TEXT_LIMIT)
    return ErrorBody(text=plain.lower(), raw_text=text, message=plain)


def read(data: object) -> ErrorBody:
    """Read a parsed error body; never raises."""
    holder = _holder(data)
    codes: set[str] = set()
    texts: list[str] = []
    _collect(data, codes, texts)
    number = None
    code = param = None
    if isinstance(holder, Mapping):
        for key in ("code", "status", "status_code"):
            value = holder.get(key)
            if isinstance(value, str) and value.isdecimal() and len(value) == 3:
                value = int(value)
            if type(value) is int and 400 <= value <= 599:
                number = number or value
        code = next((value for key in ("code", "type", "status") if _is_code(value := holder.get(key))), None)
        given = holder.get("param")
        param = given[:200] if isinstance(given, str) else None
    text = "\n".join(texts)[:_TEXT_LIMIT]
    return ErrorBody(
        codes=frozenset(codes),
        text=text.lower(),
        raw_text=text,
        message=_message(holder) or text[:MESSAGE_LIMIT],
        code=code,
        param=param,
        number=number,
        structured=True,
    )


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None and not value.isdecimal()


def _holder(data: object) -> object:
    """Return the object that carries the message."""
    if isinstance(data, list):
        data = data[0] if data else None
    if not isinstance(data, Mapping):
        return data
    error = data.get("error")
    if isinstance(error, Mapping | str) and error:
        return error
    errors = data.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        return errors[0]
    return data


def _message(holder: object) -> str:
    if isinstance(holder, str):
        return holder
    if not isinstance(holder, Mapping):
        return ""
    for key in ("message", "msg", "detail", "error_description", "title", "error"):
        value = holder.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list):
            found = [_validation(entry) for entry in value[:8] if isinstance(entry, Mapping)]
            if any(found):
                return "; ".join(text for text in found if text)
        if isinstance(value, Mapping) and isinstance(inner := value.get("message") or value.get("msg"), str):
            return inner
    return ""


def _validation(entry: Mapping[str, Any]) -> str:
    """Return one FastAPI or JSON:API complaint as text."""
    said = entry.get("msg") or entry.get("message")
    if not isinstance(said, str):
        return ""
    where = entry.get("loc")
    path = ".".join(str(step) for step in where if step != "body") if isinstance(where, list) else ""
    return f"{path}: {said}" if path else said


def _collect(data: object, codes: set[str], texts: list[str]) -> None:
    """Gather codes and texts in document order, bounded in nodes and depth, without what the client itself sent."""
    stack: list[tuple[str, object, int]] = [("", data, 0)]
    seen = 0
    while stack and seen < _MAX_NODES:
        key, node, depth = stack.pop()
        seen += 1
        if isinstance(node, Mapping):
            if depth < _MAX_DEPTH:
                children = [(str(name).lower(), child, depth + 1) for name, child in node.items()]
                stack.extend(item for item in reversed(children[:_MAX_NODES]) if item[0] not in _ECHO_KEYS)
        elif isinstance(node, list):
            if depth < _MAX_DEPTH:
                stack.extend((key, child, depth + 1) for child in reversed(node[:_MAX_NODES]))
        elif isinstance(node, str):
            if key == "quotavalue":
                codes.add(f"quotavalue={node[:20]}")
            elif key in _CODE_KEYS and _CODE.fullmatch(node):
                codes.add(node.lower())
            nested = _nested(node) if key in ("raw", "message", "detail", "error") and depth < _MAX_DEPTH else None
            if nested is not None:
                stack.append(("", nested, depth + 1))
            else:
                texts.append(node[:_TEXT_LIMIT])


def _nested(text: str) -> object:
    """Return the JSON an error text consists of (gateways wrap their upstream's whole body), else None."""
    if not text.startswith(("{", "[")) or len(text) > _NESTED_LIMIT:
        return None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict | list) else None


_URL: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>)\]}]{1,2048}", re.IGNORECASE)
_ADDRESS: Final = re.compile(
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\d.])|\[[0-9a-f:]{2,45}\](?::\d{1,5})?", re.I
)
_PATH: Final = re.compile(
    r"(?<![\w./:-])(?:/[\w.@~+-]{1,128}){2,64}/?|(?<![\w])[a-z]:\\[^\s\"'<>|]{1,512}", re.IGNORECASE
)


def public_text(text: str) -> str:
    """Return an upstream's words fit for a client: one short line, no secret, URL, address or file path."""
    clean = scrub(text, MESSAGE_LIMIT * 2)
    clean = _URL.sub("[url]", clean)
    clean = _ADDRESS.sub("[address]", clean)
    clean = _PATH.sub("[path]", clean)
    return clean if len(clean) <= MESSAGE_LIMIT else clean[: MESSAGE_LIMIT - 1].rstrip() + "…"
