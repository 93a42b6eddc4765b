"""From a run's report to the commands that accept what it measured; every face that has the report can do it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .port import ControlError
from .registry_commands import AcceptMeasured


def accepting(
    report: Mapping[str, Any], *, target: str | None = None, capability: str | None = None
) -> tuple[AcceptMeasured, ...]:
    """Return one command per finding beyond doubt, of one `provider/model` or node if named; raise ControlError."""
    offered = [
        each
        for each in report["measured"]
        if target in (None, f"{each['provider']}/{each['model']}") and capability in (None, each["node"])
    ]
    sure = [each for each in offered if each["finding"] in ("verified", "refuted") and not each["accepted"]]
    if not sure:
        why = "nothing measured of that"
        if offered:
            why = "nothing more to accept: what is beyond doubt is accepted, what is flaky is neither yes nor no"
        raise ControlError("conflict", f"Run {report['run_id']} offers {why}.", status=409)
    return tuple(
        AcceptMeasured(
            each["provider"],
            each["model"],
            each["node"],
            value="yes" if each["finding"] == "verified" else "no",
            evidence=each["evidence"],
            measured_at=datetime.fromisoformat(each["at"]).timestamp(),
            fingerprint=each["fingerprint"],
        )
        for each in sure
    )
