"""An upstream that sends any bytes at all, as much of them as its peer takes; one thread per connection."""

from __future__ import annotations

import json
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

Script = Callable[[], Iterable[bytes]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
    """One chat chunk's JSON."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    ).encode()


def event(*lines: bytes) -> bytes:
    """One event of these data lines."""
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


class RawUpstream(socketserver.ThreadingTCPServer):
    """Streams the script named by the request's model; `sent` counts the bytes each got rid of."""

    daemon_threads, allow_reuse_address = True, True

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts, self.sent = scripts, Counter[str]()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(socketserver.StreamRequestHandler):
    server: RawUpstream

    def handle(self) -> None:
        length = 0
        while line := self.rfile.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not length:
            return
        model = json.loads(self.rfile.read(length))["model"]
        try:
            self.connection.sendall(HEAD)
            for piece in self.server.scripts[model]():
                self.connection.sendall(piece)
                self.server.sent[model] += len(piece)
        except OSError:
            return  # the peer has had enough


@contextmanager
def raw_upstream(scripts: Mapping[str, Script]) -> Iterator[RawUpstream]:
    """Serve these scripts meanwhile."""
    with RawUpstream(scripts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="raw upstream")
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(60)
