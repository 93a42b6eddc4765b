"""What a run has used of its caps, and why nothing more of it is asked; nothing unknown counts as 0."""

from __future__ import annotations

from typing import Final

from .types import Caps, Cell, Target, Verdict, skipped

CAP: Final = "cap_"
"""How the reason of a cell begins that was not run because the run had spent what it may."""
OUT_OF_TIME: Final = f"{CAP}time"


class Spent:
    """What a run has used of its caps.

    A cap keeps the next cell from being asked; what was asked before ends, so a run may exceed it by what was on the
    way (as many cells as are asked at once). Answers of an earlier run cost nothing.
    """

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._tokens, self._cost = 0, 0.0
        self._priceless: set[str] = set()
        self._countless: set[str] = set()

    def add(self, cell: Cell) -> None:
        """Count a cell; a column that does not say what it uses cannot be kept below a limit of it."""
        if cell.cached is not None:
            return
        votes = () if cell.sample is None else cell.sample.votes
        self._tokens += (cell.input_tokens or 0) + (cell.output_tokens or 0) + sum(each.tokens for each in votes)
        self._cost += (cell.cost_usd or 0.0) + sum(each.cost_usd for each in votes)
        if cell.sample is not None and any(reply.error is None for reply in cell.sample.replies):
            if cell.cost_usd is None:
                self._priceless.add(cell.key.target_id)
            if cell.input_tokens is None or cell.output_tokens is None:
                self._countless.add(cell.key.target_id)

    def over(self, target: Target, left: float | None) -> Verdict | None:
        """Return why nothing more is asked, or None; `left` is the seconds left of the run."""
        caps = self._caps
        if left is not None and left <= 0:
            return out_of_time(caps)
        if caps.tokens is not None and self._tokens >= caps.tokens:
            return skipped(f"{CAP}tokens", f"{self._tokens} of {caps.tokens} tokens are spent")
        if caps.tokens is not None and target.id in self._countless:
            return skipped(f"{CAP}tokens_unknown", "this target does not tell what it used, so no limit of it holds")
        if caps.cost_usd is not None and self._cost >= caps.cost_usd:
            return skipped(f"{CAP}cost", f"{self._cost:g} of {caps.cost_usd:g} USD are spent")
        if caps.cost_usd is not None and target.id in self._priceless:
            return skipped(f"{CAP}cost_unknown", "the price of this target is not known, so no limit of money holds")
        return None


def out_of_time(caps: Caps) -> Verdict:
    """Return what becomes of a cell the run had no time for."""
    return skipped(OUT_OF_TIME, f"the run's {caps.wall_s or 0:g} s are over")
