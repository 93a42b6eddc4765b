"""Statistics that stay honest at small n, in plain Python: intervals, paired tests, corrections, early stopping.

Pure; where resampling needs dice they are handed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

Z95: Final = 1.959963984540054
"""The 97.5 % point of the normal distribution."""
RESAMPLES: Final = 2000
ALPHA: Final = 0.05
ONE_SIDED: Final = 6
"""Discordant pairs, all on one side, that exact McNemar needs for p < .05 (2 / 2^6 = .031)."""
P0: Final = 0.3
P1: Final = 0.9
MOST_PROBES: Final = 8


def wilson(k: int, n: int, *, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of k of n (95 % by default); (0, 1) where n is 0: nothing is known."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    if n == 0:
        return 0.0, 1.0
    share, z2 = k / n, z * z
    middle = share + z2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    return (0.0 if k == 0 else max(0.0, low)), (1.0 if k == n else min(1.0, high))


def mcnemar(a_only: int, b_only: int) -> float:
    """Return the two-sided exact p of McNemar's test on the discordant pairs; 1 where there are none."""
    if a_only < 0 or b_only < 0:
        raise ValueError("counts are not negative")
    n = a_only + b_only
    tail = sum(math.comb(n, i) for i in range(min(a_only, b_only) + 1))
    return (
        min(1.0, 2.0 * tail / float(1 << n)) if n < 1000 else min(1.0, math.exp(math.log(2 * tail) - n * math.log(2)))
    )


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's step-down corrected p values, in the order given; ValueError where one is none (NaN included)."""
    if not all(0.0 <= p <= 1.0 for p in ps):
        raise ValueError("a p value lies in 0…1")
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected = [0.0] * len(ps)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = running
    return tuple(corrected)


def cluster_bootstrap(
    clusters: Sequence[Sequence[float]], rng: Random, *, resamples: int = RESAMPLES, level: float = 0.95
) -> tuple[float, tuple[float, float]] | None:
    """Return the mean of all paired differences and its percentile interval, resampling whole clusters (scenarios).

    None where there is nothing to compare; with one cluster the interval is the widest there can be, for one scenario
    says nothing of others. ValueError where a difference is not finite.
    """
    if not all(math.isfinite(value) for cluster in clusters for value in cluster):
        raise ValueError("a difference is a finite number")
    filled = [(sum(cluster), len(cluster)) for cluster in clusters if cluster]
    if not filled:
        return None
    mean = sum(total for total, _ in filled) / sum(count for _, count in filled)
    if len(filled) == 1:
        return mean, (-1.0, 1.0)
    means = []
    for _ in range(resamples):
        drawn = rng.choices(filled, k=len(filled))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    tail = (1 - level) / 2 * 100
    return mean, (percentile(means, tail), percentile(means, 100 - tail))


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that at least one of k draws passes, unbiased from c of n (Chen et al. 2021, eq. 1)."""
    _check_draw(n, c, k)
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Return the chance that all of k draws pass, unbiased from c of n (tau-bench, Yao et al. 2024)."""
    _check_draw(n, c, k)
    return math.comb(c, k) / math.comb(n, k)


def _check_draw(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"cannot draw {k} of {n} with {c} passed")


def percentile(values: Sequence[float], q: float) -> float:
    """Return the q-th percentile (0…100) with linear interpolation, as numpy does by default.

    ValueError where there is no value, or one that is no number: sorted among others it would move them.
    """
    if not values or any(map(math.isnan, values)):
        raise ValueError("no values, or one that is no number")
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float | None:
    """Return the middle value, None of none."""
    return percentile(values, 50) if values else None


class Probe(StrEnum):
    """What a capability probe knows so far."""

    VERIFIED = "verified"
    REFUTED = "refuted"
    FLAKY = "flaky"
    OPEN = "open"


def sprt(outcomes: Sequence[bool], *, p0: float = P0, p1: float = P1, alpha: float = ALPHA) -> Probe:
    """Return what Wald's sequential test says of graded probes in their order (α = β); `open`: probe once more.

    With the figures of evals.md three straight passes verify and two straight failures refute.
    """
    bound = math.log((1 - alpha) / alpha)
    ratio = 0.0
    for passed in outcomes[:MOST_PROBES]:
        ratio += math.log(p1 / p0) if passed else math.log((1 - p1) / (1 - p0))
        if ratio >= bound:
            return Probe.VERIFIED
        if ratio <= -bound:
            return Probe.REFUTED
    return Probe.FLAKY if len(outcomes) >= MOST_PROBES else Probe.OPEN


@dataclass(frozen=True, slots=True)
class Separation:
    """Two columns compared on the pairs both answered: `p` may be corrected afterwards."""

    pairs: int
    a_only: int
    b_only: int
    p: float
    difference: float | None
    interval: tuple[float, float] | None


def separate(clusters: Sequence[Sequence[tuple[bool, bool]]], rng: Random) -> Separation:
    """Compare paired outcomes (a, b), grouped by scenario: exact McNemar and the cluster bootstrap of a − b."""
    pairs = [pair for cluster in clusters for pair in cluster]
    a_only = sum(a and not b for a, b in pairs)
    b_only = sum(b and not a for a, b in pairs)
    found = cluster_bootstrap([[float(a) - float(b) for a, b in cluster] for cluster in clusters], rng)
    return Separation(
        pairs=len(pairs),
        a_only=a_only,
        b_only=b_only,
        p=mcnemar(a_only, b_only),
        difference=None if found is None else found[0],
        interval=None if found is None else found[1],
    )
