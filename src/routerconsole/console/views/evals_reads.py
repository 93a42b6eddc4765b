"""What the Evals view reads beside the page of runs: reports, cells in full, comparisons; kept for a while."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

from routerconsole.control.port import ControlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from routerconsole.control.eval_views import EvalCell, EvalCellDetail, EvalRun

    from .base import Host

KEPT: Final = 60
"""Answers that are kept, the oldest go first."""


class EvalReads:
    """Asks the engine once for each thing as it stands; what changed since is asked for again, the old stays shown."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._found: dict[Hashable, tuple[object, Any]] = {}  # by what was asked: how it stood then, and the answer
        self._asking: set[Hashable] = set()

    def cell(self, run: EvalRun, scenario: str, target: str, cell: EvalCell | None) -> EvalCellDetail | None:
        """Return a cell in full, None until it was read."""
        if cell is None:
            return None
        control = self._host.control
        key = ("cell", run.id, scenario, target)
        found: EvalCellDetail | None = self._get(key, cell, lambda: control.eval_cell(run.id, scenario, target))
        return found

    def report(self, run: EvalRun) -> Mapping[str, Any] | None:
        """Return a run's report, None until it was read."""
        found = self._get(("report", run.id), (run.state, run.cells), lambda: self._host.control.eval_run(run.id))
        return found if isinstance(found, Mapping) else None

    def comparison(self, base: EvalRun, run: EvalRun) -> Mapping[str, Any] | str | None:
        """Return a run against a baseline, the engine's reason where it compares nothing, None until it was read."""
        stamp = (base.state, base.cells, run.state, run.cells)
        found: Mapping[str, Any] | str | None = self._get(
            ("compared", base.id, run.id), stamp, lambda: self._host.control.eval_compare(base.id, run.id)
        )
        return found

    def _get(self, key: Hashable, stamp: object, ask: Callable[[], Awaitable[Any]]) -> Any:
        then, answer = self._found.get(key, (None, None))
        if (key not in self._found or then != stamp) and key not in self._asking:
            self._asking.add(key)
            self._host.spawn(self._ask(key, stamp, ask))
        return answer

    async def _ask(self, key: Hashable, stamp: object, ask: Callable[[], Awaitable[Any]]) -> None:
        answer: Any
        try:
            answer = await ask()
        except ControlError as error:
            answer = error.message if key[0] == "compared" else None  # type: ignore[index]  # every key is a tuple
        finally:
            self._asking.discard(key)
        self._found.pop(key, None)
        self._found[key] = (stamp, answer)
        while len(self._found) > KEPT:
            self._found.pop(next(iter(self._found)))
        self._host.redraw()
