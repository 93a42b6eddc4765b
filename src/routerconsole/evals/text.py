"""What is read from an answer's text: trimming, patterns in linear time, leaks, refusals, doubled passages."""

from __future__ import annotations

import difflib
import re
import unicodedata

import jsonschema_rs

MOST = 200_000
"""Characters of an answer that are searched; a flood of megabytes is cut here."""
_WORDS = 2_000
"""Words compared by `similar`; the comparison is quadratic."""
_PASSAGE = 8
_LINEAR = jsonschema_rs.RegexOptions(size_limit=1 << 16)
_LEAKS = re.compile(
    r"</?(?:think(?:ing)?|reasoning|thought|scratchpad)>|<\|channel\|>|\[/?THINK\]|◁/?think▷", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"(?:(?:i['’]?m|i am)(?: very| so)? sorry|sorry|i apologi[sz]e|unfortunately)?[,.!;:]?\s*(?:but\s+)?"
    r"(?:i\s+(?:can['’]?t|cannot|can not|won['’]?t|must decline to)|i(?:['’]m| am)\s+(?:unable|not able)\s+to)\s+"
    r"(?:help|assist|comply|fulfil+|engage|participate|continue|proceed|answer|discuss)\b"
    r"(?:\s+(?:you\s+)?(?:with|in|to|on))?\s*(?:that|this|it|your)?\b",
    re.IGNORECASE,
)
"""A policy refusal at the start of an answer; "I cannot see images" is an inability, and an answer."""


def check_pattern(pattern: str) -> str:
    """Return a pattern the linear engine can run, or raise ValueError."""
    try:
        _validator(pattern)
    except (ValueError, jsonschema_rs.ValidationError):
        raise ValueError(
            "is not a pattern that can be run in linear time (no look-around, no back-references)"
        ) from None
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found anywhere in a text."""
    return _validator(pattern).is_valid(text[:MOST])


def _validator(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=_LINEAR)


def trimmed(text: str, *, punctuation: bool = False) -> str:
    """Return the text without surrounding white space; with `punctuation`, without surrounding marks and emphasis."""
    text = text[:MOST].strip()
    if not punctuation:
        return text
    start, end = 0, len(text)
    while start < end and _loose(text[start]):
        start += 1
    while end > start and _loose(text[end - 1]):
        end -= 1
    return text[start:end]


def _loose(char: str) -> bool:
    return char.isspace() or unicodedata.category(char)[0] == "P" or char in "`*~^"


def leaked(text: str) -> str:
    """Return the mark of reasoning that stands in an answer's content, or ""."""
    found = _LEAKS.search(text[:MOST])
    return found[0] if found else ""


def refuses(text: str) -> bool:
    """Whether an answer opens by declining the request itself; judged narrowly, so that inability stays an answer."""
    return _REFUSAL.match(text[:400].lstrip()) is not None


def similarity(a: str, b: str) -> float:
    """Return the share of words two texts have in common order, 0…1 (Ratcliff and Obershelp, as difflib has it)."""
    left, right = (text[:MOST].casefold().split()[:_WORDS] for text in (a, b))
    return difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()


def doubled(text: str) -> str:
    """Return a passage of eight words or more that is said twice in a row, or ""."""
    words = text[:MOST].split()[:_WORDS]
    for length in range(_PASSAGE, len(words) // 2 + 1):
        run = 0
        for i in range(len(words) - length):
            run = run + 1 if words[i] == words[i + length] else 0
            if run == length:
                return " ".join(words[i - length + 1 : i + 1])
    return ""
