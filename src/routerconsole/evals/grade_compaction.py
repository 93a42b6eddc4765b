"""Whether a transcript was really compacted: by the model's own notes, and to much less than it was."""

from __future__ import annotations

from typing import Final

from .finding import Facts, Finding, shown
from .types import Json, Reply

_SHARE: Final = 0.5
"""Notes longer than half of what they stand for are a copy, not a compaction."""


def grade_compaction(kind: str, facts: Facts) -> Finding | None:
    """Return whether every compacting call gave notes, half as long as its text or less; None if not asked."""
    if kind != "compacted":
        return None
    made = [reply for reply in facts.sample.replies if reply.label.startswith("compact-")]
    wanted = "notes by the model, at most half as long as the transcript"
    if not made:
        return Finding(False, wanted, "no compaction call")
    for reply in made:
        if not reply.text.strip():
            return Finding(False, wanted, f"{reply.label}: empty notes")
    # each prompt after the first holds the notes so far, which are no part of the transcript
    before = sum(_asked(reply) for reply in made) - sum(len(reply.text) for reply in made[:-1])
    after = len(made[-1].text)
    return Finding(after <= before * _SHARE, wanted, f"{after} of {before} characters: {shown(made[-1].text)}")


def _asked(reply: Reply) -> int:
    messages: Json = reply.request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else None
    return len(content) if isinstance(content, str) else 0
