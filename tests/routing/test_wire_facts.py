"""Real error bodies, each with the class it must be read as (wire-facts.md and the table of routing.md §3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routerconsole.domain.capability import Word
from routerconsole.domain.outcome import Failure
from routerconsole.domain.registry import ProviderKind
from routerconsole.domain.request import Endpoint, Needs
from routerconsole.routing.classify import http_failure

ERRORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "bodies" / "errors.json").read_text())


def read(fact: dict[str, Any]) -> Failure:
    endpoint = Endpoint(fact["endpoint"])
    body = fact["body"] if isinstance(fact["body"], str) else json.dumps(fact["body"])
    return http_failure(
        status=fact["status"],
        headers=fact["headers"],
        body=body.encode(),
        kind=ProviderKind(fact["kind"]),
        endpoint=endpoint,
        needs=Needs(endpoint, needed=tuple(Word(word) for word in fact["needed"])),
        wall_now=0.0,
    )


@pytest.mark.parametrize("fact", ERRORS, ids=[fact["name"] for fact in ERRORS])
def test_wire_facts_C1_13_C1_32_C1_41_U21_U22_U23_U24_U25_U26_U27_U29_U53(fact: dict[str, Any]) -> None:
    """Every captured error body lands in its class, with its gate, hint, scope and refused capabilities."""
    failure = read(fact)
    assert failure.cls == fact["class"]
    assert [str(word) for word in failure.refused] == fact["refused"]
    assert (failure.gate and str(failure.gate)) == fact["gate"]
    assert failure.retry_after == pytest.approx(fact["retry_after"])
    assert failure.status == fact["status"]
    if fact["scope"] is not None:
        assert failure.scope == fact["scope"]
    if fact["provider_counts"] is not None:
        assert failure.provider_counts is fact["provider_counts"]


@pytest.mark.parametrize("fact", ERRORS, ids=[fact["name"] for fact in ERRORS])
def test_every_failure_says_what_happened(fact: dict[str, Any]) -> None:
    """No failure has an empty detail, and none shows markup."""
    detail = read(fact).detail
    assert detail
    assert "<h1>" not in detail
    assert "steal()" not in detail
