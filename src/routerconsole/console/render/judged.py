"""What judges were asked for, in one line for the bottom of the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.safe_text import visible

if TYPE_CHECKING:
    from routerconsole.control.commands import Receipt

COMMANDS = frozenset({"score_output", "check_judge", "prefer_columns"})


def judged_text(receipt: Receipt) -> str:
    """Return the outcome of a command to judges: the score and its votes, or how the judge did."""
    told = receipt.after
    judge = visible(str(told.get("judge") or "no judge"), 60)
    if receipt.command == "check_judge":
        low, high = told["ci"]
        gates = "may gate" if told["trusted"] else "may not gate: no better than chance"
        return f"{judge}: {told['right']} of {told['answered']} pairs (95 % {low:.2f} to {high:.2f}), {gates}"
    if receipt.command == "prefer_columns":
        counts = f"{told['a_wins']} to {told['b_wins']}, unstable {told['unstable']}"
        return f"{visible(str(told['verdict']), 160)} ({counts}; {judge})"
    if told["score"] is None:
        return f"no score: {visible(str(told['reason']), 160)}"
    counts = f"good {told['positive']}, bad {told['negative']}, valid {told['valid']} of {told['total']}"
    return f"{judge}: {told['score']:+.2f} for {visible(receipt.target, 60)} ({counts})"
