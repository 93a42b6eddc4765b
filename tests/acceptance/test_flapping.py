"""U46 as its row says it: an upstream goes up and down every two seconds for five minutes, default thresholds."""

from __future__ import annotations

import faulthandler
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path

from tests.acceptance.live import Client, Json, Load
from tests.acceptance.live_engine import MakeEngine
from tests.acceptance.live_simulator import simulator

FOR_S, PERIOD_S = 300.0, 4.0
WAYS: dict[str, Json] = {
    "answers-503": {"statuses": [503]},
    "answers-500": {"statuses": [500]},
    "hangs-up": {"wire": "reset"},
}
"""What *down* is."""


def flapping(down: Json) -> Json:
    """A model that is up for two seconds and down for two."""
    return {"schedule": [{"start": 2.0, "end": 4.0, "every": PERIOD_S, "behaviour": down}]}


@contextmanager
def circuit_events(admin: Client) -> Iterator[list[Json]]:
    """Collect the circuits' events meanwhile."""
    seen: list[Json] = []
    link = admin._send("GET", "/api/v1/events", None, {})

    def read() -> None:
        with suppress(OSError, AttributeError, ValueError):  # the link is closed under it
            follow(link.getresponse())

    def follow(reply: HTTPResponse) -> None:
        while line := reply.readline():
            if line.startswith(b"data:"):
                event = json.loads(line.removeprefix(b"data:"))
                if str(event.get("type", "")).startswith("circuit."):
                    seen.append(event)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    yield seen
    link.close()


def test_U46_an_upstream_that_flaps_for_five_minutes(make_engine: MakeEngine, tmp_path: Path) -> None:
    """Up and down every 2 s for 5 min, in four ways at once: 0 client errors, ≤ 12 transitions each, a quiet log."""
    with ExitStack() as stack:
        url = stack.enter_context(simulator(tmp_path, {"up": {}, **{way: flapping(WAYS[way]) for way in WAYS}}))
        gone = tmp_path / "gone"
        gone.mkdir()
        stops = {"refusing": [{"start": 2.0, "end": 4.0, "every": PERIOD_S}]}
        refusing = stack.enter_context(simulator(gone, {"refuses": {}}, **stops))
        where = {**dict.fromkeys(WAYS, url), "refuses": refusing}
        quiet: Json = {"kind": "openai_compatible", "max_concurrency": 64}
        providers = [
            *({**quiet, "name": way, "base_url": where[way], "models": [{"id": way}]} for way in where),
            {**quiet, "name": "up", "base_url": url, "models": [{"id": "up"}]},
        ]
        pools = [{"id": f"to-{way}", "members": [f"{way}/{way}", "up/up"], "strategy": "priority"} for way in where]
        engine = make_engine({"providers": providers, "pools": pools})
        log = Path(f"{engine.state_dir}.stderr")
        seen = stack.enter_context(circuit_events(engine.admin()))
        loads = [
            stack.enter_context(
                Load(engine.client(), {"model": f"to-{way}", "messages": [{"role": "user", "content": "hi"}]},
                     workers=2, pause=0.1)
            )
            for way in where
        ]  # fmt: skip
        faulthandler.cancel_dump_traceback_later()  # it is meant to take longer than a hang would
        time.sleep(FOR_S)
        served = {way: engine.admin().provider(way) for way in where}
    assert [load.failures[:3] for load in loads] == [[]] * len(loads)
    assert all(load.succeeded > FOR_S * 5 for load in loads), [load.succeeded for load in loads]
    moves = Counter(str(event["provider"]) for event in seen)
    print("transitions", dict(moves), "log lines", len(log.read_text().splitlines()))
    assert set(moves) == set(where), "each of them opened"
    assert max(moves.values()) <= 12, [(e["type"], e["provider"], e.get("model")) for e in seen]
    assert len(log.read_text().splitlines()) <= 20
    assert all(row["routes"][0]["successful"] > 0 for row in served.values()), "each was used while it was up"
