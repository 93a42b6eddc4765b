"""How an exchange with an upstream can fail, as one word; providers.transport tells them apart, routing judges them."""

from __future__ import annotations

from enum import StrEnum


class TransportFault(StrEnum):
    """What went wrong on the way to an upstream or back."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_HANDSHAKE = "tls_handshake"
    PROXY = "proxy"  # the configured proxy refused the tunnel
    FORBIDDEN_ADDRESS = "forbidden_address"
    RESET = "reset"
    EOF = "eof"
    WRITE_FAILED = "write_failed"
    READ_FAILED = "read_failed"
    BAD_RESPONSE = "bad_response"  # not HTTP, or a head over its limits
    BODY_TOO_LARGE = "body_too_large"


CONNECT_FAULTS = frozenset(
    {
        TransportFault.DNS,
        TransportFault.REFUSED,
        TransportFault.UNREACHABLE,
        TransportFault.CONNECT_TIMEOUT,
        TransportFault.TLS_HANDSHAKE,
        TransportFault.PROXY,
    }
)
"""Faults that can only happen while a connection is being made."""
