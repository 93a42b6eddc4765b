"""A chat body that needs what it is told to need, to ask where such a request would be routed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Body = dict[str, Any]

_PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
_TOOL = {"type": "function", "function": {"name": "any_tool", "parameters": {"type": "object", "properties": {}}}}


def add_needs(body: Body, needs: Sequence[str]) -> list[str]:
    """Put needs into the body the way a client would; return those a body cannot say, which become a requirement.

    Raises ValueError for what is no word, or for `messages` that are none.
    """
    required: list[str] = []
    for need in needs:
        match need:
            case "text":
                pass
            case "tools" | "parallel_tools":
                body.setdefault("tools", [_TOOL])
                if need == "parallel_tools":
                    body["parallel_tool_calls"] = True
            case "vision":
                part = {"type": "image_url", "image_url": {"url": _PIXEL}}
                _messages(body).append({"role": "user", "content": [part]})
            case "reasoning":
                body["reasoning_effort"] = "low"
            case "json_schema":
                schema = {"name": "any", "schema": {"type": "object"}}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            case "json":
                body["response_format"] = {"type": "json_object"}
            case "streaming":
                body["stream"] = True
            case "system":
                _messages(body).insert(0, {"role": "system", "content": "Be brief."})
            case _:
                if not (need.isascii() and need.isprintable()):
                    raise ValueError(f"{need!r} is no capability")
                required.append(need)
    return required


def _messages(body: Body) -> list[Any]:
    messages = body.setdefault("messages", [])
    if not isinstance(messages, list):
        raise ValueError("`messages` in the body is not a list")
    return messages
