"""Weights on disk: paths that stay where they may be, and headers that are distrusted."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.config.weights import (
    MAX_TEXT,
    WeightsError,
    check_checkpoint,
    check_weights,
    read_header,
    weights_path,
)
from routerconsole.domain.registry import ModelFormat

if TYPE_CHECKING:
    from pathlib import Path


def gguf(
    *entries: bytes, tensors: tuple[tuple[int, ...], ...] = (), version: int = 3, count: int | None = None
) -> bytes:
    """A GGUF file without weights: metadata entries and the shapes of its tensors."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries) if count is None else count)
    infos = b"".join(
        text(f"blk.{n}")
        + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}Q", *shape)
        + struct.pack("<IQ", 0, 0)
        for n, shape in enumerate(tensors)
    )
    return head + b"".join(entries) + infos


def text(value: str) -> bytes:
    """A string as GGUF writes one."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def said(key: str, value: str) -> bytes:
    """A metadata entry with a text."""
    return text(key) + struct.pack("<I", 8) + text(value)


def number(key: str, value: int) -> bytes:
    """A metadata entry with a u32."""
    return text(key) + struct.pack("<II", 4, value)


def words(key: str, *values: str) -> bytes:
    """A metadata entry with an array of texts, as vocabularies are."""
    return text(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(text(value) for value in values)


def safetensors(**shapes: list[int]) -> bytes:
    """A safetensors file without weights."""
    header = {"__metadata__": {"format": "pt"}} | {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()
    }
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw


def test_a_gguf_header_tells_architecture_context_and_parameters(tmp_path: Path) -> None:
    """Vocabularies in between are passed over; parameters are the products of the tensors' dimensions."""
    file = tmp_path / "tiny.gguf"
    file.write_bytes(
        gguf(
            said("general.architecture", "llama"),
            said("general.name", "tiny"),
            words("tokenizer.ggml.tokens", "a", "b", "ccc"),
            number("llama.context_length", 65536),
            tensors=((320, 265), (320,)),
        )
    )
    header = read_header(file, ModelFormat.GGUF)
    assert (header.architecture, header.name, header.context_length) == ("llama", "tiny", 65536)
    assert header.parameters == 320 * 265 + 320


def test_a_checkpoint_folder_adds_up_its_shards_and_reads_its_config(tmp_path: Path) -> None:
    """Two shards are one model; config.json says what the tensors cannot."""
    (tmp_path / "a.safetensors").write_bytes(safetensors(x=[2, 3]))
    (tmp_path / "b.safetensors").write_bytes(safetensors(y=[10], z=[]))
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}')
    header = read_header(tmp_path, ModelFormat.HF)
    assert (header.architecture, header.context_length, header.parameters, header.files) == (
        "LlamaForCausalLM",
        4096,
        2 * 3 + 10 + 1,
        2,
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"not a model at all, but long enough to have a header",
        gguf(version=9),
        gguf(count=1 << 62),
        gguf(text("k") + struct.pack("<I", 99)),
        gguf(text("k") + struct.pack("<IIQ", 9, 9, 1)),
        gguf(text("k") + struct.pack("<IIQ", 9, 8, 1 << 50)),
        gguf(struct.pack("<Q", MAX_TEXT * 2) + b"short"),
        gguf(tensors=((1 << 63, 1 << 63),)),
    ],
    ids=[
        "empty",
        "magic only",
        "text",
        "version",
        "absurd count",
        "unknown type",
        "nested",
        "endless array",
        "long key",
        "absurd tensor",
    ],
)
def test_a_damaged_gguf_is_an_error_with_words(tmp_path: Path, content: bytes) -> None:
    """No count or length in a file is believed, and nothing but WeightsError comes out."""
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    with pytest.raises(WeightsError):
        read_header(file, ModelFormat.GGUF)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever stands in a file, the outcome is a header or a WeightsError."""
    file = tmp_path_factory.mktemp("w") / "any"
    for form, data in ((ModelFormat.GGUF, b"GGUF" + content), (ModelFormat.SAFETENSORS, content)):
        file.write_bytes(data)
        try:
            read_header(file, form)
        except WeightsError as problem:
            assert str(problem)  # noqa: PT017 - either outcome is right, a bare exception is not


def test_what_airllm_can_never_serve_is_said_before_it_is_asked(tmp_path: Path) -> None:
    """No config, pickled weights only, GGUF: each with what to do; a whole checkpoint is served as folder and file."""
    folder, file = tmp_path / "c", tmp_path / "q.gguf"
    folder.mkdir()
    file.write_bytes(gguf())

    def why(path: Path, form: ModelFormat) -> str:
        with pytest.raises(WeightsError) as refused:
            check_checkpoint(str(path), form, None)
        return str(refused.value)

    (folder / "pytorch_model.bin").touch()
    assert "no config.json" in why(folder, ModelFormat.HF)
    (folder / "config.json").write_text("{}")
    assert "pickled weights are never read" in why(folder, ModelFormat.HF)
    assert "llama-server" in why(file, ModelFormat.GGUF)
    assert "does not exist" in why(tmp_path / "gone", ModelFormat.HF)
    weights = folder / "model.safetensors"
    weights.write_bytes(safetensors(x=[1]))
    assert check_checkpoint(str(folder), ModelFormat.HF, None) == folder
    assert check_checkpoint(str(weights), ModelFormat.SAFETENSORS, None) == weights


def test_relative_paths_stay_below_the_weights_directory(tmp_path: Path) -> None:
    """Neither dots nor a link lead out; without a directory a relative path is refused with the remedy."""
    root = tmp_path / "weights"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "out").symlink_to(tmp_path / "secret")
    assert weights_path("a/b.gguf", str(root)) == root.resolve() / "a" / "b.gguf"
    for path in ("../secret", "a/../../secret", "out"):
        with pytest.raises(WeightsError, match=r"leaves registry\.weights_dir"):
            weights_path(path, str(root))
    with pytest.raises(WeightsError, match="weights_dir is not set"):
        weights_path("a.gguf", None)


def test_file_formats_need_what_they_name(tmp_path: Path) -> None:
    """A gguf is a file, an hf checkpoint a folder, and `api` needs neither."""
    (tmp_path / "m.gguf").write_bytes(b"")
    assert check_weights("m.gguf", ModelFormat.GGUF, str(tmp_path)) == (tmp_path / "m.gguf").resolve()
    assert check_weights("nowhere", ModelFormat.API, None) is None
    with pytest.raises(WeightsError, match="does not exist"):
        check_weights("gone.gguf", ModelFormat.GGUF, str(tmp_path))
    with pytest.raises(WeightsError, match="no folder"):
        check_weights("m.gguf", ModelFormat.HF, str(tmp_path))
