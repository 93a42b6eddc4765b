"""The commands about evaluation runs: begin or resume one, stop one or a part of it, grade one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from routerconsole.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """One file of scenarios as it was read: `name` is its path there, for messages."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class StartEval:
    """Begin a run (all scenarios when none are named), or go on with `resume`; the receipt's `after` names it.

    `timeout_s` is the longest a call may take (left out: what each scenario says), `max_time_s` the whole run;
    `connections` cells are asked at once (left out: 4, and one per local server). `cache` takes answers of earlier
    runs where that is honest. `key` is for the one `url:` target; it is never kept, so a resumed run needs it again.
    """

    targets: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    repeats: int | None = None
    seed: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_time_s: float | None = None
    timeout_s: float | None = None
    connections: int | None = None
    cache: bool = False
    scenario_files: tuple[ScenarioFile, ...] = ()
    key: Secret | None = None
    apply: bool = False
    resume: str | None = None
    name: ClassVar[str] = "start_eval"
    __pydantic_config__: ClassVar[Mapping[str, bool]] = {"arbitrary_types_allowed": True}  # for the key


@dataclass(frozen=True, slots=True)
class CancelEval:
    """Stop a run, or with `scenario` one row, `target` one column, both one square, `repeat` one cell of it.

    What is finished is kept; of a part, what was not finished is `skipped(cancelled)` and asked again by a resumption.
    """

    run: str
    scenario: str | None = None
    target: str | None = None
    repeat: int | None = None
    name: ClassVar[str] = "cancel_eval"


@dataclass(frozen=True, slots=True)
class RegradeEval:
    """Grade the kept answers of a run again, without a call; scenarios that now ask something else are refused."""

    run: str
    scenario_files: tuple[ScenarioFile, ...] = ()
    name: ClassVar[str] = "regrade_eval"


EvalCommand = StartEval | CancelEval | RegradeEval
