"""The base_url rule: one normal form, or a reason. Reasons never repeat the URL, which may hold a password."""

from __future__ import annotations

from urllib.parse import urlsplit

from routerconsole.domain.address import forbidden_address
from routerconsole.domain.secret import SUBSCRIPTION

DEFAULT_URLS = {
    "ollama": "http://127.0.0.1:11434",
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
}
"""Where each kind's own service lives; the other kinds have no address of their own."""
OPENAI_DIALECTS = frozenset({"openai", "openai_compatible", "simulated"})
_OWN_PATHS = {"ollama": ("/v1", "/api"), "anthropic": ("/v1",)}
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/models", "/messages", "/api/chat", "/api/tags")


def normalise_base_url(raw: str, kind: str) -> str:
    """Return the normal form of a base_url: lower case, no trailing slash, `/v1` where an OpenAI path is empty.

    Raises ValueError with the reason and what to write instead.
    """
    if not raw:
        raise ValueError("is empty (write http://host:port)")
    if any(char.isspace() or not char.isprintable() or char == "\\" for char in raw):
        raise ValueError("must not contain spaces, backslashes or control characters")
    scheme, host, port, path = _split(raw)
    path = _normal_path(path, kind)
    return f"{scheme}://{_bracketed(host)}{'' if port is None else f':{port}'}{path}"


def check_proxy(raw: str) -> str:
    """Return a proxy URL unchanged: http or https, user and password allowed; ValueError with the reason otherwise."""
    if any(char.isspace() or not char.isprintable() for char in raw):
        raise ValueError("must not contain spaces or control characters")
    _split(raw, credentials=True)
    return raw


def host_of(url: str) -> str:
    """Return the host of a normalised base_url."""
    return urlsplit(url).hostname or ""


def _split(raw: str, *, credentials: bool = False) -> tuple[str, str, int | None, str]:
    if SUBSCRIPTION in raw:
        raise ValueError("holds a subscription token (sk-ant-oat…), which is refused: use an API key")
    try:
        parts = urlsplit(raw)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a valid URL (the port must be 1 to 65535, an IPv6 host in brackets)") from None
    if "://" not in raw:
        raise ValueError("has no scheme (write http:// or https:// in front)")
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError(f"has the scheme {parts.scheme[:20]!r} (only http and https are spoken)")
    if "@" in parts.netloc and not credentials:
        raise ValueError("must not contain a user or password (put the key in api_key)")
    if "?" in raw or "#" in raw:
        raise ValueError("must not contain a query or fragment (put keys in api_key or headers)")
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError("has no usable port (write 1 to 65535, or leave ':' out)")
    _check_host(host)
    return parts.scheme.lower(), host, port, parts.path


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("has no host (write http://host:port)")
    if not host.isascii():
        raise ValueError(f"has a non-ASCII host (write its ASCII form, {_ascii_form(host)})")
    if ":" not in host and (
        any(not (char.isalnum() or char in "._-") for char in host) or ".." in host or host[0] in ".-"
    ):
        raise ValueError("has a host that is no host name or address")
    why = forbidden_address(host)
    if why is not None:
        raise ValueError(f"{why}, which is always refused")


def _ascii_form(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return "xn--…"


def _normal_path(path: str, kind: str) -> str:
    path = path.rstrip("/")
    if any(
        segment in (".", "..") or "%2f" in segment.lower() or "%2e" in segment.lower() for segment in path.split("/")
    ):
        raise ValueError("must not contain '.' or '..' path segments")
    for ending in _ENDPOINTS:
        if path.endswith(ending):
            raise ValueError(f"must end before {ending!r}, which the router appends itself")
    if kind in OPENAI_DIALECTS:
        return path or "/v1"
    for own in _OWN_PATHS.get(kind, ()):
        path = path.removesuffix(own)
    return path


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
