"""X17: secrets of every kind through a run full of failures, at debug level; no sink may hold them in any spelling."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, quote_plus

import pytest
from tests.process.router import Bench, Router


def spellings(secret: str) -> set[bytes]:
    """Plain, URL-encoded, JSON-escaped, and base64 at each of the three alignments (without the unsure ends)."""
    found = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    raw = secret.encode()
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"x" * shift + raw).decode().rstrip("=")[4 if shift else 0 : -4])
    return {text.encode() for text in found}


def holding(secret: str, sinks: dict[str, bytes]) -> list[str]:
    """Which sinks hold a secret, and what is around it."""
    return [
        f"{name}: {data[max(0, at - 80) : at + len(text) + 20]!r}"
        for name, data in sinks.items()
        for text in spellings(secret)
        if (at := data.find(text)) >= 0
    ]


class Echo(BaseHTTPRequestHandler):
    """An upstream that repeats the secrets it was sent, in several spellings, wherever an upstream can say something.

    Models: `bad` 500, `gone` 401, `html` 502 as a page, `limit` 429, `odd` 400, `cut` streams and then fails in-band,
    `ok` serves; the listing is a 403.
    """

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The listing."""
        self._answer(403, self._told("listing"))

    def do_POST(self) -> None:
        """A chat."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model = body["model"]
        statuses = {"bad": 500, "gone": 401, "html": 502, "limit": 429, "odd": 400}
        if model in statuses:
            return self._answer(statuses[model], self._told(model), html=model == "html")
        if model == "cut" and body.get("stream"):
            chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}}]}
            error = {"error": {"message": self._told("in-band"), "code": 500}}
            data = "".join(f"data: {json.dumps(item)}\n\n" for item in (chunk, error))
            return self._send(200, data.encode(), "text/event-stream")
        choice = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
        return self._send(200, json.dumps({"choices": [choice]}).encode(), "application/json")

    def _told(self, what: str) -> str:
        sent = [self.headers.get("authorization", "").removeprefix("Bearer "), self.headers.get("x-extra", "")]
        type(self).seen.extend(sent)
        spelt = [f"{key} | {quote(key, safe='')} | {base64.b64encode(key.encode()).decode()}" for key in sent]
        return f"{what}: Authorization: Bearer {sent[0]} is wrong; " + " ".join(spelt)

    def _answer(self, status: int, words: str, *, html: bool = False) -> None:
        error = {"error": {"message": words, "type": words, "code": words, "param": words, "metadata": {"raw": words}}}
        data = f"<html><title>{words}</title><body>{words}</body></html>" if html else json.dumps(error)
        self._send(status, data.encode(), "text/html" if html else "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", self.headers.get("x-extra", "")[:100])
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def echo() -> Iterator[str]:
    """The echoing upstream's base URL."""
    Echo.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join(60)
    server.server_close()


MODELS = ("bad", "gone", "html", "limit", "odd", "cut", "ok")


def test_X17_no_secret_in_any_sink(bench: Bench, echo: str) -> None:
    """State directory, WAL, stdout, stderr, answers, events, config, exports, command line: 0 hits."""
    made = {name: f"canary/{name}+{secrets.token_urlsafe(18)}=" for name in ("env", "file", "literal", "header")}
    key_file = bench.place / "key"
    key_file.write_text(made["file"])
    key_file.chmod(0o600)
    refs = {"env": "env:CANARY_KEY", "file": f"file:{key_file}", "literal": json.dumps(made["literal"])}
    rows = "".join(
        f'  - {{name: {name}-{model}, kind: openai_compatible, base_url: "{echo}", api_key: "{ref}", '
        f'headers: {{x-extra: "${{CANARY_HEADER}}"}}, models: [{{id: {model}}}]}}\n'.replace('""', '"')
        for name, ref in refs.items()
        for model in MODELS
    )
    config = "version: 1\nlog: {bodies: full}\nproviders:\n" + rows
    env = {"CANARY_KEY": made["env"], "CANARY_HEADER": made["header"], "PYTHONASYNCIODEBUG": "1"}
    router = bench.start(config, env=env, options=("--log-level", "debug")).ready()
    tokens = {"admin": router.token("admin"), "client": router.token("client")}
    sinks = {"command line": Path(f"/proc/{router.process.pid}/cmdline").read_bytes()}
    sinks |= {name: data.encode() for name, data in spoken(router, tokens, list(refs))}
    router.send(signal.SIGUSR1)
    router.send(signal.SIGTERM)
    assert router.ended() == 0
    sinks |= {"stdout": router.stdout.read_bytes(), "stderr": router.stderr.read_bytes()}
    sinks |= {
        str(path): path.read_bytes()
        for path in router.state.rglob("*")
        if path.is_file() and not path.name.endswith(".token")
    }
    assert len(router.err) > 1000, "debug logging was on"
    assert set(made.values()) <= set(Echo.seen), "every secret was sent and came back"
    hits = [hit for secret in (*made.values(), *tokens.values()) for hit in holding(secret, sinks)]
    assert hits == [], "\n".join(hits)


def spoken(router: Router, tokens: dict[str, str], names: list[str]) -> Iterator[tuple[str, str]]:
    """Everything the router says over HTTP after requests that failed, failed over and were malformed."""
    for name in names:
        for model in MODELS:
            for stream in (False, True):
                link, answer = router.stream(model=f"{name}-{model}/{model}", stream=stream)
                with closing(link):
                    yield f"{name} {model} {stream}", f"{answer.getheaders()}{answer.read()!r}"
    yield "fail over", str(router.chat())
    for path in ("router/status", "router/metrics", "router/config", "router/providers", "requests", "failures"):
        yield path, json.dumps(router.ask(f"/api/v1/{path}"))
    yield "check", json.dumps(router.ask("/api/v1/router/health-check", {}))
    yield "audit", json.dumps([router.control("env-bad", "disable"), router.ask("/api/v1/audit")])
    yield "explain", json.dumps(router.ask("/api/v1/router/explain", {"messages": [], "model": "auto"}))
    for row in router.ask("/api/v1/requests")[1]["requests"]:
        yield "request", json.dumps(router.ask(f"/api/v1/requests/{row['id']}"))
    yield "events", events(router)


def events(router: Router) -> str:
    """All events so far, read until one that is made to be the last."""
    status, _ = router.control("env-bad", "enable")
    assert status == 200
    with closing(router.link()) as link:
        head = {"authorization": f"Bearer {router.token('admin')}", "last-event-id": "0", "accept": "text/event-stream"}
        link.request("GET", "/api/v1/events", headers=head)
        answer, lines = link.getresponse(), []
        while True:
            line = answer.readline().decode()
            lines.append(line)
            if "enable_provider" in line:
                return "".join(lines)
