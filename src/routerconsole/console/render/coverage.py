"""What is left when one provider goes, as rows and in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.console.safe_text import visible

from .cells import Column, Line, Role, Run, header, labelled, lay_out, merge, row, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from routerconsole.console.coverage import Coverage, Loss

_PAD = 10


def _words(words: Sequence[str]) -> str:
    return visible(", ".join(words), 200)


def loss_text(loss: Loss) -> Run:
    """Return what goes with a provider: `vision → none`, `embeddings → 1 left`, or that everything stays."""
    parts = []
    if loss.none:
        parts.append(f"!! {_words(loss.none)} → none")
    if loss.last:
        parts.append(f"! {_words([word for word, _ in loss.last])} → 1 left")
    if not parts:
        return ("nothing is lost" if loss.kept else "says yes to nothing"), Role.DIM
    return " · ".join(parts), Role.BAD if loss.none else Role.WARN


def _columns() -> tuple[Column[Loss], ...]:
    return (
        Column(
            "if … dies", 16, lambda loss: (visible(loss.provider, 40) + (" (down)" if loss.down else ""), Role.TEXT)
        ),
        Column("what is left", 22, loss_text, grow=1),
    )


def coverage_lines(losses: Sequence[Loss], width: int) -> tuple[Line, list[Line]]:
    """Return the title line and one line per provider."""
    laid = lay_out(_columns(), width)
    return header(laid), [row(loss, laid) for loss in losses]


def coverage_note(coverage: Coverage) -> str:
    """Return the gravest of it in one line."""
    if coverage.gone:
        return f"!! nobody can be asked now: {_words(coverage.gone)}"
    fatal = [loss for loss in coverage.losses if loss.none]
    if not fatal:
        thin = sum(bool(loss.last) for loss in coverage.losses)
        return f"any one may die{f'; {thin} would leave one model for something' if thin else ''}"
    first = fatal[0]
    more = f" · {len(fatal) - 1} more" if len(fatal) > 1 else ""
    return f"!! if {visible(first.provider, 30)} dies: {_words(first.none)} → none{more}"


def coverage_detail(loss: Loss, width: int) -> list[Line]:
    """Return one provider's death in full."""
    name = visible(loss.provider, 60)
    head = f"{name} takes no request now" if loss.down else f"if {name} dies"
    lines: list[Line] = [((head, Role.TITLE),)]
    if loss.none:
        lines += labelled("none", f"{_words(loss.none)}: no other model says yes and can be asked", width,
                          role=Role.BAD, pad=_PAD)  # fmt: skip
    for word, route in loss.last:
        lines += labelled("1 left", f"{visible(word, 40)}: only {visible(route, 100)}", width, role=Role.WARN, pad=_PAD)
    kept = f"{loss.kept} other {'capability has' if loss.kept == 1 else 'capabilities have'} two or more models left"
    lines.append(merge([(" " * _PAD, Role.DIM), (kept, Role.DIM)]))
    if loss.none or loss.last:
        lines += [
            (),
            *wrap(
                "Cover it: enable or register another model that has it (4), or say so of one that does (3).",
                width,
                role=Role.DIM,
            ),
        ]
    return lines
