"""Who may come in: one Host we answer to, no foreign origin, the right token. Pure checks on the raw request."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from routerconsole.domain.errors import ErrorCode, RequestRejected
from routerconsole.domain.secret import SUBSCRIPTION, Secret

Headers = Iterable[tuple[bytes, bytes]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAX_TOKEN = 512
"""Characters of a bearer token we would ever issue or accept."""


_SUBSCRIPTION = SUBSCRIPTION.encode()
_CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"x-api-key", b"api-key"})
_OF_ANTHROPIC = frozenset({b"x-api-key", b"anthropic-version", b"anthropic-beta"})


class Access(StrEnum):
    """Which token a route asks for."""

    OPEN = "open"
    CLIENT = "client"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Guard:
    """The door's rules. `hosts` are the lower-case names answered to; `loopback_open` asks local programs nothing."""

    client_token: Secret
    admin_token: Secret
    hosts: frozenset[str] = field(default_factory=lambda: LOOPBACK_NAMES)
    loopback_open: bool = False

    def check_host(self, headers: Headers) -> None:
        """Raise RequestRejected unless there is exactly one Host and it is ours (the port may be any)."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            raise RequestRejected(ErrorCode.BAD_HOST, "Exactly one Host header is required.")
        if _host_name(hosts[0]) not in self.hosts:
            raise RequestRejected(
                ErrorCode.MISDIRECTED_HOST, "This server does not answer to that Host; see `server.allowed_hosts`."
            )

    def check_origin(self, headers: Headers) -> None:
        """Raise RequestRejected for a request that a foreign web page caused."""
        for name, value in headers:
            if name == b"sec-fetch-site" and value.strip().lower() in (b"cross-site", b"same-site"):
                raise RequestRejected(ErrorCode.FORBIDDEN_ORIGIN, "Cross-site requests are refused.")
            if name == b"origin" and not self._own_origin(value):
                raise RequestRejected(ErrorCode.FORBIDDEN_ORIGIN, "Requests from foreign origins are refused.")

    def check_token(self, headers: Headers, access: Access, *, peer: str) -> None:
        """Raise RequestRejected unless the bearer token allows this access; the admin token allows all."""
        if access is Access.OPEN:
            return
        check_subscription(headers)
        if access is Access.CLIENT and self.loopback_open and peer in ("127.0.0.1", "::1"):
            return
        given = _bearer(headers)
        if given is None:
            raise RequestRejected(
                ErrorCode.UNAUTHORIZED,
                'A bearer token is required: `eval "$(routerconsole env)"` sets it for OpenAI clients.',
            )
        # Both are compared whatever the first says, so that time tells nothing.
        is_admin = hmac.compare_digest(given, self.admin_token.reveal().encode())
        is_client = hmac.compare_digest(given, self.client_token.reveal().encode())
        if is_admin or (is_client and access is Access.CLIENT):
            return
        if is_client:
            raise RequestRejected(ErrorCode.FORBIDDEN, "This needs the admin token; a client token was given.")
        raise RequestRejected(ErrorCode.UNAUTHORIZED, "The bearer token is not valid.")

    def _own_origin(self, value: bytes) -> bool:
        scheme, found, rest = value.partition(b"://")
        return bool(found) and scheme in (b"http", b"https") and _host_name(rest) in self.hosts


def check_subscription(headers: Headers) -> None:
    """Raise RequestRejected for a client that comes with an Anthropic subscription token, whatever else it has."""
    for name, value in headers:
        if _SUBSCRIPTION in value and name in _CREDENTIALS:
            raise RequestRejected(
                ErrorCode.UNAUTHORIZED,
                "Anthropic subscription tokens (sk-ant-oat…) are refused here: they belong to Anthropic's own "
                "programs. Use this router's token; Anthropic's models are reached as upstreams, with an API key.",
            )


def speaks_anthropic(headers: Headers) -> bool:
    """Whether a request comes from a client of Anthropic's API, which shows no bearer token of ours."""
    return any(name in _OF_ANTHROPIC for name, _ in headers)


@lru_cache(64)
def _host_name(value: bytes) -> str | None:
    """Return the lower-case name of a Host value without its port, None where it is not a plain `name[:port]`."""
    try:
        text = value.strip().decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        if rest and not (rest.startswith(":") and rest[1:].isdigit()):
            return None
        return name + bracket
    name, colon, port = text.partition(":")
    if colon and not port.isdigit():
        return None
    return name


def _bearer(headers: Headers) -> bytes | None:
    found = [value for name, value in headers if name == b"authorization"]
    if len(found) != 1:
        return None
    scheme, _, token = found[0].strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token or len(token) > MAX_TOKEN:
        return None
    return token
