"""What a change would have meant for the last requests, in a sentence or as lines. Pure, for whoever asks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.counted import counted

from .cells import Line, Role, labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.registry_views import Impact, PoolShift

MOVES: Final = 3
"""Moves named in a sentence; the others are counted."""
POOLS: Final = 8
NAMES: Final = 2


def impact_text(told: Impact) -> str:
    """Return the sentence: how many requests would have gone elsewhere, from whom to whom, and which pools change."""
    parts = [_requests(told)]
    if told.pools:
        parts.append(_pools(told.pools))
    else:
        parts.append("no pool changes")
    return "; ".join(parts)


def impact_role(told: Impact) -> Role:
    """Return how it is drawn: requests that nobody would serve are bad, ones that move are worth a look."""
    if told.unserved:
        return Role.BAD
    return Role.WARN if told.elsewhere else Role.TEXT


def impact_lines(told: Impact, width: int) -> list[Line]:
    """Return the sentence beside its label, wrapped to a width."""
    return labelled("impact", impact_text(told), width, role=impact_role(told), pad=9)


def _requests(told: Impact) -> str:
    if not told.recorded:
        return "no request to try it on yet"
    if not told.replayed:
        return "planning takes too long here to try it on requests"
    last = "the last request" if told.replayed == 1 else f"the last {told.replayed} requests"
    if not told.elsewhere:
        return f"none of {last} would have gone elsewhere"
    moves = [
        f"{move.requests} {visible(move.before or 'nobody', 40)} → {visible(move.after or 'NOBODY', 40)}"
        for move in told.moves[:MOVES]
    ]
    if len(told.moves) > MOVES:
        left = sum(move.requests for move in told.moves[MOVES:])
        moves.append(f"{left} in other ways")
    served = f", {told.served} served that were not" if told.served else ""
    lost = f", {told.unserved} by NOBODY" if told.unserved else ""
    return f"{told.elsewhere} of {last} would have gone elsewhere{lost}{served} ({', '.join(moves)})"


def _pools(shifts: Sequence[PoolShift]) -> str:
    """Return which pools change, those of the same change together: `pools auto, text -a/m1`."""
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for each in shifts:
        alike.setdefault((each.added, each.removed), []).append(visible(each.pool, 30))
    parts = []
    for (added, removed), pools in list(alike.items())[:POOLS]:
        more = f" and {len(pools) - POOLS} more" if len(pools) > POOLS else ""
        parts.append(f"{', '.join(pools[:POOLS])}{more} {_signs(added, removed)}")
    left = sum(map(len, list(alike.values())[POOLS:]))
    return f"{'pool' if len(shifts) == 1 else 'pools'} {'; '.join(parts)}" + (f"; {left} more" if left else "")


def _signs(added: Sequence[str], removed: Sequence[str]) -> str:
    signed = [(sign, name) for sign, names in (("+", added), ("-", removed)) for name in names]
    if len(signed) <= NAMES:
        return " ".join(f"{sign}{visible(name, 40)}" for sign, name in signed)
    return " ".join(f"{sign}{counted(len(names), 'model')}" for sign, names in (("+", added), ("-", removed)) if names)
