"""Secret references and `${NAME}` templates: syntax and late resolution. Values never appear in a reason."""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from routerconsole.domain.secret import SUBSCRIPTION, Secret

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ENV = re.compile(rf"env:({_NAME})", re.ASCII)
_KEYRING = re.compile(r"keyring:([^/\s]+)/(\S+)")
_SLOT = re.compile(r"\$\{([^{}]*)\}")
_SLOT_BODY = re.compile(rf"({_NAME})(?::-(.*))?", re.ASCII | re.DOTALL)
MAX_SECRET_BYTES = 65_536
# container runtimes mount secrets there world-readable inside the container
_MOUNTED = ("/run/secrets/", "/var/run/secrets/")


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome of one field: a secret, or the reason there is none (`missing_secret: NAME`, `config_error: …`)."""

    secret: Secret | None = None
    reason: str | None = None


class _Unresolved(Exception):
    """Carries the reason."""


def is_literal(raw: str) -> bool:
    """Whether the text itself is the value, not a reference to one."""
    return not raw.startswith(("env:", "file:", "keyring:")) and not _SLOT.search(raw)


def syntax_error(raw: str, *, references: bool = True) -> str | None:
    """Return what is wrong with a reference or template, or None; `references` allows env:, file: and keyring:."""
    if references and raw.startswith("env:"):
        return (
            None
            if _ENV.fullmatch(raw)
            else "env: needs a variable name (letters, digits and '_'), as in env:OPENAI_API_KEY"
        )
    if references and raw.startswith("file:"):
        return (
            None
            if raw.startswith(("file:/", "file:~/"))
            else "file: needs an absolute path, as in file:/run/secrets/key"
        )
    if references and raw.startswith("keyring:"):
        return None if _KEYRING.fullmatch(raw) else "keyring: needs service/user, as in keyring:openai/me"
    if any(_SLOT_BODY.fullmatch(body) is None for body in _SLOT.findall(raw)) or "${" in _SLOT.sub("", raw):
        return "has a malformed ${…} (write ${NAME} or ${NAME:-default})"
    return None


def describe(raw: str) -> str:
    """Return a reference as it may be shown: the reference itself, or `literal` for a value written out."""
    if is_literal(raw):
        return "literal"
    if raw.startswith(("env:", "file:", "keyring:")):
        return raw
    return "template of " + ", ".join(f"${{{name}}}" for name in names_in(raw))


def names_in(raw: str) -> tuple[str, ...]:
    """Return the environment variables a value refers to, in order."""
    whole = _ENV.fullmatch(raw)
    if whole:
        return (whole[1],)
    return tuple(match[1] for body in _SLOT.findall(raw) if (match := _SLOT_BODY.fullmatch(body)))


def expand(raw: str, env: Mapping[str, str]) -> tuple[str, str | None]:
    """Fill `${NAME}` and `${NAME:-default}`; return the text and the first name that is unset or empty."""
    missing: list[str] = []

    def fill(slot: re.Match[str]) -> str:
        body = _SLOT_BODY.fullmatch(slot[1])
        if body is None:
            return slot[0]
        value = env.get(body[1], "")
        if not value and body[2] is not None:
            return body[2]
        if not value:
            missing.append(body[1])
        return value

    # one pass over the written text: what a variable holds is never read as a template again
    return _SLOT.sub(fill, raw), (missing[0] if missing else None)


def resolve(raw: str, env: Mapping[str, str], *, is_key: bool = True) -> Resolved:
    """Return the value of a secret-bearing field; `is_key` applies the rules for API keys."""
    try:
        value, origin = _fetch(raw, env)
        if subscription_token(value):
            raise _Unresolved(f"config_error: {_subscribed(origin)}")
        if is_key:
            _check_key(value, origin)
        elif any(not (char.isprintable() or char == "\t") for char in value):
            raise _Unresolved(f"config_error: {origin} holds a line break or control character")
    except _Unresolved as reason:
        return Resolved(reason=str(reason))
    return Resolved(secret=Secret(value))


def _fetch(raw: str, env: Mapping[str, str]) -> tuple[str, str]:
    wrong = syntax_error(raw)
    if wrong is not None:
        raise _Unresolved(f"config_error: {wrong}")
    if raw.startswith("env:"):
        name = raw[len("env:") :]
        if not env.get(name, "").strip():
            raise _Unresolved(f"missing_secret: {name}")
        return env[name], name
    if raw.startswith("file:"):
        return _from_file(raw[len("file:") :], env), raw
    if raw.startswith("keyring:"):
        return _from_keyring(raw), raw
    value, missing = expand(raw, env)
    if missing is not None:
        raise _Unresolved(f"missing_secret: {missing}")
    return value, ", ".join(names_in(raw)) or "the key"


def _check_key(value: str, origin: str) -> None:
    if not value:
        raise _Unresolved(f"missing_secret: {origin}")
    if any(not char.isprintable() for char in value):
        raise _Unresolved(f"config_error: {origin} holds a line break or control character (set it again without)")
    if value != value.strip() or " " in value:
        raise _Unresolved(f"config_error: {origin} holds spaces (set it again without)")
    if not value.isascii():
        raise _Unresolved(f"config_error: {origin} holds characters that no API key has")
    if any(quote in value for quote in "\"'`"):
        raise _Unresolved(f"config_error: {origin} holds quotation marks (set it again without them)")


def subscription_token(value: str) -> bool:
    """Whether a value is or holds (`Bearer …`) an Anthropic subscription token."""
    return SUBSCRIPTION in value


def subscription(raw: str, env: Mapping[str, str]) -> str | None:
    """Return what to say where a reference or template stands for a subscription token; no keyring is opened."""
    if raw.startswith("keyring:"):
        return None
    try:
        value, origin = _fetch(raw, env)
    except _Unresolved:
        return None
    return _subscribed(origin) if subscription_token(value) else None


def unusable(raw: str, env: Mapping[str, str], *, is_key: bool) -> str | None:
    """Return why what a reference finds cannot be used, None where it can; no keyring is opened."""
    if raw.startswith("keyring:") or is_literal(raw) or syntax_error(raw) is not None:
        return None
    return resolve(raw, env, is_key=is_key).reason


def _subscribed(origin: str) -> str:
    return f"{origin} is a subscription token (sk-ant-oat…), which is refused: use an API key"


def _from_file(path: str, env: Mapping[str, str]) -> str:
    where = f"file:{path}"
    if path.startswith("~/"):
        path = str(Path(env.get("HOME") or "/") / path[2:])
    try:
        # non-blocking, so that a FIFO without a writer cannot hang us before it is seen to be one
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _Unresolved(f"missing_secret: {where} (no such file)") from None
    except (OSError, ValueError) as error:
        raise _Unresolved(f"missing_secret: {where} ({getattr(error, 'strerror', None) or 'unusable path'})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _Unresolved(f"config_error: {where} is not a regular file")
        if status.st_mode & 0o077 and not os.path.realpath(path).startswith(_MOUNTED):
            raise _Unresolved(f"config_error: {where} can be read by others (chmod 600 it)")
        if status.st_size > MAX_SECRET_BYTES:
            raise _Unresolved(f"config_error: {where} is larger than 64 KB")
        raw = os.read(descriptor, MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise _Unresolved(f"missing_secret: {where} ({error.strerror})") from None
    finally:
        os.close(descriptor)
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _Unresolved(f"config_error: {where} is not text") from None
    value = value.removesuffix("\n").removesuffix("\r")
    if not value.strip():
        raise _Unresolved(f"missing_secret: {where} (empty)")
    return value


def _from_keyring(raw: str) -> str:
    match = _KEYRING.fullmatch(raw)
    if match is None:
        raise _Unresolved("config_error: keyring: needs service/user")
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise _Unresolved("missing_extra: keyring (pip install 'routerconsole[keyring]')") from None
    try:
        value = keyring.get_password(match[1], match[2])
    except Exception:  # noqa: BLE001 - keyring backends raise anything; the reason must not carry their text
        raise _Unresolved(f"missing_secret: {raw} (the keyring could not be read)") from None
    if not value:
        raise _Unresolved(f"missing_secret: {raw}")
    return str(value)
