"""An upstream that counts: one model, answers at once, fails while told to (503 or 429); nothing of it is ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LATER_S = 7
"""What it says after a 429: longer than a cell waits."""


class Counting:
    """How often it was asked for an answer, between which of these it is out, and the keys it was given.

    What it answers is `text`; KEY in it becomes the key.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.out = range(0)
        self.failure = 503
        self.text = "READY"
        self.keys: set[str] = set()
        self.url = ""
        self._lock = threading.Lock()

    def status(self) -> int:
        """Count a request and return how it is answered."""
        with self._lock:
            self.asked += 1
            return self.failure if self.asked in self.out else 200


@contextmanager
def counting_upstream() -> Iterator[Counting]:
    """Run one on loopback."""
    counter = Counting()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer a chat."""
            self.rfile.read(int(self.headers["content-length"]))
            status = counter.status()
            key = self.headers.get("authorization", "").removeprefix("Bearer ")
            counter.keys.add(key)
            message = {"role": "assistant", "content": counter.text.replace("KEY", key)}
            usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
            said = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
            self._send(status, said if status == 200 else {"error": {"message": "out of service"}})

        def do_GET(self) -> None:
            """List its one model, to whoever has no bad key."""
            key = self.headers.get("authorization", "").removeprefix("Bearer ")
            if key.startswith("bad-"):
                self._send(401, {"error": {"message": f"{key} is no key of ours"}})
                return
            self._send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

        def _send(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status == 429:
                self.send_header("retry-after", str(LATER_S))
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A killed client is what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    counter.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield counter
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
