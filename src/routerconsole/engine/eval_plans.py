"""What a command to run or grade again means: scenarios, columns, caps, and what of an earlier run goes on."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from routerconsole.config.problems import ConfigError
from routerconsole.config.yaml_loader import MAX_BYTES
from routerconsole.control.port import ControlError
from routerconsole.evals.outside import parts
from routerconsole.evals.runner import finished_cells, regraded
from routerconsole.evals.scenario_files import Catalogue, UnknownScenarios, load_catalogue
from routerconsole.evals.types import Caps, Run, RunState, ScenarioRef, TargetKind, parse_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from routerconsole.control.eval_commands import RegradeEval, ScenarioFile, StartEval
    from routerconsole.evals.scenario import Scenario
    from routerconsole.evals.types import Cell, Target

    from .eval_columns import Columns
    from .service import Service

MAX_TARGETS = 50
MAX_REPEATS = 1000
MAX_FILES = 200
MAX_CONNECTIONS = 64
CLI: Final = "cli"
"""The face that may name addresses: whoever sits there could ask them himself."""
Loaded = tuple[Run, "tuple[Cell, ...]"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A run about to begin or to go on, its scenarios and the cells there are already."""

    run: Run
    scenarios: tuple[Scenario, ...]
    cells: tuple[Cell, ...] = ()


class EvalPlans:
    """Turns commands into runs; asks nobody anything."""

    def __init__(self, service: Service, columns: Columns) -> None:
        self._service, self._columns = service, columns
        self._shipped: Catalogue | None = None

    async def catalogue(self, files: Sequence[ScenarioFile] = ()) -> Catalogue:
        """Return every scenario there is; raise ControlError with all that is wrong with the files handed in."""
        if not files and self._shipped is not None:
            return self._shipped
        if len(files) > MAX_FILES or any(len(each.text) > MAX_BYTES for each in files):
            raise ControlError("invalid_request", f"Scenario files are {MAX_FILES} at most, of 1 MiB each.")
        texts = [(each.name, each.text) for each in files]
        try:
            found = await asyncio.to_thread(load_catalogue, texts=texts, tree=self._service.registry.tree)
        except ConfigError as exc:
            raise ControlError("invalid_request", "\n".join(str(item) for item in exc.problems)) from exc
        if not files:
            self._shipped = found
        return found

    async def begun(self, command: StartEval, actor: str) -> Planned:
        """Return the new run a command means; raise ControlError."""
        catalogue = await self.catalogue(command.scenario_files)
        targets = self._targets(command, actor)
        try:
            scenarios = catalogue.select(command.scenarios or None)
        except UnknownScenarios as exc:
            raise ControlError("invalid_request", f"{exc}.") from exc
        _counted("repeats", command.repeats, MAX_REPEATS)
        _counted("connections", command.connections, MAX_CONNECTIONS)
        run = Run(
            id=f"meval_{secrets.token_hex(6)}",
            started_at=self._service.clock.wall(),
            seed=secrets.randbelow(2**31) if command.seed is None else command.seed,
            repeats=command.repeats,
            scenarios=tuple(ref_of(each) for each in scenarios),
            targets=targets,
            caps=_caps(command),
            actor=actor,
            timeout_s=command.timeout_s,
            connections=command.connections,
            cache=command.cache,
        )
        return Planned(run, scenarios)

    async def resumed(self, command: StartEval, found: Loaded | None, actor: str) -> Planned:
        """Return a run that goes on with what is missing or was an error; raise ControlError."""
        run, cells = _there(command.resume or "", found)
        chosen = {"targets": command.targets, "scenarios": command.scenarios, "repeats": command.repeats,
                  "seed": command.seed}  # fmt: skip
        said = [name for name, value in chosen.items() if value not in ((), None)]
        if said:
            why = f"A resumed run keeps its {', '.join(said)}: leave that out, or start a new run."
            raise ControlError("invalid_request", why)
        scenarios = await self._again(run, command.scenario_files)
        changed = [ref.id for ref, now in zip(run.scenarios, scenarios, strict=True) if ref.hash != now.hash]
        if changed:
            said_so = ", ".join(changed)
            raise ControlError(
                "conflict",
                f"These scenarios have changed since: {said_so}; start a new run, or grade its answers again.",
                status=409,
            )
        self._keys(run.targets, command, actor)
        _counted("connections", command.connections, MAX_CONNECTIONS)
        caps, given = run.caps, _caps(command)
        caps = Caps(given.wall_s or caps.wall_s, given.tokens or caps.tokens, given.cost_usd or caps.cost_usd)
        run = replace(
            run,
            state=RunState.RUNNING,
            completed_at=None,
            caps=caps,
            timeout_s=command.timeout_s or run.timeout_s,
            connections=command.connections or run.connections,
        )
        return Planned(run, scenarios, regraded(finished_cells(cells), scenarios))

    async def graded_again(self, command: RegradeEval, found: Loaded | None) -> Planned:
        """Return a run with its answers graded as its scenarios now say; raise ControlError."""
        run, cells = _there(command.run, found)
        scenarios = await self._again(run, command.scenario_files)
        other = [
            ref.id
            for ref, now in zip(run.scenarios, scenarios, strict=True)
            if ref.hash != now.hash and ref.asks != now.asks
        ]
        if other:
            said = ", ".join(other)
            raise ControlError("conflict", f"These scenarios now ask something else: {said}; run them.", status=409)
        anew = await asyncio.to_thread(regraded, cells, scenarios, anew=True)
        return Planned(replace(run, scenarios=tuple(ref_of(each) for each in scenarios)), scenarios, anew)

    async def _again(self, run: Run, files: Sequence[ScenarioFile]) -> tuple[Scenario, ...]:
        catalogue = await self.catalogue(files)
        try:
            return catalogue.select([ref.id for ref in run.scenarios])
        except UnknownScenarios as exc:
            missing = ", ".join(exc.unknown)
            raise ControlError(
                "conflict",
                f"Run {run.id} cannot go on without the files of {missing}: name their directory (--scenarios-dir).",
                status=409,
            ) from exc

    def _targets(self, command: StartEval, actor: str) -> tuple[Target, ...]:
        if not command.targets:
            raise ControlError("invalid_request", "`targets` names nobody (e.g. provider/model, pool:tools, auto).")
        if len(command.targets) > MAX_TARGETS:
            raise ControlError("invalid_request", f"`targets` are {MAX_TARGETS} at most.")
        found: list[Target] = []
        for text in dict.fromkeys(command.targets):
            try:
                target = parse_target(text)
                if target.url is not None:
                    parts(target.url)
            except ValueError as exc:
                raise ControlError("invalid_request", _sentence(text, str(exc))) from exc
            keyed = target.kind is TargetKind.URL and command.key is not None
            found.append(
                replace(
                    target,
                    window=self._columns.window(target),
                    fingerprint=self._columns.fingerprint(target),
                    keyed=keyed,
                )
            )
        self._keys(found, command, actor)
        return tuple(found)

    def _keys(self, targets: Sequence[Target], command: StartEval, actor: str) -> None:
        """Refuse addresses of another face, a key for nobody or for two, and a missing one."""
        outside = [target for target in targets if target.kind is TargetKind.URL]
        if outside and actor != CLI:
            raise ControlError(
                "invalid_request",
                "`url:` targets are asked from the command line only (`routerconsole eval run`); "
                "name the address as a provider in the configuration.",
            )
        if command.key is not None and len(outside) != 1:
            raise ControlError("invalid_request", "A key goes with exactly one `url:` target.")
        if command.key is None and any(target.keyed for target in outside):
            raise ControlError(
                "invalid_request",
                f"{outside[0].id} was asked with a key, and keys are never kept: give it again (--key env:NAME).",
            )


def _sentence(text: str, why: str) -> str:
    return f"{why}." if "is no target" in why else f"`{text[:80]}` {why}."


def _there(run_id: str, found: Loaded | None) -> Loaded:
    if found is None:
        raise ControlError("not_found", f"Run {run_id[:60]!r} not found.", status=404)
    if found[0].state is RunState.RUNNING:
        raise ControlError("conflict", f"Run {run_id} goes on already.", status=409)
    return found


def _counted(name: str, value: int | None, most: int) -> None:
    if value is not None and not 1 <= value <= most:
        raise ControlError("invalid_request", f"`{name}` must be 1 to {most}.")


def ref_of(scenario: Scenario) -> ScenarioRef:
    """Return a scenario as a run remembers it."""
    return ScenarioRef(
        scenario.id, scenario.hash, scenario.title, scenario.said.capability, scenario.kind, scenario.asks
    )


def _caps(command: StartEval) -> Caps:
    given: Mapping[str, float | None] = {
        "max_cost_usd": command.max_cost_usd,
        "max_tokens": command.max_tokens,
        "max_time_s": command.max_time_s,
        "timeout_s": command.timeout_s,
    }
    for name, value in given.items():
        if value is not None and not 0 < value < float("inf"):
            raise ControlError("invalid_request", f"`{name}` must be above 0.")
    return Caps(command.max_time_s, command.max_tokens, command.max_cost_usd)
