"""The figures to reach (safety.md §5), what was measured against them, and the Markdown that shows both."""

from __future__ import annotations

import operator
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: `must` and `aim` bound it from above, or from below with `at_least`."""

    quantity: str
    value: float
    must: float | None = None
    aim: float | None = None
    unit: str = ""
    at_least: bool = False
    note: str = ""

    def verdict(self) -> str:
        """`aim`, `must`, `missed`, or nothing where the figure is only for information."""
        reached: Callable[[float, float], bool] = operator.ge if self.at_least else operator.le
        if self.must is None:
            return ""
        if self.aim is not None and reached(self.value, self.aim):
            return "aim"
        return "must" if reached(self.value, self.must) else "**missed**"

    def row(self) -> str:
        """The figure as a row of the table."""
        sign = "≥" if self.at_least else "≤"
        bounds = [f"{sign} {bound:g}{self.unit}" if bound is not None else "" for bound in (self.must, self.aim)]
        shown = f"{self.value:.3g}" if abs(self.value) < 1000 else f"{self.value:,.0f}"
        return f"| {self.quantity} | {' | '.join(bounds)} | {shown}{self.unit} | {self.verdict()} | {self.note} |"


@dataclass(slots=True)
class Report:
    """Everything one run found: figures, and the raw samples they were made from."""

    command: str
    figures: list[Figure] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, *figures: Figure) -> None:
        """Keep figures and show them at once: a full run takes many minutes."""
        self.figures += figures
        for figure in figures:
            print(figure.row(), flush=True)

    def sample(self, line: str) -> None:
        """Keep and show a raw sample."""
        self.samples.append(line)
        print(f"  {line}", flush=True)

    def missed(self) -> list[str]:
        """The quantities whose *must* was not reached."""
        return [figure.quantity for figure in self.figures if "missed" in figure.verdict()]

    def markdown(self) -> str:
        """The whole report."""
        head = ["quantity", "must", "aim", "measured", "reached", "how"]
        table = [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(figure.row() for figure in self.figures)]
        samples = ["```", *self.samples, "```"]
        return "\n".join(
            [
                "# Measured figures",
                "",
                f"Made by `{self.command}` on {self.began:%Y-%m-%d %H:%M} UTC; never edited by hand.",
                f"Machine: {_machine()}. The server under test has core 0, load and upstream share core 1; only ratios",
                "within one run mean something.",
                "",
                *table,
                "",
                "## Raw samples",
                "",
                *samples,
                "",
            ]
        )


def _machine() -> str:
    """Processor, cores and the software that matters."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    chip = names[0].partition(":")[2].strip() if names else platform.machine()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return f"{len(names)} cores, {chip}, Python {platform.python_version()}, commit {commit.strip() or 'unknown'}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
