"""What a run says of capabilities: verified, refuted or flaky per model and node, with the evidence in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .statistics import Probe, sprt, wilson
from .types import Cell, Run, TargetKind


class Finding(StrEnum):
    """What repeats say of one capability."""

    VERIFIED = "verified"
    REFUTED = "refuted"
    FLAKY = "flaky"


@dataclass(frozen=True, slots=True)
class Measured:
    """One capability of one model as a run found it."""

    provider: str
    model: str
    node: str
    finding: Finding
    k: int
    n: int
    evidence: str


def measured(run: Run, cells: Iterable[Cell], nodes: Mapping[str, str]) -> tuple[Measured, ...]:
    """Return what the run offers as measured; `nodes` names the capability of each scenario that has one.

    Only pinned models are measured: behind a pool it would not be known who answered. Too few repeats offer nothing.
    """
    columns = {target.id: target for target in run.targets if target.kind is TargetKind.MODEL}
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(cells, key=lambda each: (each.key.scenario_id, each.key.repeat)):
        node = nodes.get(cell.key.scenario_id)
        if node is not None and cell.key.target_id in columns and cell.capable is not None:
            found.setdefault((cell.key.target_id, node), []).append(cell)
    offered: list[Measured] = []
    for (name, node), kept in found.items():
        outcomes = [bool(cell.capable) for cell in kept]
        finding = _FINDINGS.get(sprt(outcomes))
        if finding is None:
            continue
        k, n = sum(outcomes), len(outcomes)
        low, high = wilson(k, n)
        target = columns[name]
        said = f"{finding} {k}/{n} (95 % {low:.2f} to {high:.2f}) by {run.id}"
        offered.append(Measured(target.provider or "", target.model or "", node, finding, k, n, said))
    return tuple(offered)


_FINDINGS = {Probe.VERIFIED: Finding.VERIFIED, Probe.REFUTED: Finding.REFUTED, Probe.FLAKY: Finding.FLAKY}
