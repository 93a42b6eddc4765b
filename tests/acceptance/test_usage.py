"""Ten thousand simulated requests: cost and tokens in the books agree with the upstreams' own count to the token."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.stand import Stand, configuration
from tests.support.usage import PRICES, agreed, load, models

from routerconsole.simulator import Simulator

REQUESTS = 10_000
WIDE = {"max_concurrency": 100, "discovery": {"enabled": False}, "health": {"enabled": False}}


async def test_ten_thousand_requests_are_counted_to_the_token(tmp_path: Path) -> None:
    """Whole, streamed, failed over, undelivered, blank, several choices, embeddings; and again after a restart."""
    sims = {name: Simulator(seed=number) for number, name in enumerate(PRICES, 1)}
    for sim in sims.values():
        await sim.start()
    text = configuration(sims, models=models(), providers=dict.fromkeys(PRICES, WIDE))
    stand = Stand(text, tmp_path / "state", sims)
    await stand.start()
    try:
        await load(stand, REQUESTS, at_once=32)
        told = (await stand.get("/api/v1/usage")).json
        await agreed(stand, told)
        assert sum(row["requests"] for row in told["days"]) >= REQUESTS
        await stand.restart()
        again = (await stand.get("/api/v1/usage")).json
        assert again["days"] == told["days"]
        print({name: sim.tokens("m") for name, sim in sims.items()}, again["days"])
    finally:
        await stand.stop()
        for sim in sims.values():
            await sim.stop()
