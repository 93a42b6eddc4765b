"""One cell of a run on a terminal: each repeat's verdict, checks and votes, what was asked and how it was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.cli.output import Item, sentence, text
from routerconsole.cli.quantity import ms
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from routerconsole.control.eval_views import EvalCall, EvalCellDetail, EvalCheck, EvalHop, EvalRepeat, EvalVotes

_PASSED = {True: "passed", False: "failed", None: "open"}


def cell_lines(cell: EvalCellDetail) -> Iterator[str]:
    """Yield the lines of a cell; raw frames are in its JSON only."""
    yield visible(f"{cell.run}: {cell.scenario} on {cell.target}", BLOCK_LIMIT)
    if not cell.repeats:
        yield "nothing of it has ended"
    for repeat in cell.repeats:
        yield ""
        yield from _repeat(repeat)


def _repeat(repeat: EvalRepeat) -> Iterator[str]:
    code = f"({repeat.code})" if repeat.code else ""
    why = f": {repeat.detail}" if repeat.detail else ""
    taken = f" (the answer of {repeat.cached})" if repeat.cached else ""
    yield visible(f"#{repeat.number + 1} {repeat.verdict}{code}{why}{taken}", BLOCK_LIMIT)
    for check in repeat.checks:
        yield f"  check {sentence(_check(check))}"
    for votes in repeat.votes:
        yield f"  votes {sentence(_votes(votes))}"
    for call in repeat.calls:
        yield f"  call {sentence(_call(call))}"
        said = {
            "asked": call.prompt,
            "reasoning": call.reasoning,
            "answer": call.text,
            "tools": "\n".join(call.tools),
            "error": call.error,
        }
        for name, words in said.items():
            for line in words.splitlines():
                yield visible(f"    {name}: {line}", BLOCK_LIMIT)


def _check(check: EvalCheck) -> Item:
    return {
        "type": check.type,
        "result": _PASSED[check.passed],
        "gate": None if check.gate else "no",
        "wanted": check.expected,
        "got": check.actual,
    }


def _votes(votes: EvalVotes) -> Item:
    return {
        "kind": votes.kind,
        "judge": votes.judge,
        "score": votes.score,
        "votes": f"{votes.positive} good, {votes.negative} bad, {votes.valid} of {votes.total} valid",
    }


def _call(call: EvalCall) -> Item:
    tokens = (call.prompt_tokens, call.completion_tokens)
    return {
        "label": call.label,
        "served_by": call.served_by,
        "attempts": " > ".join(_hop(hop) for hop in call.hops),
        "finish": call.finish,
        "ttft": ms(call.ttft_ms),
        "total": ms(call.total_ms),
        "tokens": None if tokens == (None, None) else "+".join(text(count) for count in tokens),
        "cost_usd": call.cost_usd,
        "request": call.request,
        "frames": len(call.frames) + call.unkept,
    }


def _hop(hop: EvalHop) -> str:
    return f"{hop.route} {hop.outcome}" + ("" if hop.status is None else f" {hop.status}")
