"""The capability tree and the models of one node as rows, and everything said of one model at one node. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from routerconsole.console.safe_text import visible
from routerconsole.domain.counted import counted

from . import quantity
from .cells import Column, Line, Role, Run, header, labelled, lay_out, merge, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from routerconsole.console.demand import Figure
    from routerconsole.control.commands import Receipt
    from routerconsole.control.registry_views import (
        CapabilityValue,
        LayerView,
        ModelView,
        NodeModel,
        NodeView,
        PoolMember,
        PoolView,
    )

VALUE: Final[Mapping[str, Run]] = {
    "yes": ("✓ yes", Role.OK),
    "no": ("✗ no", Role.WARN),
    "unknown": ("· unknown", Role.DIM),
}
STEP: Final = 2
"""Columns a node stands further in than its parent."""
DEEPEST: Final = 4
"""Levels that are indented; what is deeper says so by a number instead of leaving the pane."""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A visible node of the tree; `open` is None where nothing is below it."""

    node: NodeView
    name: str
    depth: int
    open: bool | None

    @property
    def label(self) -> str:
        """The indented name with its fold."""
        fold = {True: "▾ ", False: "▸ ", None: "  "}[self.open]
        deep = f"{self.depth}› " if self.depth > DEEPEST else ""
        return f"{' ' * STEP * min(self.depth, DEEPEST)}{fold}{deep}{visible(self.name, 60)}"


@dataclass(frozen=True, slots=True)
class Place:
    """A model in the pool of a node: its number in the order of asking, and what stands against it now."""

    number: int
    admissible: bool
    reason: str

    @property
    def short(self) -> str:
        """What stands against it in a few words."""
        reason = visible(self.reason, 200).replace("circuit_open", "open")
        reason = "learned gap" if reason.startswith("learned gap") else reason
        if self.admissible:
            return f"◐ {reason}" if reason else "● can be asked"
        return f"✗ {reason or 'not admissible'}"

    @property
    def words(self) -> str:
        """The same in full."""
        against = visible(self.reason, 200)
        if self.admissible:
            return f"can be asked ({against})" if against else "can be asked"
        return against or "not admissible"


def places(pool: PoolView | None) -> dict[tuple[str, str], tuple[int, PoolMember]]:
    """Return number and member by provider and model; of several accounts the first has the number, any may answer.

    Tuples and not `Place`: of thousands only the visible ones are made.
    """
    found: dict[tuple[str, str], tuple[int, PoolMember]] = {}
    for member in pool.members if pool is not None else ():
        key = (member.provider, member.model)
        known = found.get(key)
        if known is None:
            found[key] = (len(found) + 1, member)
        elif (not member.admissible, member.reason) < (not known[1].admissible, known[1].reason):
            found[key] = (known[0], member)
    return found


def coverage(node: NodeView) -> Run:
    """Return the mark of a node: `!!` when models have it and none can be asked, `!` when one can."""
    if node.total and not node.routable:
        return "!!", Role.BAD
    return ("!", Role.WARN) if node.routable == 1 else ("", Role.TEXT)


def coverage_words(node: NodeView) -> Run:
    """Return the same in words."""
    if not node.total:
        return "no model has it", Role.DIM
    if not node.routable:
        return f"!! none of {node.total} can be asked now", Role.BAD
    if node.routable == 1:
        return f"! 1 of {node.total} can be asked: a single point of failure", Role.WARN
    return f"{node.routable} of {node.total} can be asked", Role.TEXT


def tree_lines(rows: Sequence[TreeRow], width: int, demand: Callable[[str], Figure]) -> tuple[Line, list[Line]]:
    """Return the title line and one line per visible node."""
    columns = _tree_columns(demand)
    laid = lay_out(columns, width)
    return header(laid), [row(each, laid) for each in rows]


def _tree_columns(demand: Callable[[str], Figure]) -> tuple[Column[TreeRow], ...]:
    def counts(each: TreeRow) -> Run:
        node = each.node
        role = coverage(node)[1] if node.total else Role.DIM
        return (f"{node.routable}/{node.total}" if node.total else quantity.NONE), role

    def figure(each: TreeRow, *, failed: bool) -> Run:
        found = demand(each.node.path)
        number = found.failed if failed else found.count
        return (quantity.count(number) if number else ""), Role.TEXT

    return (
        Column("capability", 22, lambda r: (r.label, Role.TEXT if r.node.total else Role.DIM), grow=3),
        Column("can/has", 9, counts, "right"),
        Column("", 2, lambda r: coverage(r.node)),
        Column("req/h", 6, lambda r: figure(r, failed=False), "right", drop=1),
        Column("failed", 6, lambda r: figure(r, failed=True), "right", drop=2),
        Column("word", 12, lambda r: (visible(" ".join(r.node.aliases), 40), Role.TEXT), drop=3),
    )


@dataclass(frozen=True, slots=True)
class AtNode:
    """What the models of a node are drawn from: who says yes or no, and where they stand in its pool.

    A node without a `pool` of its own has the places of the pool of all, for whether they can be asked.
    """

    node: NodeView
    said: Mapping[tuple[str, str], NodeModel]
    places: Mapping[tuple[str, str], tuple[int, PoolMember]]
    pool: PoolView | None

    def value(self, model: ModelView) -> str:
        """Return yes, no or unknown."""
        found = self.said.get((model.provider, model.upstream_id))
        return "unknown" if found is None else found.value

    def place(self, model: ModelView) -> Place | None:
        """Return where a model stands, None where it is in no pool."""
        found = self.places.get((model.provider, model.upstream_id))
        return None if found is None else Place(found[0], found[1].admissible, found[1].reason)

    def source(self, model: ModelView) -> str:
        """Return who says so."""
        found = self.said.get((model.provider, model.upstream_id))
        return "" if found is None or found.source is None else found.source


def deciding(model: ModelView, node: str, value: str) -> tuple[str, LayerView | None]:
    """Return the node and layer that make a model's value at a node: its own, or a yes below it."""
    own = model.capabilities.get(node)
    layer = winning(own) if own is not None else None
    if value != "yes" or (layer is not None and layer.value == "yes"):
        return node, layer
    prefix = f"{node}."
    for path, below in model.capabilities.items():
        if path.startswith(prefix) and below.value == "yes":
            layer = winning(below)
            if layer is not None and layer.value == "yes":
                return path, layer
    return node, None


def winning(value: CapabilityValue) -> LayerView | None:
    """Return the layer of a node that counts there; a gap of some accounts only, or an overruled one, does not."""
    counting = (layer for layer in value.layers if layer.source != "gap" or value.source == "gap")
    return next(counting, None)


def model_lines(rows: Sequence[ModelView], width: int, at: AtNode) -> tuple[Line, list[Line]]:
    """Return the title line and one line per model."""
    laid = lay_out(_model_columns(at), width)
    return header(laid), [row(each, laid) for each in rows]


def _model_columns(at: AtNode) -> tuple[Column[ModelView], ...]:
    def number(model: ModelView) -> Run:
        place = at.place(model)
        return (str(place.number) if place is not None and at.pool is not None else ""), Role.TEXT

    def now(model: ModelView) -> Run:
        place = at.place(model)
        if not model.enabled:
            return "off", Role.TEXT
        return (place.short if place is not None else ""), Role.TEXT

    def evidence(model: ModelView) -> Run:
        value = at.value(model)
        where, layer = deciding(model, at.node.path, value)
        below = "" if where == at.node.path else f"by {where[len(at.node.path) + 1 :]}: "
        return visible(below + (layer.evidence if layer is not None else ""), 120), Role.TEXT

    return (
        Column("value", 9, lambda m: VALUE.get(at.value(m), VALUE["unknown"])),
        Column("#", 3, number, "right", drop=1),
        Column("model", 20, lambda m: (visible(m.id, 100), Role.TEXT), grow=3),
        Column("source", 9, lambda m: (at.source(m), Role.TEXT)),
        Column("now", 15, now, drop=2, grow=1),
        Column("evidence", 16, evidence, drop=3, grow=3),
    )


def node_lines(at: AtNode, demand: Figure, since: str | None, width: int) -> list[Line]:
    """Return what there is to say of a node: its path and words, who can be asked, its pool, who needed it."""
    node = at.node
    words = f" ({', '.join(node.aliases)})" if node.aliases else ""
    own = "; added here" if node.extension else ""
    text, role = coverage_words(node)
    lines = labelled("node", visible(node.path, 300) + visible(words, 120) + own, width, pad=8)
    lines += labelled("models", text, width, role=role, pad=8)
    if at.pool is not None:
        pointer = f", next {visible(at.pool.pointer, 60)}" if at.pool.pointer else ""
        lines += labelled("pool", f"{visible(at.pool.id, 40)}: {visible(at.pool.strategy, 30)}{pointer}", width, pad=8)
    back = "in the last hour" if since is None else f"since {quantity.clock(since)} (the newest 2,000 are counted)"
    count = "no request needed it" if not demand.count else f"{counted(demand.count, 'request')} needed it"
    failed = f", {demand.failed} failed" if demand.count else ""
    return [*lines, *labelled("needed", f"{count} {back}{failed}", width, pad=8)]


def model_detail(at: AtNode, model: ModelView, width: int, now: datetime) -> list[Line]:
    """Return a model's value at a node, every layer with the one that counts, values below, and learned gaps."""
    path = at.node.path
    text, role = VALUE.get(at.value(model), VALUE["unknown"])
    where, layer = deciding(model, path, at.value(model))
    source = at.source(model)
    says = f", says {source}" if source else ": nobody says anything; y or n does"
    if where != path:
        says += f" of {visible(where, 120)} below it"
    place = at.place(model)
    lines = labelled("value", text + says, width, role=role, pad=8)
    if place is not None:
        order = f"{place.number}. of {len(at.places)}: " if at.pool is not None else ""
        lines += labelled("now", order + place.words, width, pad=8)
    if not model.enabled:
        lines += labelled("", "switched off in the registry: in no pool", width, role=Role.WARN, pad=8)
    own = model.capabilities.get(path)
    shown = tuple(each for each in own.layers if each.source != "gap") if own is not None else ()
    gaps = tuple(each for each in own.layers if each.source == "gap") if own is not None else ()
    lines += [(), (("Layers, the strongest first", Role.TITLE),)]
    if own is None or not own.layers:
        lines.append((("  none of this node itself", Role.DIM),))
    else:
        wins = layer if where == path else None
        for each in own.layers:
            lines += _layer(each, width, now, counts=each is wins)
    if own is not None and own.contradiction:
        lines += labelled("!", visible(own.contradiction, 300), width, role=Role.WARN, pad=2)
    if gaps:
        lines += [(), (("Learned gaps", Role.TITLE),), *_gaps(gaps, width, now, others=bool(shown))]
    below = [(other, value) for other, value in model.capabilities.items() if other.startswith(f"{path}.")]
    if below:
        lines += [(), (("Below it", Role.TITLE),)]
        lines += [_below(other[len(path) + 1 :], value, counts=other == where) for other, value in sorted(below)]
    return lines


def _layer(layer: LayerView, width: int, now: datetime, *, counts: bool) -> list[Line]:
    text, role = VALUE.get(layer.value, VALUE["unknown"])
    head: Line = merge(
        [
            (f"{'▶' if counts else ' '} {visible(layer.source, 12):<10}", Role.TEXT),
            (f"{text:<10}", role),
            (
                f"{_when(layer.at, now):>10}{'  counts' if counts else ''}{'  stale' if layer.stale else ''}",
                Role.TEXT if counts else Role.DIM,
            ),
        ]
    )
    account = f"key {visible(layer.account, 40)}: " if layer.account else ""
    evidence = account + visible(layer.evidence, 300)
    return [head, *(labelled("", evidence, width, role=Role.DIM, pad=4) if evidence else [])]


def _gaps(gaps: Sequence[LayerView], width: int, now: datetime, *, others: bool) -> list[Line]:
    lines: list[Line] = []
    for gap in gaps:
        ends = quantity.moment(gap.expires_at) if gap.expires_at else None
        left = f", forgotten in {quantity.span((ends - now).total_seconds())}" if ends is not None else ""
        who = f"key {visible(gap.account, 40)}" if gap.account else "its only key"
        lines += labelled("", f"✗ {who}: learned {_when(gap.at, now)}{left}", width, role=Role.WARN, pad=2)
    hint = "F forgets them now" + (": what the layers say counts again" if others else "")
    return [*lines, *labelled("", hint, width, role=Role.DIM, pad=2)]


def _below(name: str, value: CapabilityValue, *, counts: bool) -> Line:
    text, role = VALUE.get(value.value, VALUE["unknown"])
    source = f"{visible(value.source, 12)}{'  counts' if counts else ''}" if value.source else ""
    return merge(
        [(f"{'▶' if counts else ' '} {visible(name, 60)}  ", Role.TEXT), (f"{text}  ", role), (source, Role.DIM)]
    )


def _when(at: str | None, now: datetime) -> str:
    """Return a moment as wall time, one of another day as its date; config and catalogue have none."""
    moment = quantity.moment(at) if at else None
    if moment is None:
        return quantity.NONE
    day = moment.astimezone().date()
    return quantity.clock(at or "") if day == now.astimezone().date() else day.isoformat()


def change_lines(receipt: Receipt, impact: str, width: int) -> list[Line]:
    """Return the last change made here: before → after, pools gained and lost, what it meant for the last requests."""
    lines: list[Line] = [(("Last change here", Role.TITLE),)]
    lines += labelled("", change_text(receipt), width, pad=2)
    if impact:
        lines += labelled("", impact, width, pad=2)
    return [*lines, *labelled("", "z takes it back", width, role=Role.DIM, pad=2)]


def change_text(receipt: Receipt) -> str:
    """Return a capability receipt in words: `unknown → yes (operator); pools +tools`."""
    before, after = receipt.before, receipt.after
    text = f"{_said(before)} → {_said(after)}"
    pools = after.get("pools")
    if not isinstance(pools, dict):
        return text
    signs = [
        f"{sign}{visible(str(name), 30)}"
        for sign, key in (("+", "added"), ("-", "removed"))
        for name in pools.get(key, ())
    ]
    return f"{text}; {'pools ' + ' '.join(signs) if signs else 'no pool changes'}"


def _said(side: Mapping[str, object]) -> str:
    value, source = side.get("value"), side.get("source")
    if value is None:
        gaps = side.get("gaps")
        return f"{len(gaps)} learned" if isinstance(gaps, (list, tuple)) else quantity.NONE
    return visible(f"{value}" + (f" ({source})" if source else ""), 40)
