"""Shape rules for 2xx answers, one per endpoint: what cannot be used (`bad_200`) and what says nothing (`blank`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from routerconsole.domain.outcome import OutcomeClass
from routerconsole.domain.request import Endpoint

Unusable = tuple[OutcomeClass, str]
ENDED_BY_LIMIT: Final = frozenset({"length", "content_filter"})
"""Finish reasons that explain an empty answer."""
SPEAKING_KEYS: Final = (
    "tool_calls",
    "function_call",
    "refusal",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking",
    "audio",
    "images",
)
"""Fields of a message or delta that are an answer without any content text."""


def unusable(data: object, endpoint: Endpoint) -> Unusable | None:
    """Return the class and reason for which an answer without an inner error serves nobody, or None."""
    if not isinstance(data, dict):
        return OutcomeClass.BAD_200, "the answer is not a JSON object"
    if endpoint is Endpoint.EMBEDDINGS:
        return _embeddings(data)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        return OutcomeClass.BAD_200, "the answer has no choices"
    blank = True
    for choice in choices:
        if not isinstance(choice, dict):
            return OutcomeClass.BAD_200, "a choice is not an object"
        said = _text(choice) if endpoint is Endpoint.COMPLETIONS else _message(choice)
        if said is None:
            return OutcomeClass.BAD_200, "a choice has the wrong shape"
        if said or choice.get("finish_reason") in ENDED_BY_LIMIT:
            blank = False
    return (OutcomeClass.BLANK, "every choice is blank") if blank else None


def speaks(message: Mapping[str, Any]) -> bool:
    """Whether a message or delta holds anything but content text: a call, a refusal, reasoning, audio."""
    for key in SPEAKING_KEYS:
        value = message.get(key)
        if value and not (isinstance(value, str) and not value.strip()):
            return True
    return False


def content_speaks(content: object) -> bool:
    """Whether content (text, or a list of parts) says something."""
    if isinstance(content, str):
        return bool(content.strip())
    if not isinstance(content, list):
        return False
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if text is None or not isinstance(text, str) or text.strip():
            return True
    return False


def _message(choice: Mapping[str, Any]) -> bool | None:
    """Return whether a chat choice says something, None where its shape is wrong."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    content, calls = message.get("content"), message.get("tool_calls")
    if content is not None and not isinstance(content, str | list):
        return None
    if calls is not None and (not isinstance(calls, list) or any(not isinstance(call, dict) for call in calls)):
        return None
    return content_speaks(content) or speaks(message)


def _text(choice: Mapping[str, Any]) -> bool | None:
    text = choice.get("text")
    return bool(text.strip()) if isinstance(text, str) else None


def _embeddings(data: Mapping[str, Any]) -> Unusable | None:
    rows = data.get("data")
    if not isinstance(rows, list) or not rows:
        return OutcomeClass.BAD_200, "the answer has no embeddings"
    for row in rows:
        vector = row.get("embedding") if isinstance(row, dict) else None
        if isinstance(vector, list):
            if not vector or isinstance(vector[0], bool) or not isinstance(vector[0], int | float | list):
                return OutcomeClass.BAD_200, "an embedding is not a list of numbers"
        elif not isinstance(vector, str | dict) or not vector:  # base64 text, or named vectors
            return OutcomeClass.BAD_200, "an embedding is missing"
    return None
