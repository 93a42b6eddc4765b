"""One cell of a run in full, as faces show it: repeats, calls, the way each took, what came back as it came."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from routerconsole.control.eval_views import (
    EvalCall,
    EvalCellDetail,
    EvalCheck,
    EvalHop,
    EvalRepeat,
    EvalVotes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.evals.types import Cell, Reply, Run

TEXT: Final = 4000
"""Characters of one text that are told."""
CALLS: Final = 40
"""Calls of one repeat that are told, the last ones."""
DRILL: Final = "drill"


def detail_of(run: Run, cells: Iterable[Cell], scenario: str, target: str) -> EvalCellDetail:
    """Return every repeat of a square that has ended, in order."""
    drill = any(ref.id == scenario and ref.kind == DRILL for ref in run.scenarios)
    kept = [cell for cell in cells if (cell.key.scenario_id, cell.key.target_id) == (scenario, target)]
    kept.sort(key=lambda cell: cell.key.repeat)
    return EvalCellDetail(run.id, scenario, target, tuple(_repeat(cell, drill=drill) for cell in kept))


def _repeat(cell: Cell, *, drill: bool) -> EvalRepeat:
    verdict, sample = cell.verdict, cell.sample
    return EvalRepeat(
        number=cell.key.repeat,
        verdict=verdict.status.value,
        code=verdict.code,
        detail=_cut(verdict.detail),
        checks=tuple(
            EvalCheck(
                each.type, each.passed, each.gate, each.metric, expected=_cut(each.expected), actual=_cut(each.actual)
            )
            for each in cell.checks
        ),
        votes=tuple(
            EvalVotes(
                each.kind,
                each.judge,
                each.score,
                each.positive,
                negative=each.negative,
                valid=each.valid,
                total=each.total,
            )
            for each in (sample.votes if sample is not None else ())
        ),
        cached=cell.cached or "",
        calls=tuple(_call(reply, drill=drill) for reply in (sample.replies[-CALLS:] if sample is not None else ())),
    )


def _call(reply: Reply, *, drill: bool) -> EvalCall:
    error = reply.error
    return EvalCall(
        label=reply.label,
        asked=_cut(json.dumps(reply.request, ensure_ascii=False, default=dict)),
        prompt=_cut(_prompt(reply)),
        text=_cut(reply.text or reply.refusal),
        reasoning=_cut(reply.reasoning),
        tools=tuple(_cut(f"{call.name}({call.arguments})") for call in reply.tool_calls),
        finish=reply.finish_reason or "",
        error="" if error is None else _cut(f"{error.cls}: {error.message}"),
        ttft_ms=reply.timings.ttft_ms,
        total_ms=reply.timings.total_ms,
        prompt_tokens=reply.usage.prompt,
        completion_tokens=reply.usage.completion,
        cost_usd=reply.cost_usd,
        request=reply.trace.request_id,
        drill=drill,
        served_by=reply.trace.served_by or "",
        hops=tuple(EvalHop(hop.route, hop.outcome, hop.status, took_ms=hop.took_ms) for hop in reply.trace.attempts),
        frames=reply.frames,
        unkept=reply.unkept,
    )


def _prompt(reply: Reply) -> str:
    """Return the text that was asked last, or what was embedded."""
    messages = reply.request.get("messages", reply.request.get("input"))
    last = messages[-1] if isinstance(messages, list) and messages else messages
    content = last.get("content") if isinstance(last, dict) else last
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        return "\n".join(str(part.get("text") or f"[{part.get('type')}]") for part in parts)
    return content if isinstance(content, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"
