"""One line of stdin as messages of the protocol, pure. What is none is answered by an error, under the request's own
id where one can be read: the SDK only drops such lines, and who asked would wait for its own deadline.
"""

from __future__ import annotations

import json

from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData
from mcp_types.jsonrpc import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

Read = tuple[list[JSONRPCMessage], list[JSONRPCError]]
"""The messages of a line, and the answers to what is none."""


def read_line(line: bytes) -> Read:
    """Return what a line holds; bytes that are no UTF-8 become U+FFFD, and a batch is taken apart."""
    text = line.decode("utf-8", "replace").strip("\ufeff \t\r\n")
    if not text:
        return [], []
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        return _mended(text)
    if isinstance(message, JSONRPCNotification) and '"id"' in text and "id" in json.loads(text):
        return [], [refusal(INVALID_REQUEST, "Invalid request: an id is a text or a whole number.")]
    return [message], []


def refusal(code: int, message: str, *, of: RequestId | None = None) -> JSONRPCError:
    """Return an error without a result of its own."""
    return JSONRPCError(jsonrpc="2.0", id=of, error=ErrorData(code=code, message=message))


def _mended(text: str) -> Read:
    """Read a line the strict reader refuses: half a surrogate pair becomes U+FFFD, a list is several messages."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [], [refusal(PARSE_ERROR, "Parse error: a line of stdin is one JSON object.")]
    if value == []:
        return [], [refusal(INVALID_REQUEST, "Invalid request: the batch is empty.")]
    messages, refusals = list[JSONRPCMessage](), list[JSONRPCError]()
    for item in value if isinstance(value, list) else [value]:
        whole = json.dumps(item, ensure_ascii=False).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        try:
            messages.append(jsonrpc_message_adapter.validate_json(whole, by_name=False))
        except ValidationError:
            if not _is_answer(item):
                refusals.append(refusal(INVALID_REQUEST, "Invalid request: this is no JSON-RPC 2.0.", of=_id(item)))
    return messages, refusals


def _is_answer(item: object) -> bool:
    """Whether something was meant as an answer, which is never answered."""
    return isinstance(item, dict) and "method" not in item and ("result" in item or "error" in item)


def _id(item: object) -> RequestId | None:
    found = item.get("id") if isinstance(item, dict) else None
    if isinstance(found, str):
        return found if found.isprintable() else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
