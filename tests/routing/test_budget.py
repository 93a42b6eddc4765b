"""The retry budget: who pays, from which bucket, and how far an outage is amplified (routing.md §6)."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.routing.cascades import paid

from routerconsole.domain.policy import RetryPolicy
from routerconsole.routing.budget import RetryBudget

POLICY = RetryPolicy()


def drained(now: float = 0.0) -> RetryBudget:
    """A budget with nothing left for provider `a`."""
    budget = RetryBudget(POLICY)
    while paid(budget, now, "a"):
        pass
    return budget


def test_buckets_start_full_at_the_burst() -> None:
    """Twenty extra attempts at once, not twenty-one."""
    budget = RetryBudget(POLICY)
    assert [paid(budget, 0.0, "a") for _ in range(21)] == [True] * 20 + [False]


def test_B21_an_empty_budget_refuses_and_takes_nothing() -> None:
    """What is free the cascade never asks for; asking in vain does not push the bucket below zero."""
    budget = drained()
    for _ in range(1000):
        assert not paid(budget, 0.0, "a")
    for _ in range(5):
        budget.deposit(0.0, "a")
    assert paid(budget, 0.0, "a")
    assert not budget.available("a", 0.0)


def test_both_buckets_must_have_one_and_neither_is_taken_alone() -> None:
    """The process's is empty: a fresh provider gets nothing, and keeps its own burst."""
    budget = drained()
    assert not paid(budget, 0.0, "b")
    for _ in range(200):
        budget.deposit(0.0)
    assert [paid(budget, 0.0, "b") for _ in range(21)] == [True] * 20 + [False]


def test_one_providers_outage_leaves_others_their_budget() -> None:
    """`a` spent its own bucket; requests elsewhere refilled the process's."""
    budget = drained()
    for _ in range(100):
        budget.deposit(0.0, "b")
    assert not paid(budget, 0.0, "a")
    assert paid(budget, 0.0, "b")


def test_the_floor_refills_by_time_up_to_the_burst() -> None:
    """Half a token a second; a day later the burst and no more; a clock that went back gives nothing."""
    budget = drained()
    assert not paid(budget, 1.9, "a")
    assert paid(budget, 2.0, "a")
    assert not paid(budget, -1000.0, "a")
    assert not paid(budget, 2.0, "a")
    assert sum(paid(budget, 86_400.0, "a") for _ in range(50)) == 20


def test_a_clock_that_went_back_takes_nothing() -> None:
    """A full bucket stays full."""
    budget = RetryBudget(POLICY)
    budget.deposit(1000.0, "a")
    assert [paid(budget, 0.0, "a") for _ in range(21)] == [True] * 20 + [False]


def test_a_reload_keeps_what_was_spent_and_drops_what_is_gone() -> None:
    """An emptied bucket stays empty; a provider that left and came back starts full."""
    budget = drained()
    budget.configure(POLICY, frozenset({"a"}))
    assert not budget.available("a", 0.0)
    budget.configure(POLICY, frozenset())
    for _ in range(200):
        budget.deposit(0.0)
    assert budget.available("a", 0.0)


@given(seed=st.integers(0, 2**32), rate=st.sampled_from([1, 10, 100]))
def test_B19_amplification_is_bounded(seed: int, rate: int) -> None:
    """However greedy the retries, extra attempts ≤ burst + ratio x requests + floor x seconds."""
    dice, budget, extra, requests = random.Random(seed), RetryBudget(POLICY), 0, 0
    seconds = 30
    for tick in range(seconds * rate):
        now = tick / rate
        requests += 1
        budget.deposit(now, "a")
        for _ in range(dice.randrange(6)):
            extra += paid(budget, now, "a")
    assert extra <= POLICY.budget_burst + POLICY.budget_ratio * requests + POLICY.budget_floor_per_s * seconds
