"""When a snapshot is read again."""

from __future__ import annotations

from routerconsole.console.snapshots import CHANGED_SHARE, FRESH_S, SHARE, Freshness, Read
from routerconsole.domain.events import EventType

NODES = [Read.NODES]


def test_a_snapshot_is_read_once_then_when_it_is_old() -> None:
    """Never read is due; what was read is fresh for FRESH_S."""
    fresh = Freshness()
    assert fresh.due(NODES, 100.0) == NODES
    fresh.read(Read.NODES, 100.0)
    assert fresh.due(NODES, 100.0 + FRESH_S / 2) == []
    assert fresh.due(NODES, 100.0 + FRESH_S) == NODES


def test_an_event_makes_due_what_it_changed() -> None:
    """A circuit that opens changes who can be asked, not which models there are."""
    fresh = Freshness()
    for read in (Read.NODES, Read.MODELS):
        fresh.read(read, 100.0)
    fresh.changed(EventType.CIRCUIT_OPENED)
    assert fresh.due([Read.NODES, Read.MODELS], 100.1) == NODES
    fresh.changed(EventType.CAPABILITY_CHANGED)
    assert fresh.due([Read.NODES, Read.MODELS], 100.1) == [Read.NODES, Read.MODELS]
    fresh.read(Read.NODES, 100.2)
    assert fresh.due(NODES, 100.3) == []


def test_what_takes_long_is_read_less_often_however_often_it_changes() -> None:
    """Thousands of models cost a bounded share of the time, a storm of changes a bounded larger one."""
    fresh = Freshness()
    took = 0.5
    fresh.read(Read.NODES, 100.0, took)
    assert fresh.due(NODES, 100.0 + SHARE * took - 0.1) == []
    assert fresh.due(NODES, 100.0 + SHARE * took) == NODES
    fresh.changed(EventType.CIRCUIT_OPENED)
    assert fresh.due(NODES, 100.0 + CHANGED_SHARE * took - 0.1) == []
    assert fresh.due(NODES, 100.0 + CHANGED_SHARE * took) == NODES


def test_another_engine_makes_everything_due() -> None:
    """What was read of one engine says nothing of the next."""
    fresh = Freshness()
    fresh.read(Read.NODES, 100.0)
    fresh.forget()
    assert fresh.due(NODES, 100.0) == NODES
