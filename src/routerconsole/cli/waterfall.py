"""One request in full as text: what was asked, the candidates, a bar per attempt, why each ended as it did."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING

from routerconsole.cli.explain import candidate_item
from routerconsole.cli.output import Item, fitted, sentence, show_items, text
from routerconsole.cli.quantity import ms
from routerconsole.domain.visible import BLOCK_LIMIT, cells, visible

if TYPE_CHECKING:
    from routerconsole.control.views import AttemptView, RequestDetail

WIDTH = 100
"""Cells of a bar's line where the output is no terminal."""
_NAME, _OUTCOME, _MIN_BAR = 32, 34, 10


def show_detail(detail: RequestDetail, *, sentences: bool) -> None:
    """Print a request; `sentences` is the form for screen readers, without bars."""
    row = detail.row
    summary: Item = {
        "request": row.id,
        "at": row.at,
        "origin": row.origin,
        "endpoint": row.endpoint,
        "model": row.model or "(none)",
        "resolved": row.resolved,
        "because": "; ".join(detail.because) or None,
        "needed": row.needed,
        "forced": row.forced,
        "status": row.status,
        "http": row.http_status,
        "error": row.error_code,
        "served_by": f"{row.provider}/{row.served_model}" if row.provider else None,
        "chain": row.chain,
        "total": ms(row.total_ms),
        "ttft": ms(row.ttft_ms),
        "router": ms(detail.router_ms),
        "finish": detail.finish_reason,
        "stream_end": detail.terminal if row.stream else None,
        "tokens": _tokens(detail),
        "cost_usd": row.cost_usd,
        "flags": row.flags,
        "agent": row.agent,
    }
    if sentences:
        print(sentence(summary))
    else:
        width = max(len(key) for key in summary)
        for key, value in summary.items():
            if value not in (None, "", ()):
                print(f"{key.replace('_', ' '):<{width}}  {text(value)}")
        print("\ncandidates")
    candidates = [candidate_item(candidate, number) for number, candidate in enumerate(detail.candidates, 1)]
    show_items(candidates, plain=sentences, empty="no candidates")
    if sentences:
        show_items([_attempt_item(each) for each in detail.attempts_detail], plain=True, empty="no upstream was asked")
    else:
        print("\nattempts")
        for line in waterfall(detail, shutil.get_terminal_size((WIDTH, 24)).columns):
            print(line)


def waterfall(detail: RequestDetail, width: int) -> list[str]:
    """Return a bar and a sentence per attempt: `╌` connect, `─` waiting, `━` streaming, `●` served, `✗` failed."""
    attempts = detail.attempts_detail
    if not attempts:
        return ["no upstream was asked"]
    names = [visible(f"{each.provider}/{each.model}", _NAME) for each in attempts]
    name_width = max(cells(name) for name in names)
    bar_width = max(_MIN_BAR, width - name_width - _OUTCOME - 6)
    ends = [at for each in attempts for at in (each.started_ms, each.first_token_ms, each.ended_ms)]
    ends.append(detail.row.total_ms)
    longest = max([1.0, *(end for end in ends if end is not None and math.isfinite(end))])
    lines: list[str] = []
    for attempt, name in zip(attempts, names, strict=True):
        bar = _bar(attempt, longest, bar_width)
        lines.append(f"{attempt.n:>2}  {fitted(name, name_width)}  {bar}  {_outcome(attempt)}".rstrip())
        lines += [f"    {part}" for part in _notes(attempt)]
    lines.append(f"{'':{name_width + 6}}{'0':<{bar_width - 10}}{ms(longest) or '':>10}")
    return lines


def _bar(attempt: AttemptView, longest: float, width: int) -> str:
    def cell(at: float | None, otherwise: int) -> int:
        if at is None or not math.isfinite(at):
            return otherwise
        return min(max(round(at / longest * (width - 1)), 0), width - 1)

    start = cell(attempt.started_ms, 0)
    end = max(start, cell(attempt.ended_ms, width - 1))
    connected, streaming = cell(attempt.connect_ms, start), cell(attempt.first_token_ms, end + 1)
    bar = [" "] * width
    for at in range(start, end + 1):
        bar[at] = "╌" if at < connected else "─" if at < streaming else "━"
    bar[end] = "▶" if attempt.ended_ms is None else "●" if attempt.class_ == "ok" else "✗"
    return "".join(bar)


def _outcome(attempt: AttemptView) -> str:
    if attempt.ended_ms is None:
        return "running" if attempt.first_token_ms is None else "streaming"
    words = [ms(attempt.ended_ms - attempt.started_ms), attempt.status, attempt.class_]
    return " ".join(visible(str(word), 40) for word in words if word is not None)


def _notes(attempt: AttemptView) -> list[str]:
    notes: list[str] = []
    if attempt.detail:
        notes.append(visible(attempt.detail, BLOCK_LIMIT))
    if attempt.served_as:
        notes.append(f"answered as {visible(attempt.served_as)}, asked for {visible(attempt.model)}")
    if attempt.circuit_before != attempt.circuit_after:
        notes.append(f"circuit {visible(attempt.circuit_before)} → {visible(attempt.circuit_after)}")
    return notes


def _attempt_item(attempt: AttemptView) -> Item:
    return {
        "attempt": attempt.n,
        "provider": attempt.provider,
        "model": attempt.model,
        "account": attempt.account,
        "outcome": _outcome(attempt),
        "answered_as": attempt.served_as,
        "detail": attempt.detail,
        "circuit_before": attempt.circuit_before,
        "circuit_after": attempt.circuit_after,
    }


def _tokens(detail: RequestDetail) -> str | None:
    row = detail.row
    if row.prompt_tokens is None and row.completion_tokens is None:
        return None
    return f"{text(row.prompt_tokens)} in, {text(row.completion_tokens)} out ({visible(row.usage_source)})"
