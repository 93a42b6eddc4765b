"""The control plane's table: one row per route says what is matched, checked, answered and documented.

Paths are matched segment by segment on the raw bytes and decoded after, so `%2F` stays inside one segment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel

from routerconsole.control.port import Actor

from .errors import Headers
from .schemas import NoQuery, Nothing

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request, matched and checked. `json` is the whole body as parsed, `size` its bytes, `id` a change's name.

    `actor` is whom the audit names; only a caller with the admin token may say who it is.
    """

    id: str
    path: Mapping[str, str]
    query: Q
    body: B
    json: Mapping[str, Any]
    size: int
    headers: Headers
    actor: Actor = Actor.API

    def header(self, name: bytes) -> str:
        """Return a header's value, empty where it is not sent."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: JSON, made already in `pieces` where it is long, or with `stream` server-sent events."""

    data: Mapping[str, Any] | None = field(default_factory=dict)
    headers: Sequence[tuple[bytes, bytes]] = ()
    stream: AsyncGenerator[bytes] | None = None
    pieces: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class ApiRoute(Generic[Q, B]):
    """One row. `answer` is the type documented, `status` a success's; `body_optional` takes an empty body as `{}`.

    `ends_with_client` cancels the work when the client leaves; a change, once asked for, is carried out.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[Call[Q, B]], Awaitable[Answer]]
    query: type[Q]
    body: type[B]
    answer: Any  # a type form, for which there is no annotation yet
    body_optional: bool = False
    ends_with_client: bool = False
    client_token: bool = False
    status: int = 200

    @property
    def takes_body(self) -> bool:
        """Whether a body is read."""
        return self.method in ("POST", "PUT", "PATCH")


AnyRoute = ApiRoute[Any, Any]
AnyCall = Call[Any, Any]
Plain = Call[NoQuery, Nothing]


def get(path: str, summary: str, handler: Any, answer: object) -> AnyRoute:  # any handler of the plain kind
    """Return a row that reads."""
    return ApiRoute("GET", path, summary, handler, NoQuery, Nothing, answer)


def post(
    path: str, summary: str, handler: Any, body: Any, answer: object, *, optional: bool = False, status: int = 200
) -> AnyRoute:
    """Return a row that changes or asks something."""
    return ApiRoute("POST", path, summary, handler, NoQuery, body, answer, body_optional=optional, status=status)


def put(path: str, summary: str, handler: Any, body: Any, answer: object) -> AnyRoute:
    """Return a row that says what something is from now on."""
    return ApiRoute("PUT", path, summary, handler, NoQuery, body, answer)


def patch(path: str, summary: str, handler: Any, body: Any, answer: object) -> AnyRoute:
    """Return a row that changes a part of something."""
    return ApiRoute("PATCH", path, summary, handler, NoQuery, body, answer)


def delete(path: str, summary: str, handler: Any, answer: object) -> AnyRoute:
    """Return a row that takes something away."""
    return ApiRoute("DELETE", path, summary, handler, NoQuery, Nothing, answer)


@dataclass(frozen=True, slots=True)
class Match:
    """Every method of one path, each with the decoded segments of its parameters."""

    methods: Mapping[str, tuple[AnyRoute, Mapping[str, str]]]

    @property
    def allow(self) -> str:
        """The methods as an Allow header names them; HEAD goes wherever GET does."""
        names = set(self.methods) | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(names))

    def route(self, method: str) -> tuple[AnyRoute, Mapping[str, str]] | None:
        """Return the row of a method and its parameters."""
        return self.methods.get("GET" if method == "HEAD" else method)


class Table:
    """Finds a path's routes; literal segments win over parameters because their rows stand first."""

    def __init__(self, routes: Sequence[AnyRoute]) -> None:
        self.routes = tuple(routes)
        self._by_length: dict[int, list[tuple[tuple[bytes, ...], AnyRoute]]] = {}
        for route in routes:
            pattern = tuple(part.encode() for part in route.path.split("/"))
            self._by_length.setdefault(len(pattern), []).append((pattern, route))

    def match(self, raw_path: bytes) -> Match | None:
        """Return what stands at a raw path below the table's root, None where nothing does.

        Rows that share a path only by a parameter's value (`…/all`, `…/{agent}`) add their methods up.
        """
        segments = raw_path.split(b"/")
        found: dict[str, tuple[AnyRoute, Mapping[str, str]]] = {}
        for pattern, route in self._by_length.get(len(segments), ()):
            params = _parameters(pattern, segments)
            if params is not None:
                found.setdefault(route.method, (route, params))
        return Match(found) if found else None


def _parameters(pattern: Sequence[bytes], segments: Sequence[bytes]) -> dict[str, str] | None:
    """Return the decoded parameters of a path that fits, None for one that does not."""
    params: dict[str, str] = {}
    for part, segment in zip(pattern, segments, strict=True):
        if part[:1] == b"{":
            if not segment:
                return None
            params[part[1:-1].decode()] = unquote_to_bytes(segment).decode("utf-8", "replace")
        elif part != segment:
            return None
    return params
