"""The fastest upstream there is to measure against: nginx with fixed replies, on its own core.

/r answers one JSON completion, /s streams 50 tokens 10 ms apart (100 tokens/s), /503 and /reset fail; port 9101 is
nginx as a proxy in front of it. Needs the packages nginx-light and libnginx-mod-http-echo.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.live import Json, answers, wait_until

PORT, PROXY_PORT = 9100, 9101
URL = f"http://127.0.0.1:{PORT}"
TOKENS, TOKEN_S = 50, 0.010
WORDS = [f" tok{n}" for n in range(TOKENS)]
CHAT = "/v1/chat/completions"

_IDENTITY: Json = {"id": "chatcmpl-bench", "created": 1760000000, "model": "bench-model"}
_TEXT = (
    "Hello! This is a fixed benchmark reply of a realistic length, about thirty tokens or so, to keep parsing honest."
)
_REPLY: Json = {
    **_IDENTITY,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 21, "completion_tokens": 30, "total_tokens": 51},
}


def _event(delta: Json, finish: str | None = None) -> str:
    """One SSE line of the stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**_IDENTITY, "object": "chat.completion.chunk", "choices": [choice]}
    return "data: " + json.dumps(chunk, separators=(",", ":"))


def _script() -> str:
    """The stream as directives of nginx's echo module."""
    lines = [f"echo '{_event({'role': 'assistant', 'content': ''})}'; echo ''; echo_flush;"]
    for word in WORDS:
        lines.append(f"echo_sleep {TOKEN_S:.3f}; echo '{_event({'content': word})}'; echo ''; echo_flush;")
    lines.append(f"echo '{_event({}, 'stop')}'; echo ''; echo 'data: [DONE]'; echo '';")
    return "\n      ".join(lines)


def _configuration(home: Path) -> str:
    listing = json.dumps({"object": "list", "data": [{"id": "bench-model", "object": "model"}]})
    body = "default_type application/json; echo_read_request_body;"
    return f"""load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
worker_processes 1; worker_cpu_affinity 10; daemon on; pid {home}/nginx.pid; error_log {home}/nginx.err;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; reset_timedout_connection on;
  client_body_buffer_size 1m; client_max_body_size 50m;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  upstream itself {{ server 127.0.0.1:{PORT}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{PORT} backlog=4096;
    location = /r{CHAT} {{ {body} echo -n '{json.dumps(_REPLY)}'; }}
    location = /s{CHAT} {{ default_type text/event-stream; echo_read_request_body;
      {_script()} }}
    location /503/ {{ default_type application/json; return 503 '{{"error":{{"message":"overloaded"}}}}'; }}
    location /reset/ {{ return 444; }}
    location ~ /v1/models$ {{ default_type application/json; echo '{listing}'; }}
  }}
  server {{
    listen 127.0.0.1:{PROXY_PORT};
    location / {{
      proxy_pass http://itself; proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""


@contextmanager
def running(home: Path) -> Iterator[None]:
    """nginx for the length of a with-block, its files under `home`; raises CalledProcessError when it cannot start."""
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "nginx.conf"
    configuration.write_text(_configuration(home))
    command = ["nginx", "-c", str(configuration), "-e", f"{home}/nginx.err"]
    subprocess.run(command, check=True)
    try:
        wait_until(lambda: answers(f"{URL}/r/v1/models", status=200), "nginx")
        yield
    finally:
        subprocess.run([*command, "-s", "stop"], check=False)
