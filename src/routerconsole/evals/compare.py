"""Two runs beside each other: flips both ways, whether they can be told apart, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from .render_json import number
from .report import LOOKUPS, paired, square_of, unseparated, winner
from .report_types import ScenarioReport
from .statistics import separate
from .types import Cell, Json, Run, ScenarioRef, Status


@dataclass(frozen=True, slots=True)
class Flip:
    """A repeat that passed in one run and failed in the other; `after` is the verdict in the second."""

    target: str
    scenario_id: str
    repeat: int
    before: str
    after: str

    @property
    def worse(self) -> bool:
        """Whether it passed before."""
        return self.before == Status.PASS


@dataclass(frozen=True, slots=True)
class SquareChange:
    """One square in both runs; deltas are the second minus the first, None where one is not known."""

    target: str
    scenario_id: str
    before: ScenarioReport
    after: ScenarioReport
    latency_ms: float | None
    ttft_ms: float | None
    cost_usd: float | None

    @property
    def regressed(self) -> bool:
        """Whether most graded repeats passed before and no longer do."""
        return bool(
            self.before.n and self.after.n
            and self.before.k * 2 > self.before.n
            and self.after.k * 2 < self.after.n
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run `b` against baseline `a`. `winner` is a run id, or None: cannot separate."""

    a: str
    b: str
    squares: tuple[SquareChange, ...]
    flips: tuple[Flip, ...]
    not_comparable: tuple[str, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    p: float
    difference: float | None
    interval: tuple[float, float] | None
    winner: str | None

    @property
    def comparable(self) -> bool:
        """Whether anything was graded in both runs; without that no gate can be told to have passed."""
        return any(square.before.n and square.after.n for square in self.squares)

    @property
    def ungraded(self) -> tuple[SquareChange, ...]:
        """Squares the baseline graded and the run did not: an outage there is no regression, nor is it a pass."""
        return tuple(square for square in self.squares if square.before.n and not square.after.n)

    @property
    def regression(self) -> bool:
        """Whether a square got worse, or the whole did beyond chance."""
        return self.winner == self.a or any(square.regressed for square in self.squares)


def compare(a: tuple[Run, Sequence[Cell]], b: tuple[Run, Sequence[Cell]], *, seed: int = 0) -> Comparison:
    """Compare run `b` with baseline `a`, on the scenarios of one hash; runs of one column each compare across names."""
    (run_a, cells_a), (run_b, cells_b) = a, b
    hashes_a, hashes_b = ({ref.id: ref.hash for ref in run.scenarios} for run in (run_a, run_b))
    changed = tuple(name for name in hashes_a if name in hashes_b and hashes_a[name] != hashes_b[name])
    refs = [ref for ref in run_a.scenarios if hashes_b.get(ref.id) == ref.hash]
    squares: list[SquareChange] = []
    flips: list[Flip] = []
    clusters: dict[str, list[tuple[bool, bool]]] = {}
    columns = _columns(run_a, run_b)
    for left, right in columns:
        mine, theirs = _of(cells_a, left), _of(cells_b, right)
        shown = left if left == right else f"{left} → {right}"
        squares += [_change(shown, ref, mine, theirs) for ref in refs]
        flips += _flips(shown, mine, theirs)
        for name, pairs in paired(mine, theirs).items():
            clusters.setdefault(name, []).extend(pairs)
    said = separate(list(clusters.values()), Random(seed))  # noqa: S311 - resampling, not secrets
    best = winner("a", "b", said, said.p)
    return Comparison(
        a=run_a.id,
        b=run_b.id,
        squares=tuple(squares),
        flips=tuple(flips),
        not_comparable=changed,
        only_in_a=tuple(name for name in hashes_a if name not in hashes_b) + _alone(run_a, {x for x, _ in columns}),
        only_in_b=tuple(name for name in hashes_b if name not in hashes_a) + _alone(run_b, {y for _, y in columns}),
        p=said.p,
        # the second minus the first, as all other deltas
        difference=None if said.difference is None else -said.difference,
        interval=None if said.interval is None else (-said.interval[1], -said.interval[0]),
        winner={"a": run_a.id, "b": run_b.id, None: None}[best],
    )


def _columns(a: Run, b: Run) -> list[tuple[str, str]]:
    left, right = [target.id for target in a.targets], [target.id for target in b.targets]
    if len(left) == len(right) == 1:
        return [(left[0], right[0])]
    return [(name, name) for name in left if name in right]


def _alone(run: Run, used: set[str]) -> tuple[str, ...]:
    return tuple(target.id for target in run.targets if target.id not in used)


def _of(cells: Iterable[Cell], target: str) -> list[Cell]:
    return [cell for cell in cells if cell.key.target_id == target and cell.key.scenario_id not in LOOKUPS]


def _change(target: str, ref: ScenarioRef, a: Sequence[Cell], b: Sequence[Cell]) -> SquareChange:
    before, after = (square_of(ref, [cell for cell in cells if cell.key.scenario_id == ref.id]) for cells in (a, b))
    return SquareChange(
        target,
        ref.id,
        before,
        after,
        latency_ms=_delta(before.latency_ms, after.latency_ms),
        ttft_ms=_delta(before.ttft_ms, after.ttft_ms),
        cost_usd=_delta(before.cost_usd, after.cost_usd),
    )


def _delta(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _flips(target: str, a: Sequence[Cell], b: Sequence[Cell]) -> list[Flip]:
    right = {(cell.key.scenario_id, cell.key.repeat): cell for cell in b if cell.verdict.graded}
    found = []
    for cell in a:
        other = right.get((cell.key.scenario_id, cell.key.repeat))
        if not cell.verdict.graded or other is None or cell.scenario_hash != other.scenario_hash:
            continue
        if cell.verdict.status is not other.verdict.status:
            place = cell.key
            said = cell.verdict.label(), other.verdict.label()
            found.append(Flip(target, place.scenario_id, place.repeat, *said))
    return found


def verdict_text(comparison: Comparison) -> str:
    """Return the one line that says what the numbers allow."""
    if not comparison.squares:
        return "not comparable: the runs share no column and scenario of the same hash"
    if not comparison.comparable:
        return "not comparable: nothing was graded in both runs"
    worse = sum(flip.worse for flip in comparison.flips)
    counts = f"{worse} got worse, {len(comparison.flips) - worse} got better, p {comparison.p:.3f}"
    if comparison.winner is None:
        return f"{unseparated(comparison.p, comparison.p)}: {counts}"
    low, high = comparison.interval or (-1.0, 1.0)
    return f"{comparison.winner} is better: {counts}, difference {low:+.2f} to {high:+.2f}"


def comparison_json(comparison: Comparison) -> dict[str, Json]:
    """Return the comparison as plain data."""
    return {
        "version": 1,
        "a": comparison.a,
        "b": comparison.b,
        "verdict": verdict_text(comparison),
        "winner": comparison.winner,
        "comparable": comparison.comparable,
        "regression": comparison.regression,
        "p": number(comparison.p),
        "difference": number(comparison.difference),
        "interval": None if comparison.interval is None else list(comparison.interval),
        "not_comparable": list(comparison.not_comparable),
        "only_in_a": list(comparison.only_in_a),
        "only_in_b": list(comparison.only_in_b),
        "ungraded": [{"target": each.target, "scenario_id": each.scenario_id} for each in comparison.ungraded],
        "flips": [
            {
                "target": flip.target,
                "scenario_id": flip.scenario_id,
                "repeat": flip.repeat,
                "before": flip.before,
                "after": flip.after,
                "worse": flip.worse,
            }
            for flip in comparison.flips
        ],
        "squares": [_square_json(square) for square in comparison.squares],
    }


def _square_json(square: SquareChange) -> Json:
    return {
        "target": square.target,
        "scenario_id": square.scenario_id,
        "regressed": square.regressed,
        "before": {"status": str(square.before.status), "k": square.before.k, "n": square.before.n},
        "after": {"status": str(square.after.status), "k": square.after.k, "n": square.after.n},
        "latency_ms": number(square.latency_ms),
        "ttft_ms": number(square.ttft_ms),
        "cost_usd": number(square.cost_usd),
    }
