"""Models of the registry as rows, one model in full, staged changes and downloads as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from routerconsole.console.forms import shown_value
from routerconsole.console.safe_text import visible

from . import quantity
from .cells import Column, Line, Role, Run, cut, fit, header, labelled, lay_out, merge, row, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.downloads import Download
    from routerconsole.console.staging import Change
    from routerconsole.control.registry_views import CapabilityValue, LayerView, ModelView

PAD: Final = 10
BAR: Final = 20
"""Cells of a progress bar."""
_STATE: Final = {"live": ("●", Role.OK), "stale": ("◐", Role.WARN), "withdrawn": ("✗", Role.BAD)}
_SOURCES: Final = {
    "operator": "operator", "gap": "learned", "measured": "measured", "config": "configured",
    "discovery": "listed", "catalogue": "catalogue", "guess": "guessed",
}  # fmt: skip
_VALUE: Final = {"yes": ("✓", Role.OK), "no": ("✗", Role.BAD), "unknown": ("?", Role.DIM)}
_RUNNING: Final = "running"


def state(model: ModelView) -> Run:
    """Return in a word whether a model can be asked: off, gone from its provider's listings, not served, else live."""
    if not model.enabled:
        return "– off", Role.DIM
    if model.served is False and model.state == "live":
        return "○ unserved", Role.WARN
    glyph, role = _STATE.get(model.state, ("○", Role.TEXT))
    return f"{glyph} {visible(model.state, 12)}", role


def served(model: ModelView) -> Run:
    """Return whether its provider lists it; nobody has listed anything yet is a question."""
    if model.served is None:
        return "?", Role.DIM
    return ("yes", Role.TEXT) if model.served else ("NO", Role.WARN)


def tokens(number: int | None) -> str:
    """Return a context window as `8k` or `1M`, as its makers count: 8192 is 8k."""
    if number is None:
        return "–"
    if number >= 1_000_000:
        return f"{number / 1_000_000:.0f}M" if number % 1_000_000 < 100_000 else f"{number / 1_000_000:.1f}M"
    if number >= 1000:
        return f"{number // 1024}k" if number % 1024 == 0 else f"{number / 1000:.0f}k"
    return str(number)


def price(usd: float | None) -> str:
    """Return dollars per million tokens; unknown is not free."""
    if usd is None:
        return "–"
    return "0" if usd == 0 else f"{usd:.2f}" if usd >= 0.1 else f"{usd:.3f}"


def prices(model: ModelView) -> Run:
    """Return both prices, or that it is free."""
    if model.free:
        return "free", Role.OK
    if model.usd_per_mtok_in is None and model.usd_per_mtok_out is None:
        return "–", Role.DIM
    return f"{price(model.usd_per_mtok_in)}/{price(model.usd_per_mtok_out)}", Role.TEXT


def _words(values: Sequence[str]) -> str:
    return visible(",".join(values), 120) if values else "–"


def _paid(model: ModelView) -> float | None:
    """Return what a model is sorted by as for prices."""
    if model.free:
        return 0.0
    known = [each for each in (model.usd_per_mtok_in, model.usd_per_mtok_out) if each is not None]
    return sum(known) if known else None


def columns(staged: frozenset[str]) -> tuple[Column[ModelView], ...]:
    """Return the columns; a model with staged changes carries a glyph before its name."""

    def name(model: ModelView) -> Run:
        return ("● " if model.id in staged else "") + visible(model.id, 120), Role.TEXT

    return (
        Column("model", 22, name, grow=4, by=lambda m: m.id),
        Column("state", 11, state, by=lambda m: state(m)[0][2:]),
        Column("served", 6, served, drop=9, by=lambda m: None if m.served is None else served(m)[0]),
        Column(
            "ctx", 5, lambda m: (tokens(m.context_window), Role.TEXT), "right", drop=2, by=lambda m: m.context_window
        ),
        Column("$in/out", 10, prices, "right", drop=3, by=_paid),
        Column(
            "tags", 10, lambda m: (_words(m.tags), Role.INFO), drop=1, grow=2, by=lambda m: ",".join(m.tags) or None
        ),
        Column("tier", 11, lambda m: (visible(m.tier, 11), Role.DIM), drop=7, by=lambda m: m.tier),
        Column("role", 7, lambda m: (visible(m.role, 10), Role.DIM), drop=8, by=lambda m: m.role),
        Column("pools", 5, lambda m: (str(len(m.pools)), Role.DIM), "right", drop=6, by=lambda m: len(m.pools)),
        Column(
            "agents", 8, lambda m: (_words(m.agents), Role.DIM), drop=4, grow=1, by=lambda m: ",".join(m.agents) or None
        ),
    )


def model_lines(models: Sequence[ModelView], width: int, staged: frozenset[str]) -> tuple[Line, list[Line]]:
    """Return the title line and one line per model."""
    laid = lay_out(columns(staged), width)
    return header(laid), [row(model, laid) for model in models]


# -- one model --------------------------------------------------------------------------------------------------------


def model_detail(
    model: ModelView,
    width: int,
    *,
    staged: Sequence[Change] = (),
    head: Mapping[str, str | int | None] | None = None,
    weights_dir: str | None = None,
) -> list[Line]:
    """Return everything known of a model; `head` is what its weights file says of itself, None where not yet read."""
    text, role = state(model)
    lines: list[Line] = [merge([(f"{text}  ", role), (_where(model), Role.TEXT)])]
    if model.note:
        lines.extend(labelled("note", visible(model.note, 600), width, role=Role.WARN, pad=PAD))
    if staged:
        lines.append(((f"Staged {len(staged)}", Role.TITLE),))
        for change in staged:
            lines.extend(wrap(f"● {change_text(change)}", width, indent=2, role=Role.INFO))
    for label, value in _facts(model, weights_dir):
        lines.extend(labelled(label, value, width, pad=PAD))
    lines.extend(_header(model, head, width))
    lines.append(())
    lines.extend(_capabilities(model, width))
    return lines


def change_text(change: Change) -> str:
    """Return a staged change as `tags – → fast`."""
    return f"{change.field} {shown_value(change.before)} → {shown_value(change.after)}"


def _where(model: ModelView) -> str:
    words = [{True: "served", False: "NOT SERVED", None: "not listed yet"}[model.served]]
    words += [
        word
        for word, holds in (
            ("default of its provider", model.default),
            ("in no pool by itself", not model.in_pools),
            ("not exposed", not model.exposed),
        )
        if holds
    ]
    return " · ".join(words)


def _facts(model: ModelView, weights_dir: str | None) -> list[tuple[str, str]]:
    warmth = f" · temperature {shown_value(model.default_temperature)}" if model.default_temperature is not None else ""
    place = visible(model.path, 300) if model.path else ""
    if place and weights_dir and not place.startswith("/"):
        place += f" (below {visible(weights_dir, 200)})"
    found = [
        ("display", visible(model.display, 200) if model.display else ""),
        ("about", visible(model.description, 400) if model.description else ""),
        ("provider", f"{visible(model.provider, 60)} · upstream id {visible(model.upstream_id, 200)}"),
        (
            "kind",
            " · ".join([visible(word, 40) for word in (model.role, model.tier, model.format)] + [place] * bool(place)),
        ),
        ("tokens", f"context {_exact(model.context_window)} · output {_exact(model.max_output_tokens)}{warmth}"),
        ("price", _money(model)),
        ("limits", shown_value(model.limits) if any(model.limits.values()) else "none"),
        ("tags", _spaced(model.tags)),
        ("pools", _spaced(model.pools)),
        ("agents", _spaced(model.agents)),
        ("rewards", _rewards(model)),
        ("delivery", _spaced(model.delivery)),
        ("features", _spaced(model.features) if model.features else ""),
        ("limits to", _spaced(model.constraints) if model.constraints else ""),
        ("from", _origin(model)),
    ]
    return [(label, text) for label, text in found if text]


def _rewards(model: ModelView) -> str:
    """Return what judges said of a model, and of the agents sent to it; empty without a score."""
    own = [] if model.reward is None else [f"{model.reward.mean:+.2f} over {model.reward.n}"]
    agents = (f"{visible(each.name, 40)} {each.mean:+.2f} over {each.n}" for each in model.agent_rewards)
    return " · ".join((*own, *agents))


def _money(model: ModelView) -> str:
    """Return the prices in words; unknown is told apart from free."""
    if model.usd_per_mtok_in is None and model.usd_per_mtok_out is None:
        return "free" if model.free else "unknown, which is not free"
    both = f"USD {price(model.usd_per_mtok_in)} in, {price(model.usd_per_mtok_out)} out per million tokens"
    return f"free ({both})" if model.free else both


def _origin(model: ModelView) -> str:
    came = {"config": "the configuration", "discovery": "its provider's listing", "operator": "an operator"}
    since = f", {visible(model.registered_at, 19)}" if model.registered_at else ""
    return f"{came.get(model.origin, visible(model.origin, 20))}{since} · version {model.version}"


def _exact(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _spaced(values: Sequence[str]) -> str:
    return visible(", ".join(values), 400) if values else "–"


def _header(model: ModelView, head: Mapping[str, str | int | None] | None, width: int) -> list[Line]:
    """Return what a weights file says of itself."""
    if model.path is None:
        return []
    if head is None:
        return labelled("file says", "reading its header…", width, role=Role.DIM, pad=PAD)
    if not head:
        return labelled("file says", "nothing: its header cannot be read here", width, role=Role.DIM, pad=PAD)
    told = ", ".join(f"{visible(name, 40).replace('_', ' ')} {_header_value(value)}" for name, value in head.items())
    return labelled("file says", told, width, pad=PAD)


def _header_value(value: Any) -> str:
    return _exact(value) if isinstance(value, int) else visible(str(value), 100) if value is not None else "unknown"


def _capabilities(model: ModelView, width: int) -> list[Line]:
    """Return each node anybody says something of: the value in force, then every layer below it."""
    lines: list[Line] = [((f"Capabilities {len(model.capabilities)}", Role.TITLE),)]
    if not model.capabilities:
        lines.extend(
            wrap("nothing is known of what it can do; 3 opens Capabilities, where y and n say it", width, indent=2)
        )
    for value in model.capabilities.values():
        lines.extend(_value_lines(value, width))
    return lines


def _value_lines(value: CapabilityValue, width: int) -> list[Line]:
    glyph, role = _VALUE.get(value.value, ("?", Role.DIM))
    said = f"{value.value} ({_SOURCES.get(value.source, value.source)})" if value.source else visible(value.value, 10)
    room = max(12, width - len(said) - 5)
    node = visible(value.node, 120)
    short = node if len(node) <= room else "…" + node[-(room - 1) :]
    lines = [cut(merge([(f"  {glyph} {fit(short, room)} ", Role.TEXT), (said, role)]), width)]
    if len(value.layers) > 1 or any(layer.evidence for layer in value.layers):
        lines.extend(cut(((f"      {_layer(each)}", Role.DIM),), width) for each in value.layers)
    return lines


def _layer(layer: LayerView) -> str:
    parts = [f"{_SOURCES.get(layer.source, visible(layer.source, 12))}: {visible(layer.value, 8)}"]
    if layer.at:
        parts.append(quantity.day_and_clock(layer.at))
    if layer.account:
        parts.append(f"#{visible(layer.account, 20)}")
    if layer.expires_at:
        parts.append(f"until {quantity.day_and_clock(layer.expires_at)}")
    if layer.evidence:
        parts.append(visible(layer.evidence, 120))
    return " · ".join(parts)


# -- staged changes and downloads -------------------------------------------------------------------------------------


def change_lines(changes: Sequence[Change], width: int, overtaken: frozenset[str]) -> tuple[Line, list[Line]]:
    """Return staged changes before → after; those of models somebody else changed meanwhile are crossed."""

    def model(change: Change) -> Run:
        name = visible(change.model, 120)
        return (f"✗ {name}", Role.BAD) if change.model in overtaken else (name, Role.TEXT)

    shown: tuple[Column[Change], ...] = (
        Column("staged", 16, model, grow=2),
        Column("field", 10, lambda c: (c.field, Role.DIM), grow=1),
        Column("before", 8, lambda c: (shown_value(c.before), Role.DIM), grow=1),
        Column("after", 10, lambda c: ("→ " + shown_value(c.after), Role.INFO), grow=2),
    )
    laid = lay_out(shown, width)
    return header(laid), [row(change, laid) for change in changes]


def progress_bar(download: Download, width: int) -> str:
    """Return a bar of at most `width` cells with per cent, bytes and what is being done."""
    status = visible(download.status or "working", 40)
    if download.percent is None or not download.total:
        return fit(status, width).rstrip()
    filled = round(BAR * min(download.percent, 100.0) / 100)
    bar = "█" * filled + "·" * (BAR - filled)
    return fit(f"{bar} {download.percent:3.0f}%  {size(download.completed)} of {size(download.total)}  {status}", width)


def download_lines(downloads: Sequence[Download], width: int) -> tuple[Line, list[Line]]:
    """Return downloads with their bars; one that ended says how, and what could stand in."""
    lines: list[Line] = []
    for each in downloads:
        name = visible(f"{each.provider}/{each.model}", 60)
        left = min(34, max(12, width // 4))
        room = max(8, width - left - 1)
        text, role = (progress_bar(each, room), Role.INFO) if each.state == _RUNNING else _ended(each)
        lines.append(merge([(fit(name, left) + " ", Role.TEXT), (fit(text, room), role)]))
    return ((fit("download", width), Role.DIM),), lines


def download_detail(each: Download, width: int) -> list[Line]:
    """Return where one download stands, whole."""
    if each.state == _RUNNING:
        return [((progress_bar(each, width), Role.INFO),)]
    text, role = _ended(each)
    return wrap(text, width, role=role)


def _ended(each: Download) -> Run:
    if each.state == "done":
        return f"✓ downloaded {size(each.total)}", Role.OK
    instead = f"; installed instead: {visible(each.proposal, 60)}" if each.proposal else ""
    why = visible(each.error or each.status, 200)
    return f"✗ {visible(each.state, 12)}: {why}{instead}", Role.DIM if each.state == "cancelled" else Role.BAD


def size(number: int) -> str:
    """Return bytes as `4.9GB`."""
    value = float(number)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}TB"


def sync_lines(after: Mapping[str, Any], width: int) -> list[Line]:
    """Return what a round of listings found: new, changed and missing models, and who could not be asked."""
    lines: list[Line] = []
    for what, glyph, role in (("new", "+", Role.OK), ("changed", "~", Role.INFO), ("missing", "-", Role.WARN)):
        found = after.get(what)
        names = [str(each) for each in found] if isinstance(found, (list, tuple)) else []
        lines.append(((f"{what.capitalize()} {len(names)}", Role.TITLE),))
        lines.extend(((fit(f"  {glyph} {visible(name, 160)}", width), role),) for name in names)
        if not names:
            lines.append((("  none", Role.DIM),))
    asked = after.get("providers")
    if isinstance(asked, Mapping):
        lines.append(((f"Asked {len(asked)}", Role.TITLE),))
        if not asked:
            lines.extend(wrap("nobody: no provider has `discovery.enabled`", width, indent=2, role=Role.DIM))
        for name, told in asked.items():
            lines.extend(_asked(str(name), told if isinstance(told, Mapping) else {}, width))
    return lines


def _asked(name: str, told: Mapping[str, Any], width: int) -> list[Line]:
    """Return how one provider answered."""
    failed = told.get("status") != "ok"
    kept = "; its last list stays" if told.get("stale") else ""
    detail = f": {visible(str(told['detail']), 300)}" if told.get("detail") else ""
    word = f"failed{kept}" if failed else f"{told.get('models')} models"
    return wrap(
        f"{'✗' if failed else '✓'} {visible(name, 60)} {word}{detail}",
        width,
        indent=2,
        role=Role.BAD if failed else Role.TEXT,
    )
