"""The project's simulator as a process of its own: an upstream that outlives the router in front of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.live import Json, answers, free_port, router_command, wait_until


@contextmanager
def simulator(home: Path, models: Json, **more: object) -> Iterator[str]:
    """`routerconsole simulate` with these models for the length of a with-block; gives its URL, without /v1.

    `more` are further keys of its script.
    """
    script, url = home / "script.yaml", f"http://127.0.0.1:{free_port()}"
    script.write_text(json.dumps({"models": models, **more}))  # JSON is YAML
    command = [*router_command(), "simulate", "--port", url.rpartition(":")[2], "--script", str(script)]
    with (home / "simulator.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"{url}/v1/models"), f"the simulator (see {home}/simulator.log)")
        yield url
    finally:
        process.terminate()
        process.wait(20)
