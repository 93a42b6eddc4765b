"""What a run says of capabilities: verified, refuted or flaky per model and node, with the evidence in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from routerconsole.domain.fingerprint import fingerprint, merged

from .statistics import Probe, sprt, wilson
from .types import Cell, Run, TargetKind


class Finding(StrEnum):
    """What repeats say of one capability."""

    VERIFIED = "verified"
    REFUTED = "refuted"
    FLAKY = "flaky"


@dataclass(frozen=True, slots=True)
class Measured:
    """One capability of one model as a run found it; `at` is UTC epoch seconds, `fingerprint` of the server seen."""

    provider: str
    model: str
    node: str
    finding: Finding
    k: int
    n: int
    interval: tuple[float, float]
    at: float
    run: str
    evidence: str
    fingerprint: str = ""

    @property
    def value(self) -> str | None:
        """The tag it amounts to, None where it is neither yes nor no."""
        return {Finding.VERIFIED: "yes", Finding.REFUTED: "no"}.get(self.finding)


def measured(run: Run, cells: Iterable[Cell], nodes: Mapping[str, str]) -> tuple[Measured, ...]:
    """Return what the run offers as measured; `nodes` names the capability of each scenario that has one.

    Only pinned models are measured: behind a pool it would not be known who answered. Each scenario is decided by
    itself; several that measure one capability and disagree make it flaky. What is still open offers nothing.
    """
    columns = {target.id: target for target in run.targets if target.kind is TargetKind.MODEL}
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(cells, key=lambda each: (each.key.scenario_id, each.key.repeat)):
        node = nodes.get(cell.key.scenario_id)
        if node is not None and cell.key.target_id in columns and cell.capable is not None:
            found.setdefault((cell.key.target_id, node), []).append(cell)
    offered: list[Measured] = []
    for (name, node), kept in found.items():
        finding = finding_of(kept)
        if finding is None:
            continue
        k, n = sum(bool(cell.capable) for cell in kept), len(kept)
        low, high = interval = wilson(k, n)
        column, at = columns[name], max(cell.at for cell in kept)
        said = f"{finding} {k}/{n} (95 % {low:.2f} to {high:.2f}) by {run.id}"
        offered.append(
            Measured(
                column.provider or "",
                column.model or "",
                node,
                finding=finding,
                k=k,
                n=n,
                interval=interval,
                at=at,
                run=run.id,
                evidence=said,
                fingerprint=merged(column.fingerprint or "", answered(kept)),
            )
        )
    return tuple(offered)


def answered(cells: Iterable[Cell]) -> str:
    """Return the fingerprint the answers of these cells carried, empty where they carried none."""
    samples = [cell.sample for cell in cells if cell.sample is not None]
    return fingerprint({"system": [reply.fingerprint for sample in samples for reply in sample.replies]})


def finding_of(cells: Sequence[Cell]) -> Finding | None:
    """Return what the graded repeats of one column say of one capability, None where it is open; in repeats' order."""
    cells = sorted(cells, key=lambda each: each.key.repeat)
    scenarios = dict.fromkeys(cell.key.scenario_id for cell in cells)
    said = {sprt([bool(cell.capable) for cell in cells if cell.key.scenario_id == name]) for name in scenarios}
    said -= {Probe.OPEN}
    if not said:
        return None
    return _FINDINGS[said.pop()] if len(said) == 1 else Finding.FLAKY


_FINDINGS = {Probe.VERIFIED: Finding.VERIFIED, Probe.REFUTED: Finding.REFUTED, Probe.FLAKY: Finding.FLAKY}
