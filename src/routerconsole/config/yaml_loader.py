"""YAML in, plain values and line numbers out: YAML 1.2 scalars, no aliases, anchors, tags, merges or duplicate keys.

Works on parser events, so a bomb is refused at the event that starts it and nothing is ever constructed from a tag.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .problems import ConfigError, Loc, Problem, dotted

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
_MAX_DIGITS = 300

Scalar = str | int | float | bool | None
Value = Scalar | list["Value"] | dict[str, "Value"]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
# a leading zero makes it text: YAML 1.1 readers see octal, 1.2 readers decimal, and a person may mean either
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {
    sign + word: float(sign + "inf") for sign in ("", "-", "+") for word in (".inf", ".Inf", ".INF")
} | dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))


@dataclass(slots=True)
class Mark:
    """The line of a node (of its key, inside a mapping) and the marks of what it contains."""

    line: int
    keys: dict[str, Mark] = field(default_factory=dict)
    items: list[Mark] = field(default_factory=list)

    def line_of(self, loc: Loc) -> int:
        """Return the line of the deepest existing node on the way to `loc`."""
        mark = self
        for part in loc:
            child = mark.items[part] if isinstance(part, int) and part < len(mark.items) else mark.keys.get(str(part))
            if child is None:
                break
            mark = child
        return mark.line


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values, where each stands, and the keys written twice (the first one counts)."""

    file: str
    data: dict[str, Value]
    root: Mark
    duplicates: tuple[Problem, ...] = ()

    def problem(self, loc: Loc, message: str) -> Problem:
        """Return an error at `loc`."""
        return Problem(self.file, self.root.line_of(loc), dotted(loc), message)


class _Refused(Exception):
    """The document stops here; nothing after it is read."""

    def __init__(self, line: int, path: str, message: str) -> None:
        super().__init__(message)
        self.line, self.path, self.message = line, path, message


def read_config(path: Path, *, owners: frozenset[int] | None = None) -> str:
    """Return the text of a regular UTF-8 file of at most 1 MiB; `owners` limits who may own it. Raises ConfigError."""
    file = str(path)

    def refuse(message: str) -> ConfigError:
        return ConfigError([Problem(file, 0, "", message)])

    try:
        # non-blocking, so that a FIFO without a writer cannot hang us before it is seen to be one
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise refuse("no such file (run `routerconsole config init` to write a first one)") from None
    except PermissionError:
        raise refuse("cannot be read: permission denied (check its owner and mode)") from None
    except (OSError, ValueError) as error:
        raise refuse(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise refuse("is a directory (name the YAML file inside it)")
        if not stat.S_ISREG(status.st_mode):
            raise refuse("is not a regular file (pipes and devices are refused)")
        if owners is not None and status.st_uid not in owners:
            raise refuse(
                "belongs to another user; a config in the working directory must be yours or root's "
                "(--config FILE uses it anyway)"
            )
        if status.st_size > MAX_BYTES:
            raise refuse(f"is larger than 1 MiB ({status.st_size} bytes)")
        raw = _read_bounded(descriptor)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(raw) > MAX_BYTES:
        raise refuse("is larger than 1 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "", "is not UTF-8 text (save it as UTF-8)")]) from None


def _read_bounded(descriptor: int) -> bytes:
    """Read until the end or one byte over the limit: the file may have grown since it was looked at."""
    chunks: list[bytes] = []
    left = MAX_BYTES + 1
    while left > 0 and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def parse(text: str, file: str) -> Document:
    """Return the one mapping that `text` holds. Raises ConfigError with the line of what is wrong."""
    if len(text) > MAX_BYTES:
        raise ConfigError([Problem(file, 0, "", "is larger than 1 MiB")])
    reader = _Reader(file)
    try:
        return reader.read(text)
    except _Refused as refused:
        problems = [*reader.duplicates, Problem(file, refused.line, refused.path, refused.message)]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ": ".join(part for part in (error.context, error.problem) if part)
        problems = [*reader.duplicates, Problem(file, mark.line + 1 if mark else 0, "", f"is not valid YAML: {said}")]
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
        reason = getattr(error, "reason", "it cannot be read")
        problems = [Problem(file, line, "", f"is not valid YAML: {reason}")]
    raise ConfigError(problems)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    """Resolve a scalar: anything quoted is text."""
    return plain_value(event.value) if event.implicit[0] else str(event.value)


class _Reader:
    """Turns one event stream into values; keeps duplicate keys as problems and goes on, refuses everything else."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.duplicates: list[Problem] = []
        self._path: list[str | int] = []

    def read(self, text: str) -> Document:
        events = yaml.parse(text, Loader=_Loader)
        data: Value = None
        root = Mark(1)
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "a second YAML document starts here (keep one per file)")
                data, root = self._node(next(events), events)
        if data is None:
            raise _Refused(1, "", "is empty (write at least `version: 1`)")
        if not isinstance(data, dict):
            raise _Refused(root.line, "", "must be a mapping of settings at the top (key: value)")
        return Document(self.file, data, root, tuple(self.duplicates))

    def _refuse(self, event: yaml.Event, message: str) -> _Refused:
        return _Refused(_line(event), dotted(tuple(self._path)), message)

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event]) -> tuple[Value, Mark]:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "aliases (*name) are not allowed (write the value out)")
        if getattr(event, "anchor", None) is not None:
            raise self._refuse(event, "anchors (&name) are not allowed (write the value out)")
        if getattr(event, "tag", None) is not None:
            raise self._refuse(event, "tags (!name) are not allowed (remove it)")
        mark = Mark(_line(event))
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event), mark
        if len(self._path) >= MAX_DEPTH:
            raise self._refuse(event, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, mark), mark
        return self._mapping(events, mark), mark

    def _sequence(self, events: Iterator[yaml.Event], mark: Mark) -> Value:
        values: list[Value] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            self._path.append(len(values))
            value, child = self._node(event, events)
            self._path.pop()
            values.append(value)
            mark.items.append(child)
        return values

    def _mapping(self, events: Iterator[yaml.Event], mark: Mark) -> Value:
        values: dict[str, Value] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event)
            self._path.append(key)
            line = _line(event)
            value, child = self._node(next(events), events)
            child.line = line
            if key in values:
                first = mark.keys[key].line
                here = dotted(tuple(self._path))
                self.duplicates.append(
                    Problem(self.file, line, here, f"the key is written twice, on lines {first} and {line} (keep one)")
                )
            else:
                values[key] = value
                mark.keys[key] = child
            self._path.pop()
        return values

    def _key(self, event: yaml.Event) -> str:
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "aliases (*name) are not allowed (write the value out)")
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refuse(event, "a key must be text, not a list or mapping")
        if event.anchor is not None or event.tag is not None:
            raise self._refuse(event, "anchors (&name) and tags (!name) are not allowed (write the key plainly)")
        if event.implicit[0] and event.value == "<<":
            raise self._refuse(event, "merge keys (<<) are not allowed (write the keys out)")
        if not isinstance(_scalar(event), str):
            raise self._refuse(event, f'a key must be text (write "{event.value[:40]}" in quotes)')
        return str(event.value)


def plain_value(text: str) -> Scalar:
    """Return what a plain (unquoted) scalar means by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in "0123456789+-.":
        return text
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _RADIX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
