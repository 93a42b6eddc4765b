"""What a client can be told went wrong (interface.md §4).

RouterError                     any answer that is not a success; code, status and type come from one table
├── RequestRejected             the request never reached routing (parse, door, size)
└── RoutingFailed               routing or serving failed; carries the trace of what was tried
    └── StreamIncomplete        after commit: rendered in-band, no [DONE]
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trace import Trace


class ErrorCode(StrEnum):
    """Every code the interface names."""

    INVALID_JSON = "invalid_json"
    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    CONFLICT = "conflict"
    CAPABILITY_UNAVAILABLE = "capability_unavailable"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    CAPABILITY_NOT_DELIVERED = "capability_not_delivered"
    ALL_CANDIDATES_FAILED = "all_candidates_failed"
    NO_ROUTABLE_CANDIDATE = "no_routable_candidate"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    STREAM_INCOMPLETE = "stream_incomplete"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    MISDIRECTED_HOST = "misdirected_host"
    BAD_HOST = "bad_host"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    OVERLOADED = "overloaded"
    BUDGET_EXCEEDED = "budget_exceeded"
    SHUTTING_DOWN = "shutting_down"
    CANCELLED = "cancelled"
    CONTENT_POLICY = "content_policy_violation"
    UPSTREAM_REJECTED = "upstream_rejected"
    ANTHROPIC_INGRESS_NOT_SUPPORTED = "anthropic_ingress_not_supported"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    INTERNAL_ERROR = "internal_error"


class ErrorType(StrEnum):
    """The coarse type clients switch on."""

    INVALID_REQUEST = "invalid_request_error"
    AUTHENTICATION = "authentication_error"
    PERMISSION = "permission_error"
    NOT_FOUND = "not_found_error"
    RATE_LIMIT = "rate_limit_error"
    UPSTREAM = "upstream_error"
    ROUTER = "router_error"


_DEFAULTS: dict[ErrorCode, tuple[int, ErrorType]] = {
    ErrorCode.INVALID_JSON: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.INVALID_REQUEST: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.NOT_FOUND: (404, ErrorType.NOT_FOUND),
    ErrorCode.METHOD_NOT_ALLOWED: (405, ErrorType.INVALID_REQUEST),
    ErrorCode.MODEL_NOT_FOUND: (404, ErrorType.NOT_FOUND),
    ErrorCode.CONFLICT: (409, ErrorType.INVALID_REQUEST),
    ErrorCode.CAPABILITY_UNAVAILABLE: (422, ErrorType.INVALID_REQUEST),
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.CAPABILITY_NOT_DELIVERED: (502, ErrorType.UPSTREAM),
    ErrorCode.ALL_CANDIDATES_FAILED: (502, ErrorType.UPSTREAM),
    ErrorCode.NO_ROUTABLE_CANDIDATE: (503, ErrorType.ROUTER),
    ErrorCode.DEADLINE_EXCEEDED: (504, ErrorType.UPSTREAM),
    ErrorCode.STREAM_INCOMPLETE: (502, ErrorType.UPSTREAM),
    ErrorCode.UNAUTHORIZED: (401, ErrorType.AUTHENTICATION),
    ErrorCode.FORBIDDEN: (403, ErrorType.PERMISSION),
    ErrorCode.FORBIDDEN_ORIGIN: (403, ErrorType.PERMISSION),
    ErrorCode.MISDIRECTED_HOST: (421, ErrorType.INVALID_REQUEST),
    ErrorCode.BAD_HOST: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: (415, ErrorType.INVALID_REQUEST),
    ErrorCode.PAYLOAD_TOO_LARGE: (413, ErrorType.INVALID_REQUEST),
    ErrorCode.HEADERS_TOO_LARGE: (431, ErrorType.INVALID_REQUEST),
    ErrorCode.REQUEST_TIMEOUT: (408, ErrorType.INVALID_REQUEST),
    ErrorCode.OVERLOADED: (429, ErrorType.RATE_LIMIT),
    ErrorCode.BUDGET_EXCEEDED: (429, ErrorType.RATE_LIMIT),
    ErrorCode.SHUTTING_DOWN: (503, ErrorType.ROUTER),
    ErrorCode.CANCELLED: (499, ErrorType.ROUTER),
    ErrorCode.CONTENT_POLICY: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.UPSTREAM_REJECTED: (400, ErrorType.INVALID_REQUEST),
    ErrorCode.ANTHROPIC_INGRESS_NOT_SUPPORTED: (404, ErrorType.NOT_FOUND),
    ErrorCode.STORAGE_UNAVAILABLE: (503, ErrorType.ROUTER),
    ErrorCode.INTERNAL_ERROR: (500, ErrorType.ROUTER),
}


class RouterError(Exception):
    """An error with a public face. `retry_after` is seconds; `should_retry` False tells SDKs to stop.

    `allow` names the methods a path has, for a wrong one.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        status: int | None = None,
        type: ErrorType | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        default_status, default_type = _DEFAULTS[code]
        self.code, self.message, self.param = code, message, param
        self.status = status or default_status
        self.type = type or default_type
        self.retry_after, self.should_retry = retry_after, should_retry
        self.allow = allow


class RequestRejected(RouterError):
    """The request never reached routing."""


class RoutingFailed(RouterError):
    """Routing or serving failed; `trace` (set by the engine) tells what was tried and skipped."""

    trace: Trace | None = None


class StreamIncomplete(RoutingFailed):
    """A committed stream broke; `cause` is the outcome class or `shutting_down` / `deadline_exceeded`."""

    cause: str = "cut"
