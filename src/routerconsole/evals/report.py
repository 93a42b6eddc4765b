"""From a run and its cells to the report every face shows: squares, columns, and columns told apart or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from random import Random
from typing import Final

from .measured import finding_of
from .report_types import CapabilityReport, PairReport, RunReport, ScenarioReport, TargetReport
from .statistics import ALPHA, ONE_SIDED, Separation, holm, median, pass_at_k, pass_hat_k, separate, wilson
from .types import Cell, Run, ScenarioRef, Status, Target

LOOKUPS: Final = ("profile_lookup", "profile_availability")
"""Scenario ids of the one row a column gets that nobody knows, or that cannot be used."""
MOST_K: Final = 3
NEEDS_REPEATS: Final = f"needs >= {ONE_SIDED} one-sided"
NEEDS_MORE: Final = "needs more one-sided among so many columns"
NEEDS_SCENARIOS: Final = "needs more scenarios that agree"
_WORST: Final = (
    Status.ERROR, Status.RATE_LIMITED, Status.TRUNCATED, Status.REFUSED, Status.INCONCLUSIVE, Status.UNSUPPORTED,
    Status.SKIPPED,
)  # fmt: skip
"""Which word a square without a graded repeat shows, the one to act on first."""
_UNANSWERED: Final = frozenset({Status.ERROR, Status.RATE_LIMITED})
_UNASKED: Final = frozenset({Status.UNSUPPORTED, Status.SKIPPED})


def report_of(run: Run, cells: Iterable[Cell]) -> RunReport:
    """Return the report of a run; it may be called while the run goes on."""
    kept = tuple(cells)
    by_target: dict[str, list[Cell]] = {target.id: [] for target in run.targets}
    for cell in kept:
        by_target.setdefault(cell.key.target_id, []).append(cell)
    return RunReport(
        run_id=run.id,
        state=run.state,
        started_at=run.started_at,
        completed_at=run.completed_at,
        seed=run.seed,
        scenarios=run.scenarios,
        targets=tuple(_column(target, run.scenarios, by_target[target.id]) for target in run.targets),
        pairs=_pairs([target.id for target in run.targets], kept, run.seed),
    )


def _column(target: Target, scenarios: Sequence[ScenarioRef], cells: Sequence[Cell]) -> TargetReport:
    lookups = [ScenarioRef(name, "", name) for name in LOOKUPS if any(c.key.scenario_id == name for c in cells)]
    squares = tuple(
        square_of(ref, [cell for cell in cells if cell.key.scenario_id == ref.id]) for ref in lookups or scenarios
    )
    k, n = sum(square.k for square in squares), sum(square.n for square in squares)
    asked = [cell for cell in cells if cell.verdict.status not in _UNASKED and cell.key.scenario_id not in LOOKUPS]
    answered = sum(_answered(cell) for cell in asked)
    return TargetReport(
        id=target.id,
        provider=target.provider,
        model=target.model or (target.url or target.name),
        scenarios=squares,
        k=k,
        n=n,
        ci=wilson(k, n),
        availability=answered / len(asked) if asked else None,
        capabilities=tuple(_capabilities(scenarios, cells)),
    )


def _capabilities(scenarios: Sequence[ScenarioRef], cells: Sequence[Cell]) -> Iterator[CapabilityReport]:
    words = {ref.id: ref.capability for ref in scenarios if ref.capability is not None}
    for word in dict.fromkeys(words.values()):
        graded = [cell for cell in cells if words.get(cell.key.scenario_id) == word and cell.capable is not None]
        k, n = sum(bool(cell.capable) for cell in graded), len(graded)
        if n:
            yield CapabilityReport(word, finding_of(graded) or "", k, n, wilson(k, n))


def square_of(ref: ScenarioRef, cells: Sequence[Cell]) -> ScenarioReport:
    """Return one square from its repeats: k of n graded ones, what stands against it, medians and sums."""
    counts = Counter(cell.verdict.status for cell in cells)
    k, n = counts[Status.PASS], counts[Status.PASS] + counts[Status.FAIL]
    against = next((cell for status in (Status.FAIL, *_WORST) for cell in cells if cell.verdict.status is status), None)
    most = min(n, MOST_K)
    return ScenarioReport(
        scenario_id=ref.id,
        name=ref.title or ref.id,
        status=_status(counts, k, n),
        summary=_summary(cells, k, n),
        k=k,
        n=n,
        ci=wilson(k, n),
        total=len(cells),
        latency_ms=median([cell.latency_ms for cell in cells if cell.latency_ms is not None]),
        ttft_ms=median([cell.ttft_ms for cell in cells if cell.ttft_ms is not None]),
        input_tokens=_total([cell.input_tokens for cell in cells]),
        output_tokens=_total([cell.output_tokens for cell in cells]),
        cost_usd=_money([cell.cost_usd for cell in cells if _answered(cell) or cell.cost_usd is not None]),
        malformed_json=sum(cell.malformed_json for cell in cells),
        tool_calls=sum(cell.tool_calls for cell in cells),
        expected="" if against is None else against.verdict.expected,
        actual="" if against is None else against.verdict.actual,
        error="" if against is None else (against.verdict.detail or against.verdict.label()),
        pass_at_k=pass_at_k(n, k, most) if n else None,
        pass_hat_k=pass_hat_k(n, k, most) if n else None,
        metrics=_metrics(cells),
        counts={str(status): count for status, count in counts.items()},
    )


def _status(counts: Mapping[Status, int], k: int, n: int) -> Status:
    if n:
        return Status.PASS if k == n else Status.FAIL
    return next((status for status in _WORST if counts.get(status)), Status.INCONCLUSIVE)


def _summary(cells: Sequence[Cell], k: int, n: int) -> str:
    if not cells:
        return "not run"
    others = Counter(cell.verdict.label() for cell in cells if cell.verdict.status is not Status.PASS)
    parts = [f"{k}/{n} passed"] if n else []
    parts += [label if count == 1 else f"{label} x{count}" for label, count in sorted(others.items())]
    taken = sum(cell.cached is not None for cell in cells)
    parts += [f"{taken} from earlier runs"] if taken else []
    return ", ".join(parts)


def _metrics(cells: Sequence[Cell]) -> dict[str, str]:
    measured = [cell for cell in cells if any(check.metric and check.value is not None for check in cell.checks)]
    if not measured:
        return {}
    last = max(measured, key=lambda cell: (cell.at, cell.key.repeat))
    return {check.metric: check.actual for check in last.checks if check.metric and check.value is not None}


def _answered(cell: Cell) -> bool:
    return cell.verdict.status not in _UNANSWERED | _UNASKED


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _money(costs: Sequence[float | None]) -> float | None:
    """The sum of all repeats, None as soon as one is not known: part of a cost is no cost."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


# ---- columns told apart


def paired(a: Iterable[Cell], b: Iterable[Cell]) -> dict[str, list[tuple[bool, bool]]]:
    """Return by scenario whether each repeat both sides answered passed on either; hashes that differ never pair."""
    right = {(cell.key.scenario_id, cell.key.repeat): cell for cell in b if cell.verdict.graded}
    found: dict[str, list[tuple[bool, bool]]] = {}
    for cell in a:
        other = right.get((cell.key.scenario_id, cell.key.repeat))
        if cell.verdict.graded and other is not None and cell.scenario_hash == other.scenario_hash:
            both = cell.verdict.status is Status.PASS, other.verdict.status is Status.PASS
            found.setdefault(cell.key.scenario_id, []).append(both)
    return found


def _pairs(ids: Sequence[str], cells: Sequence[Cell], seed: int) -> tuple[PairReport, ...]:
    by_target = {
        name: [c for c in cells if c.key.target_id == name and c.key.scenario_id not in LOOKUPS] for name in ids
    }
    found: list[tuple[str, str, Separation]] = []
    for a, b in combinations(ids, 2):
        clusters = list(paired(by_target[a], by_target[b]).values())
        found.append((a, b, separate(clusters, Random(seed))))  # noqa: S311 - resampling, not secrets
    corrected = holm([separation.p for _, _, separation in found])
    return tuple(
        PairReport(
            a=a,
            b=b,
            a_only=said.a_only,
            b_only=said.b_only,
            p=said.p,
            p_corrected=p,
            difference=said.difference,
            interval=said.interval,
            winner=winner(a, b, said, p),
        )
        for (a, b, said), p in zip(found, corrected, strict=True)
    )


def winner(a: str, b: str, said: Separation, p: float) -> str | None:
    """Return the better of two, or None: a tie, nothing to compare, a p or a choice of scenarios that explains it.

    McNemar's test takes repeats for independent, which those of one scenario are not: the interval of the difference
    over scenarios must lie on one side of 0 as well.
    """
    low, high = said.interval or (-1.0, 1.0)
    if said.a_only == said.b_only or not p < ALPHA or low <= 0.0 <= high:
        return None
    return a if said.a_only > said.b_only else b


def unseparated(p: float, corrected: float) -> str:
    """Return why there is no winner: too few one-sided repeats, for so many columns or at all, or scenarios."""
    if not p < ALPHA:
        return f"cannot separate ({NEEDS_REPEATS})"
    return f"cannot separate ({NEEDS_MORE if not corrected < ALPHA else NEEDS_SCENARIOS})"


def separation_text(pair: PairReport) -> str:
    """Return one line on two columns that never claims more than the numbers do."""
    counts = f"{pair.a_only} only {pair.a}, {pair.b_only} only {pair.b}"
    if pair.winner is None:
        return f"{unseparated(pair.p, pair.p_corrected)}: {counts}, p {pair.p_corrected:.3f}"
    low, high = pair.interval or (-1.0, 1.0)
    return f"{pair.winner} is better: {counts}, p {pair.p_corrected:.3f}, difference {low:+.2f} to {high:+.2f}"
