"""Weights on disk: where a model's path may point, and what the header of a GGUF or safetensors file says of itself.

Only headers are read, never tensors, and every count and length in a file is distrusted.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from routerconsole.domain.registry import ModelFormat

FILE_FORMATS: Final = frozenset({ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.HF})
"""Formats whose path must exist."""
MAX_HEADER = 128 * 1024 * 1024
"""Bytes of a header that are read at most; the largest real ones (vocabularies of 256,000 words) take about 10 MB."""
MAX_ENTRIES = 1_000_000
"""Metadata entries, tensors or array items believed."""
MAX_WEIGHTS = 10**12
"""Weights of one tensor believed; the largest models have as many in all."""
MAX_TEXT = 64 * 1024
_MAX_DIMENSIONS = 8


class WeightsError(ValueError):
    """The path or the file cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """What weights say of themselves; None is "not said". `parameters` counts weights, `context_length` tokens."""

    architecture: str | None = None
    name: str | None = None
    context_length: int | None = None
    parameters: int | None = None
    files: int = 1


def weights_path(path: str, weights_dir: str | None) -> Path:
    """Return where a model's path points: relative ones under `weights_dir`, which they never leave, links included."""
    asked = Path(path)
    if asked.is_absolute():
        return asked
    if weights_dir is None:
        raise WeightsError(
            f"{path!r} is relative and registry.weights_dir is not set (write an absolute path, or set it)"
        )
    root = Path(weights_dir).expanduser().resolve()
    found = (root / asked).resolve()
    if not found.is_relative_to(root):
        raise WeightsError(f"{path!r} leaves registry.weights_dir (write a path below it)")
    return found


def check_weights(path: str, form: ModelFormat, weights_dir: str | None) -> Path | None:
    """Return the existing file or folder of a model's format, None for formats without one; raise WeightsError."""
    if form not in FILE_FORMATS:
        return None
    found = weights_path(path, weights_dir)
    if not found.exists():
        raise WeightsError(f"{path!r} does not exist (format {form} needs the file)")
    if form is ModelFormat.HF and not found.is_dir():
        raise WeightsError(f"{path!r} is no folder (format hf is a checkpoint folder with its config.json)")
    if form is ModelFormat.GGUF and not found.is_file():
        raise WeightsError(f"{path!r} is no file (format gguf is one file)")
    return found


def check_checkpoint(path: str, form: ModelFormat, weights_dir: str | None) -> Path | None:
    """Return what `check_weights` does where kind `airllm` can serve it; raise WeightsError where it never will.

    Pickled weights are programs: they are not read at all.
    """
    found = check_weights(path, form, weights_dir)
    if found is None:
        return None
    if form is ModelFormat.GGUF:
        raise WeightsError("AirLLM reads no GGUF (register it at the llama-server or Ollama that serves it)")
    folder = found if found.is_dir() else found.parent
    try:
        names = {file.name for file in folder.iterdir()}
    except OSError as exc:
        raise WeightsError(f"{path!r} cannot be read: {exc.strerror}") from exc
    if "config.json" not in names:
        raise WeightsError(f"{path!r} has no config.json beside its weights")
    if not any(name.endswith(".safetensors") for name in names):
        raise WeightsError(f"{path!r} has no safetensors (pickled weights are never read: convert them)")
    return found


def missing_extra(kind: str) -> str | None:
    """Return what is to be installed before a kind of provider can serve weights itself, None where nothing is."""
    if kind != "airllm" or importlib.util.find_spec("airllm") is not None:
        return None
    stand_in = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
    return None if stand_in else "missing_extra: airllm (pip install 'routerconsole[airllm]')"


def read_header(path: Path, form: ModelFormat) -> WeightsHeader:
    """Return what the weights at `path` say of themselves; raise WeightsError. It blocks: call it in a thread."""
    try:
        if form is ModelFormat.GGUF:
            with path.open("rb") as file:
                return _gguf(_Reader(file))
        return _checkpoint(path)
    except OSError as exc:
        raise WeightsError(f"{path.name} cannot be read: {exc.strerror}") from exc
    except (struct.error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise WeightsError(f"{path.name} is no {form} file, or a damaged one") from exc


class _Reader:
    """Little-endian values from a file, within MAX_HEADER bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = min(MAX_HEADER, os.fstat(file.fileno()).st_size)

    def take(self, size: int) -> bytes:
        """Return the next bytes; raise WeightsError where the file or the bound ends."""
        self._spend(size)
        data = self._file.read(size)
        if len(data) != size:
            raise WeightsError("the file ends inside its header")
        return data

    def skip(self, size: int) -> None:
        """Pass over bytes unread."""
        self._spend(size)
        self._file.seek(size, os.SEEK_CUR)

    def number(self, form: str) -> int:
        """Return one integer of a struct format."""
        value: int = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]
        return value

    def text(self) -> str:
        """Return a string with its length in front; one of absurd length is passed over and empty."""
        size = self.number("Q")
        if size > MAX_TEXT:
            self.skip(size)
            return ""
        return self.take(size).decode("utf-8", "replace")

    def _spend(self, size: int) -> None:
        if size > self._left:
            raise WeightsError("the header is longer than the file, or than is believed")
        self._left -= size


_SCALARS: Final[Mapping[int, str]] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""Value types of the GGUF specification by number; 8 is a string, 9 an array."""
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)


def _gguf(reader: _Reader) -> WeightsHeader:
    if reader.take(4) != b"GGUF":
        raise WeightsError("the file does not begin as a GGUF file does")
    version = reader.number("I")
    if version not in _VERSIONS:
        raise WeightsError(f"GGUF version {version} is not known here (2 and 3 are)")
    tensors, entries = _believed(reader.number("Q")), _believed(reader.number("Q"))
    said: dict[str, str | int | float] = {}
    for _ in range(entries):
        key = reader.text()
        value = _value(reader, reader.number("I"))
        if value is not None:
            said[key] = value
    architecture = said.get("general.architecture")
    context = said.get(f"{architecture}.context_length")
    told = said.get("general.parameter_count")
    name = said.get("general.name")
    return WeightsHeader(
        architecture=architecture if isinstance(architecture, str) else None,
        name=name if isinstance(name, str) else None,
        context_length=context if type(context) is int else None,
        parameters=told if type(told) is int else sum(_sizes(reader, tensors)),
    )


def _value(reader: _Reader, kind: int) -> str | int | float | None:
    """Return a scalar or string; arrays are passed over."""
    if kind == _STRING:
        return reader.text()
    if kind != _ARRAY:
        form = _SCALARS.get(kind)
        if form is None:
            raise WeightsError(f"metadata type {kind} is not known here")
        scalar: str | int | float = struct.unpack("<" + form, reader.take(struct.calcsize("<" + form)))[0]
        return scalar
    inner, count = reader.number("I"), _believed(reader.number("Q"))
    if inner == _STRING:
        for _ in range(count):
            reader.skip(reader.number("Q"))
    elif inner in _SCALARS:
        reader.skip(count * struct.calcsize("<" + _SCALARS[inner]))
    else:
        raise WeightsError("arrays in arrays are not read")
    return None


def _sizes(reader: _Reader, tensors: int) -> Iterator[int]:
    """Yield the number of weights of each tensor."""
    for _ in range(tensors):
        reader.skip(reader.number("Q"))  # its name
        dimensions = reader.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise WeightsError("a tensor has too many dimensions")
        yield _weights(math.prod(reader.number("Q") for _ in range(dimensions)))
        reader.skip(4 + 8)  # type and offset


def _believed(count: int) -> int:
    if count > MAX_ENTRIES:
        raise WeightsError(f"a header with {count} entries is not believed")
    return count


def _checkpoint(path: Path) -> WeightsHeader:
    """Read a safetensors file, or a folder of shards with its config.json."""
    folder = path if path.is_dir() else path.parent
    shards = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    settings = _settings(folder)
    names = settings.get("architectures")
    architecture = names[0] if isinstance(names, list) and names else settings.get("model_type")
    context = settings.get("max_position_embeddings")
    return WeightsHeader(
        architecture=architecture if isinstance(architecture, str) else None,
        context_length=context if type(context) is int else None,
        parameters=sum(_safetensors(shard) for shard in shards) if shards else None,
        files=len(shards),
    )


def _settings(folder: Path) -> dict[str, object]:
    described = folder / "config.json"
    if not described.is_file() or described.stat().st_size > MAX_HEADER:
        return {}
    data = json.loads(described.read_bytes())
    return data if isinstance(data, dict) else {}


def _safetensors(path: Path) -> int:
    """Return the number of weights in one file."""
    with path.open("rb") as file:
        reader = _Reader(file)
        header = json.loads(reader.take(reader.number("Q")))
    if not isinstance(header, dict):
        raise WeightsError(f"{path.name} is no safetensors file")
    total = 0
    for name, tensor in header.items():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if (
            name != "__metadata__"
            and isinstance(shape, list)
            and all(type(size) is int and size >= 0 for size in shape)
        ):
            total += _weights(math.prod(shape))
    return total


def _weights(count: int) -> int:
    if count > MAX_WEIGHTS:
        raise WeightsError(f"a tensor of {count:.0e} weights is not believed")
    return count
