"""The control plane's table: one row per route says what is matched, checked, answered and documented.

Paths are matched segment by segment on the raw bytes and decoded after, so `%2F` stays inside one segment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel

from .errors import Headers

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request, matched and checked. `json` is the whole body as parsed, `size` its bytes, `id` a change's name."""

    id: str
    path: Mapping[str, str]
    query: Q
    body: B
    json: Mapping[str, Any]
    size: int
    headers: Headers

    def header(self, name: bytes) -> str:
        """Return a header's value, empty where it is not sent."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: JSON, or with `stream` server-sent events until it ends or the client leaves."""

    data: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[tuple[bytes, bytes]] = ()
    stream: AsyncGenerator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class ApiRoute(Generic[Q, B]):
    """One row. `answer` is the type documented; `body_optional` takes an empty body as `{}`.

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

    @property
    def takes_body(self) -> bool:
        """Whether a body is read."""
        return self.method == "POST"


AnyRoute = ApiRoute[Any, Any]


@dataclass(frozen=True, slots=True)
class Match:
    """Every method of one path, and the decoded segments of its parameters."""

    methods: Mapping[str, AnyRoute]
    params: Mapping[str, str]

    @property
    def allow(self) -> str:
        """The methods as an Allow header names them; HEAD goes wherever GET does."""
        names = set(self.methods) | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(names))

    def route(self, method: str) -> AnyRoute | None:
        """Return the row of a method."""
        return self.methods.get("GET" if method == "HEAD" else method)


class Table:
    """Finds a path's routes; literal segments win over parameters because their rows stand first."""

    def __init__(self, routes: Sequence[AnyRoute]) -> None:
        self.routes = tuple(routes)
        self._by_length: dict[int, list[tuple[tuple[bytes, ...], dict[str, AnyRoute]]]] = {}
        known: dict[str, dict[str, AnyRoute]] = {}
        for route in routes:
            if route.path not in known:
                pattern = tuple(part.encode() for part in route.path.split("/"))
                known[route.path] = {}
                self._by_length.setdefault(len(pattern), []).append((pattern, known[route.path]))
            known[route.path][route.method] = route

    def match(self, raw_path: bytes) -> Match | None:
        """Return what stands at a raw path below the table's root, None where nothing does."""
        segments = raw_path.split(b"/")
        for pattern, methods in self._by_length.get(len(segments), ()):
            params: dict[str, str] = {}
            for part, segment in zip(pattern, segments, strict=True):
                if part[:1] == b"{":
                    if not segment:
                        break
                    params[part[1:-1].decode()] = unquote_to_bytes(segment).decode("utf-8", "replace")
                elif part != segment:
                    break
            else:
                return Match(methods, params)
        return None
