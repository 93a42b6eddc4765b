"""A dry run beside what happened: where a request like this one would be routed now, and what differs from then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.safe_text import visible

from .cells import Line, Role, labelled, wrap
from .requests import needs, short_id
from .waterfall import PAD, plan_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.control.views import CandidateView, Explanation, RequestDetail


def why_now(detail: RequestDetail, now: Explanation, width: int) -> list[Line]:
    """Return the page: then, now, and every candidate that stands differently."""
    row = detail.row
    asked = f"{short_id(row.id)} model={visible(row.model or '(none)', 60)} need={needs(row)}"
    because = "; ".join(visible(line, 200) for line in now.resolved.because)
    pool = f"{visible(now.resolved.kind, 20)} {visible(now.resolved.id, 80)}"
    error = now.error or {}
    refused = f"{visible(str(error.get('code', '')), 60)}: {visible(str(error.get('message', '')), 600)}"
    return [
        *wrap(asked, width, role=Role.TITLE),
        *wrap(
            "A dry run now of a request with the same model, needs, agent and size. Nothing is sent; texts are not"
            " kept, so what depends on them (a forced tool's name, a schema) is not in it.",
            width,
            role=Role.DIM,
        ),
        (),
        *labelled("then", f"{visible(row.resolved, 80)}: {plan_words(detail.candidates)}", width, pad=PAD),
        *labelled("", f"it went {visible(row.chain, 300)}", width, role=Role.DIM, pad=PAD),
        *labelled("now", f"{pool}: {plan_words(now.candidates)}", width, pad=PAD),
        *(labelled("why", because, width, role=Role.DIM, pad=PAD) if because else ()),
        *(labelled("error", refused, width, role=Role.BAD, pad=PAD) if now.error else ()),
        (),
        (("What differs", Role.TITLE),),
        *_differences(detail, now, width),
    ]


def _key(candidate: CandidateView) -> tuple[str, str, str | None]:
    return candidate.provider, candidate.model, candidate.account


def _said(candidate: CandidateView) -> str:
    reasons = "; ".join(visible(reason, 160) for reason in candidate.reasons)
    return visible(candidate.decision, 12) + (f" ({reasons})" if reasons else "")


def _differences(detail: RequestDetail, now: Explanation, width: int) -> list[Line]:
    was, stands = ({_key(each): each for each in side} for side in (detail.candidates, now.candidates))
    lines: list[Line] = []
    for key in dict.fromkeys((*stands, *was)):
        before, after = was.get(key), stands.get(key)
        name = f"{visible(key[0], 40)}/{visible(key[1], 80)}" + (f"#{visible(key[2], 20)}" if key[2] else "")
        if before is None and after is not None:
            text, role = f"{name}: no candidate then, {_said(after)} now", Role.INFO
        elif after is None and before is not None:
            text, role = f"{name}: {_said(before)} then, no candidate now", Role.WARN
        elif before is not None and after is not None and before.decision != after.decision:
            better = after.decision == "eligible"
            text, role = f"{name}: {_said(before)} then, {_said(after)} now", Role.OK if better else Role.WARN
        else:
            continue
        lines.extend(wrap(text, width, indent=2, role=role))
    then_first, now_first = _first(detail.candidates), _first(now.candidates)
    if then_first != now_first:
        lines.extend(wrap(f"first in order: {then_first} then, {now_first} now", width, indent=2, role=Role.WARN))
    return lines or wrap(
        "Nothing: the same candidates, the same one first. It would be asked there again.", width, indent=2
    )


def _first(candidates: Sequence[CandidateView]) -> str:
    first = next((candidate for candidate in candidates if candidate.decision == "eligible"), None)
    return "nobody" if first is None else f"{visible(first.provider, 40)}/{visible(first.model, 80)}"
