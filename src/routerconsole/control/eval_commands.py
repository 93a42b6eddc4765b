"""The commands about evaluation runs: begin or resume one, stop one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class StartEval:
    """Begin a run (all scenarios when none are named), or go on with `resume`; the receipt's `after` names it.

    `timeout_s` is the run's limit of time, `scenarios_dir` a directory of more scenarios on the engine's machine.
    """

    targets: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    repeats: int | None = None
    seed: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    timeout_s: float | None = None
    scenarios_dir: str | None = None
    apply: bool = False
    resume: str | None = None
    name: ClassVar[str] = "start_eval"


@dataclass(frozen=True, slots=True)
class CancelEval:
    """Stop a run; what is finished is kept."""

    run: str
    name: ClassVar[str] = "cancel_eval"
