"""What is known of quality, in memory: mean reward scores per model and agent, and what evaluations passed.

The source of `quality_first`: looked up in the hot path, so answers are worked out once per change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from routerconsole.control.reward_views import RewardMean
from routerconsole.domain.capability import UnknownCapability
from routerconsole.domain.route import ModelKey
from routerconsole.routing.order import Quality
from routerconsole.storage.rewards import PassRow

if TYPE_CHECKING:
    from routerconsole.domain.capability import CapabilityTree
    from routerconsole.evals.report_types import RunReport

WINDOW = 200
"""Newest scores that count in a mean: a model that was changed years ago is another one."""


class Scores:
    """The scores of one engine; `models` are `provider/model`."""

    def __init__(self) -> None:
        self._models: dict[str, deque[float]] = {}
        self._agents: dict[str, deque[float]] = {}
        self._passes: dict[ModelKey, dict[str, tuple[str | None, float]]] = {}
        self._known: dict[str | None, Mapping[ModelKey, Quality]] = {}

    def add(self, score: float, *, model: str | None, agent: str | None) -> None:
        """Count a score, newer than all before."""
        for name, kept in ((model, self._models), (agent, self._agents)):
            if name is not None:
                kept.setdefault(name, deque(maxlen=WINDOW)).append(score)
        self._known.clear()

    def passed(self, rows: Iterable[PassRow]) -> None:
        """Take what models passed, in place of what was known of the same scenarios."""
        for row in rows:
            key = ModelKey(row.provider.casefold(), row.model)
            self._passes.setdefault(key, {})[row.scenario] = (row.node, row.passed)
        self._known.clear()

    def mean(self, key: ModelKey) -> RewardMean | None:
        """Return a model's mean, None without a score."""
        name = f"{key.provider}/{key.model}"
        kept = self._models.get(name)
        return None if not kept else RewardMean(name, fmean(kept), len(kept))

    def of_agents(self, names: Iterable[str]) -> tuple[RewardMean, ...]:
        """Return the means of those agents that have scores."""
        return tuple(RewardMean(name, fmean(kept), len(kept)) for name in names if (kept := self._agents.get(name)))

    def means(self) -> tuple[tuple[RewardMean, ...], tuple[RewardMean, ...]]:
        """Return the means of models and of agents, best first."""
        models, agents = (
            tuple(
                sorted(
                    (RewardMean(name, fmean(scores), len(scores)) for name, scores in kept.items()),
                    key=lambda each: (-each.mean, each.name),
                )
            )
            for kept in (self._models, self._agents)
        )
        return models, agents

    def quality(self, node: str | None) -> Mapping[ModelKey, Quality]:
        """Return what is known of each model at a node (None: at all): mean reward, and mean pass^k at or below it."""
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = self._worked_out(node)
        return known

    def _worked_out(self, node: str | None) -> Mapping[ModelKey, Quality]:
        rewards = {ModelKey(*name.split("/", 1)): fmean(kept) for name, kept in self._models.items() if "/" in name}
        passes = {
            key: fmean(counted)
            for key, scenarios in self._passes.items()
            if (counted := [value for at, value in scenarios.values() if _within(at, node)])
        }
        return {key: Quality(rewards.get(key), passes.get(key)) for key in {*rewards, *passes}}


def passes_of(report: RunReport, tree: CapabilityTree) -> tuple[PassRow, ...]:
    """Return what each pinned model of a run passed of the scenarios that were graded; drills test the router."""
    nodes = {ref.id: _node(ref.capability, tree) for ref in report.scenarios if ref.kind != "drill"}
    return tuple(
        PassRow(column.provider, column.model, square.scenario_id, nodes[square.scenario_id], square.pass_hat_k)
        for column in report.targets
        for square in column.scenarios
        if column.provider and column.model and square.pass_hat_k is not None and square.scenario_id in nodes
    )


def _node(name: str | None, tree: CapabilityTree) -> str | None:
    """Return the node a scenario measures; one that a configuration has no longer counts as none."""
    try:
        return None if name is None else tree.resolve(name)
    except UnknownCapability:
        return None


def _within(node: str | None, wanted: str | None) -> bool:
    return wanted is None or (node is not None and (node == wanted or node.startswith(f"{wanted}.")))
