"""From what a run found to the commands that accept it; what is neither yes nor no is nothing to accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routerconsole.control.registry_commands import AcceptMeasured

if TYPE_CHECKING:
    from collections.abc import Iterable

    from routerconsole.evals.measured import Measured


def acceptances(found: Iterable[Measured]) -> tuple[AcceptMeasured, ...]:
    """Return one command for each finding beyond doubt."""
    return tuple(
        AcceptMeasured(
            each.provider,
            each.model,
            each.node,
            value="yes" if each.value == "yes" else "no",
            evidence=each.evidence,
            measured_at=each.at,
            fingerprint=each.fingerprint,
        )
        for each in found
        if each.value is not None
    )
