"""The words the transport uses for what happened on the wire; what each means for routing is classify's to say."""

from __future__ import annotations

from enum import StrEnum


class TransportFault(StrEnum):
    """How an exchange with an upstream broke below HTTP's own answers."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_CERTIFICATE = "tls_certificate"
    TLS_HANDSHAKE = "tls_handshake"
    RESET = "reset"
    EOF = "eof"
    BAD_RESPONSE = "bad_response"  # not HTTP, or a header we refuse to read
    FORBIDDEN_ADDRESS = "forbidden_address"  # link-local or metadata, seen at connect
    WRITE_FAILED = "write_failed"
    READ_FAILED = "read_failed"
    TOO_LARGE = "too_large"  # a body over our limit


class Phase(StrEnum):
    """Where an attempt stood when a timer ran out."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    FIRST_TOKEN = "first_token"  # noqa: S105 - a model's token, not a secret
    IDLE = "idle"  # a gap inside a committed stream
    WHOLE = "whole"  # a whole, non-streamed answer
