"""The retry budget: extra attempts are a share of requests, with a floor and a burst (routing.md §6).

It refuses to decide what is free; the cascade does. An empty bucket bounds how far an outage is amplified.
"""

from __future__ import annotations

from routerconsole.domain.policy import RetryPolicy


class Bucket:
    """Tokens for extra attempts: full at the start, filled by requests and slowly by time."""

    __slots__ = ("_at", "_policy", "_tokens")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._tokens = policy.budget_burst
        self._at: float | None = None

    def deposit(self, now: float) -> None:
        """Add one request's share."""
        self._add(self._policy.budget_ratio, now)

    def tokens(self, now: float) -> float:
        """Return what is in the bucket now."""
        self._add(0.0, now)
        return self._tokens

    def take(self, now: float) -> None:
        """Remove one token; never goes below zero."""
        self._add(0.0, now)
        self._tokens = max(0.0, self._tokens - 1.0)

    def adopt(self, policy: RetryPolicy) -> None:
        """Follow a changed policy, keeping what is in the bucket."""
        self._policy = policy

    def _add(self, share: float, now: float) -> None:
        policy = self._policy
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now if self._at is None else max(now, self._at)
        self._tokens = min(policy.budget_burst, self._tokens + share + policy.budget_floor_per_s * passed)


class RetryBudget:
    """The process's bucket and one per provider; an extra attempt takes one token from both or from neither."""

    __slots__ = ("_policy", "_process", "_providers")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._process = Bucket(policy)
        self._providers: dict[str, Bucket] = {}

    def deposit(self, now: float, provider: str | None = None) -> None:
        """Credit one request to the process, and to the provider it goes to first."""
        self._process.deposit(now)
        if provider is not None:
            self._bucket(provider).deposit(now)

    def available(self, provider: str | None, now: float) -> bool:
        """Say whether an extra attempt at this provider can be paid for."""
        return all(bucket.tokens(now) >= 1.0 for bucket in self._both(provider))

    def take(self, provider: str | None, now: float) -> None:
        """Pay for one extra attempt; the caller asked `available` in the same step."""
        for bucket in self._both(provider):
            bucket.take(now)

    def configure(self, policy: RetryPolicy, providers: frozenset[str]) -> None:
        """Follow a reload: a new policy, and no buckets for providers that are gone."""
        self._policy = policy
        self._process.adopt(policy)
        self._providers = {name: bucket for name, bucket in self._providers.items() if name in providers}
        for bucket in self._providers.values():
            bucket.adopt(policy)

    def _both(self, provider: str | None) -> tuple[Bucket, ...]:
        return (self._process,) if provider is None else (self._process, self._bucket(provider))

    def _bucket(self, provider: str) -> Bucket:
        bucket = self._providers.get(provider)
        if bucket is None:
            bucket = self._providers[provider] = Bucket(self._policy)
        return bucket
