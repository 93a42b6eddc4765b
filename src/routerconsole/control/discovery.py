"""Finds the running engine: the state directory of this user, its engine.json, and a token for its door.

Reads only; a token is never made here, and a directory's token never goes to another machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from routerconsole.domain.address import parse_address
from routerconsole.domain.secret import Secret
from routerconsole.storage.errors import UnsafePlace
from routerconsole.storage.lock import running_engine
from routerconsole.storage.place import read_private

from .port import ControlError, EngineUnreachable

STATE_VARIABLE = "ROUTERCONSOLE_STATE_DIR"
CLIENT_TOKEN_VARIABLE, ADMIN_TOKEN_VARIABLE = "ROUTERCONSOLE_CLIENT_TOKEN", "ROUTERCONSOLE_ADMIN_TOKEN"


class TokenKind(StrEnum):
    """Which door a token opens; also the name of its file."""

    ADMIN = "admin"
    CLIENT = "client"


_VARIABLE = {TokenKind.ADMIN: ADMIN_TOKEN_VARIABLE, TokenKind.CLIENT: CLIENT_TOKEN_VARIABLE}


@dataclass(frozen=True, slots=True)
class Found:
    """A running engine and the token to talk to it with."""

    url: str
    token: Secret


def state_directory(option: Path | None, env: Mapping[str, str]) -> Path:
    """Return the state directory of interface.md §1."""
    if option is not None:
        return option
    if env.get(STATE_VARIABLE):
        return Path(env[STATE_VARIABLE])
    base = env.get("XDG_STATE_HOME", "")
    return Path(base if os.path.isabs(base) else Path.home() / ".local" / "state") / "routerconsole"


def find_engine(
    root: Path,
    env: Mapping[str, str],
    *,
    url: str | None = None,
    token_file: Path | None = None,
    kind: TokenKind = TokenKind.ADMIN,
) -> Found:
    """Return the engine at `url`, or the one that holds the state directory `root`.

    Raises EngineUnreachable where none runs, ControlError where no token is at hand or the address is none.
    """
    address = engine_address(url) if url else _running(root)
    if token_file is not None:
        return Found(address, _from_file(token_file))
    given = env.get(_VARIABLE[kind])
    if given:
        return Found(address, _checked(given, f"${_VARIABLE[kind]}"))
    if url and not _loopback(urlsplit(address).hostname or ""):
        raise ControlError("invalid_request", f"Name a token for {address}: `--token-file FILE` or ${_VARIABLE[kind]}.")
    held = _held(root / f"{kind.value}.token")
    if held is None:
        raise ControlError(
            "unauthorized", f"{root} holds no {kind.value} token; name one with `--token-file FILE`.", status=401
        )
    return Found(address, held)


def runs_here(root: Path) -> bool:
    """Whether an engine holds a state directory."""
    return running_engine(root) is not None


def _running(root: Path) -> str:
    running = running_engine(root)
    if running is None:
        raise EngineUnreachable(
            f"No engine runs on {root}. Start one with `routerconsole serve` (or name it with `--url URL`)."
        )
    return _reachable(running.url)


def _reachable(url: str) -> str:
    """A wildcard bind is reached over loopback."""
    for everywhere, loopback in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(everywhere, loopback, 1)
    return url.rstrip("/")


def engine_address(url: str) -> str:
    """Return an address in its normal form; raise ControlError for what is none, or holds a password."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or "@" in parts.netloc:
        raise ControlError("invalid_request", f"{url!r} is not an engine's address, e.g. http://127.0.0.1:8808.")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _loopback(host: str) -> bool:
    address = parse_address(host)
    return address.is_loopback if address is not None else host == "localhost"


def _from_file(path: Path) -> Secret:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as exc:
        raise ControlError("invalid_request", f"The token file {path} cannot be read: {exc.strerror}.") from exc
    return _checked(text, f"The token file {path}")


def _checked(text: str, origin: str) -> Secret:
    """Return a token that can stand in a header."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ControlError("invalid_request", f"{origin} holds no token.")
    return Secret(token)


def _held(path: Path) -> Secret | None:
    try:
        text = (read_private(path) or "").strip()
    except (OSError, UnsafePlace):
        return None
    return _checked(text, str(path)) if text else None
