"""What one exact route taught us: capabilities it lacks, and body sizes it refuses (routing.md §3).

A refusal proves a gap at once; an undelivered forced capability is a strike, and three strikes are a gap. Between a
gap and an operator's word on the same capability the newer wins: what is overruled stays known and gates nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from routerconsole.domain.capability import NODE_OF, Word

GAP_TTL = 86_400.0
"""Seconds a learned gap lasts."""

STRIKES = 3
"""Undelivered answers in a row that make a gap."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A capability a route was seen to lack; `at` and `expires` are monotonic seconds, `evidence` is scrubbed text."""

    at: float
    evidence: str
    expires: float


class _Edit(NamedTuple):
    """An operator's word: `said` is the UTC epoch seconds that name it, `at` the monotonic moment it stands for."""

    said: float
    at: float


class Learned:
    """The lessons of one route."""

    __slots__ = ("_edits", "_gaps", "_strikes", "watermark")

    def __init__(self) -> None:
        self._gaps: dict[Word, Gap] = {}
        self._edits: dict[Word, _Edit] = {}
        self._strikes: dict[Word, int] = {}
        self.watermark: int | None = None

    def learn(self, word: Word, evidence: str, now: float) -> bool:
        """Record a proven gap (renewing its expiry); return whether it is new."""
        fresh = word not in self.gaps(now)
        self._gaps[word] = Gap(now, evidence, now + GAP_TTL)
        self._strikes.pop(word, None)
        return fresh

    def strike(self, word: Word, evidence: str, now: float) -> bool:
        """Count one undelivered answer; return whether it made a new gap."""
        self._strikes[word] = self._strikes.get(word, 0) + 1
        return self._strikes[word] >= STRIKES and self.learn(word, evidence, now)

    def delivered(self, words: Collection[Word]) -> None:
        """Forget the strikes of forced capabilities that were delivered after all."""
        for word in words:
            self._strikes.pop(word, None)

    def restore(self, word: Word, gap: Gap) -> None:
        """Bring back a gap kept over a restart."""
        self._gaps[word] = gap

    def heed(self, said: Mapping[Word, float], now: float, wall: float) -> None:
        """Follow what operators say of this model, by word with the UTC epoch seconds they said it at.

        A word that is new here overrules the gaps learned before it, and strikes are counted anew; one that was taken
        back upholds them again.
        """
        for word in [word for word in self._edits if word not in said]:
            del self._edits[word]
        for word, at in said.items():
            known = self._edits.get(word)
            if known is None or known.said != at:
                self._edits[word] = _Edit(at, now - max(0.0, wall - at))
                self._strikes.pop(word, None)

    def gaps(self, now: float) -> Mapping[Word, Gap]:
        """Return the gaps in force by word, those left out that an operator overruled."""
        known = self.known(now)
        if not self._edits or not known:
            return known
        return {word: gap for word, gap in known.items() if not self.overruled(word, gap)}

    def known(self, now: float) -> Mapping[Word, Gap]:
        """Return every gap that has not expired, overruled or not."""
        if not self._gaps:
            return _NONE
        for word in [word for word, gap in self._gaps.items() if gap.expires <= now]:
            del self._gaps[word]
        return MappingProxyType(self._gaps)

    def overruled(self, word: Word, gap: Gap) -> bool:
        """Say whether an operator spoke of this capability after the gap was learned."""
        edit = self._edits.get(word)
        return edit is not None and gap.at <= edit.at

    def gap_nodes(self, now: float) -> Collection[str]:
        """Return the tree nodes of the gaps in force."""
        return _NO_NODES if not self._gaps else tuple(NODE_OF[word] for word in self.gaps(now))

    def clear(self, word: Word | None = None) -> bool:
        """Forget one gap, or all of them, with their strikes; return whether there was one."""
        words = list(self._gaps) if word is None else [word] if word in self._gaps else []
        for each in words:
            del self._gaps[each]
        if word is None:
            self._strikes.clear()
        else:
            self._strikes.pop(word, None)
        return bool(words)

    def too_big(self, size: int) -> bool:
        """Whether a body of this many bytes is at or over the smallest refused one."""
        return self.watermark is not None and size >= self.watermark

    def refused_size(self, size: int) -> None:
        """Lower the watermark to a refused size; a larger refusal teaches nothing."""
        if size > 0:
            self.watermark = size if self.watermark is None else min(self.watermark, size)

    def accepted_size(self, size: int) -> None:
        """Clear the watermark when a body at or over it went through."""
        if self.too_big(size):
            self.watermark = None


_NONE: Mapping[Word, Gap] = MappingProxyType({})
_NO_NODES: tuple[str, ...] = ()
