"""Makes statistics_reference.json: what SciPy and statsmodels say of the cases the statistics are held to.

Not run by the tests and no dependency of theirs. In a throwaway environment:
`pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 && python tests/evals/statistics_reference.py`.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy
import statsmodels
from scipy import special, stats
from statsmodels.stats import contingency_tables, multitest, proportion

PLACES = Path(__file__).with_suffix(".json")
SHARES = [
    (k, n)
    for n in (1, 2, 3, 5, 6, 8, 10, 29, 30, 100, 263, 1000, 20_000)
    for k in sorted({0, 1, n // 3, n // 2, n - 1, n})
]
PAIRS = [(b, c) for b in (0, 1, 2, 3, 5, 6, 10, 40) for c in (0, 1, 3, 5, 6, 7, 9, 25)] + [
    (480, 560),
    (700, 800),
    (0, 1200),
]
FAMILIES = [
    [], [0.2], [0.04, 0.04], [0.01, 0.04, 0.03], [0.01, 0.04, 0.03, 0.005], [0.5, 0.6, 0.9], [0.0, 1.0, 0.05],
    [0.03125] * 3, [0.001, 0.03125, 0.03125, 0.2, 1.0, 1.0], [1e-12, 0.02, 0.024, 0.0249, 0.9],
]  # fmt: skip
DRAWS = [
    (n, c, k)
    for n in (1, 3, 5, 10, 40, 200)
    for c in sorted({0, 1, n // 2, n - 1, n})
    for k in sorted({1, min(3, n), n})
]
DIFFERENCES = {
    "mixed": [1, 1, 0, 0, 1, -1, 0, 1, 1, 0],
    "one side": [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    "even": [1, -1, 1, -1, 0, 0, 1, -1, 0, 0, 0, 0, 1, -1, 0],
    "rare": [0] * 28 + [1, -1],
    "means of scenarios": [0.667, 0.333, -0.333, 1.0, 0.0, 0.333, -0.667, 0.0, 0.333, 0.667],
}
VALUES = {"seven": [1, 2, 3, 4, 10, 15, 7.5], "one": [3.0], "ties": [2, 2, 2, 5, 5], "two": [1, 2]}


def wald(p0: float, p1: float, alpha: float, beta: float) -> dict[str, float]:
    """Return Wald's bounds and steps (Wald 1945), through SciPy's Bernoulli distribution."""
    return {
        "upper": float(np.log((1 - beta) / alpha)),
        "lower": float(np.log(beta / (1 - alpha))),
        "passed": float(stats.bernoulli.logpmf(1, p1) - stats.bernoulli.logpmf(1, p0)),
        "failed": float(stats.bernoulli.logpmf(0, p1) - stats.bernoulli.logpmf(0, p0)),
    }


def corrected(ps: list[float]) -> list[float]:
    """Return Holm's correction of a family of p values."""
    return [float(p) for p in multitest.multipletests(ps, method="holm")[1]] if ps else []


def comb(n: int, k: int) -> int:
    """Return how many draws of k there are from n."""
    return int(special.comb(n, k, exact=True))


def interval(values: list[float]) -> list[float]:
    """Return SciPy's percentile interval of the mean; 100,000 resamples, so that its own error is below 0.01."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (np.asarray(values, float),), np.mean, method="percentile", n_resamples=100_000, batch=10_000, rng=1
        ).confidence_interval
    return [float(found.low), float(found.high)]


def table() -> dict[str, object]:
    """Return every case with its reference."""
    return {
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__,
                     "statsmodels": statsmodels.__version__},
        "wilson": [[k, n, *map(float, proportion.proportion_confint(k, n, method="wilson"))] for k, n in SHARES],
        "wilson_by_scipy": [
            [k, n, *map(float, stats.binomtest(k, n).proportion_ci(0.95, method="wilson"))] for k, n in SHARES
        ],
        "mcnemar": [
            [b, c, float(contingency_tables.mcnemar([[10, b], [c, 10]], exact=True).pvalue)] for b, c in PAIRS
        ],
        "holm": [[ps, corrected(ps)] for ps in FAMILIES],
        "pass_at_k": [[n, c, k, 1 - comb(n - c, k) / comb(n, k)] for n, c, k in DRAWS],
        "some_of_k": [[n, c, k, float(stats.hypergeom.sf(0, n, c, k))] for n, c, k in DRAWS],
        "pass_hat_k": [[n, c, k, float(stats.hypergeom.pmf(k, n, c, k))] for n, c, k in DRAWS],
        "bootstrap": [[name, values, float(np.mean(values)), interval(values)] for name, values in DIFFERENCES.items()],
        "percentile": [
            [values, q, float(np.percentile(values, q))]
            for values in VALUES.values()
            for q in (0, 2.5, 25, 50, 90, 95, 97.5, 100)
        ],
        "sprt": wald(0.3, 0.9, 0.05, 0.05),
    }  # fmt: skip


if __name__ == "__main__":
    PLACES.write_text(json.dumps(table(), indent=None, separators=(",", ":")).replace("],[", "],\n[") + "\n")
