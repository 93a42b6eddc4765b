"""References, templates and their late resolution."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerconsole.config.secrets import describe, expand, resolve, syntax_error


def value_of(raw: str, env: dict[str, str]) -> str:
    resolved = resolve(raw, env)
    assert resolved.secret is not None, resolved.reason
    return resolved.secret.reveal()


def reason_of(raw: str, env: dict[str, str]) -> str:
    resolved = resolve(raw, env)
    assert resolved.secret is None
    assert resolved.reason is not None
    return resolved.reason


def test_C0_04_a_template_gives_the_variables_value() -> None:
    """`${TEST_API_KEY}` with the variable set is its value."""
    assert value_of("${TEST_API_KEY}", {"TEST_API_KEY": "secret123"}) == "secret123"


@pytest.mark.parametrize("raw", ["${TEST_API_KEY}", "env:TEST_API_KEY", "x-${TEST_API_KEY}"])
@pytest.mark.parametrize("env", [{}, {"TEST_API_KEY": ""}])
def test_C0_05_G11_an_unset_or_empty_variable_is_named(raw: str, env: dict[str, str]) -> None:
    """An unresolved secret has the reason `missing_secret: NAME`, never a literal that could be sent."""
    assert reason_of(raw, env) == "missing_secret: TEST_API_KEY"


@pytest.mark.parametrize(
    "value", ["ab\ncd", "abcd\n", "ab\rcd", "ab\x00cd", '"abcd"', "'abcd'", "ab cd", " abcd", "abcdé"]
)
@pytest.mark.parametrize("raw", ["env:K", "${K}"])
def test_G11_unusable_values_are_refused_without_being_shown(value: str, raw: str) -> None:
    """Line breaks, quotes, spaces and non-ASCII text are a config error that names the variable only."""
    reason = reason_of(raw, {"K": value})
    assert reason.startswith("config_error: K ")
    assert "ab" not in reason.removeprefix("config_error: K ").replace("break", "")


def test_defaults_apply_to_unset_and_empty_variables() -> None:
    """`${NAME:-default}` falls back; a set variable wins."""
    assert expand("a-${X:-d}-b", {}) == ("a-d-b", None)
    assert expand("a-${X:-d}-b", {"X": ""}) == ("a-d-b", None)
    assert expand("a-${X:-d}-b", {"X": "v"}) == ("a-v-b", None)
    assert expand("${X:-}", {}) == ("", None)


@given(st.text(max_size=50))
def test_what_a_variable_holds_is_never_read_as_a_template(value: str) -> None:
    """Values are inserted once, whatever they contain."""
    expected = value or "none"
    assert expand("<${X:-none}>", {"X": value, "Y": "leak"}) == (f"<{expected}>", None)


@pytest.mark.parametrize(
    "raw", ["env:", "env:1X", "env:A B", "file:", "file:relative", "keyring:x", "${", "${}", "${A", "${1}", "${A-b}"]
)
def test_malformed_references_are_found_at_load(raw: str) -> None:
    """A reference that can never resolve is an error in the file, not a missing secret."""
    assert syntax_error(raw)


def secret_file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


def test_a_secret_file_gives_its_text_without_the_last_line_end(tmp_path: Path) -> None:
    """One trailing line end is an editor's, not the key's."""
    assert value_of(secret_file(tmp_path / "k", "abcd1234\n"), {}) == "abcd1234"
    assert value_of(secret_file(tmp_path / "k", "abcd1234\r\n"), {}) == "abcd1234"


def test_a_secret_file_may_be_named_from_home(tmp_path: Path) -> None:
    """`file:~/key` starts at the user's home."""
    secret_file(tmp_path / "key", "abcd1234")
    assert value_of("file:~/key", {"HOME": str(tmp_path)}) == "abcd1234"


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o620])
def test_X20_a_secret_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Group or world access to a key is an error that says what to do."""
    assert "chmod 600" in reason_of(secret_file(tmp_path / "k", "abcd1234", mode), {})


def test_unusable_secret_files_have_reasons(tmp_path: Path) -> None:
    """Missing, empty, huge, binary, directory and FIFO each say what they are, and none hangs."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    tmp_path.chmod(0o700)
    cases = {
        f"file:{tmp_path / 'no'}": "no such file",
        secret_file(tmp_path / "empty", "\n"): "empty",
        secret_file(tmp_path / "huge", "x" * 70_000): "larger",
        secret_file(tmp_path / "lines", "a\nb\n"): "line break",
        f"file:{tmp_path}": "regular file",
        f"file:{fifo}": "regular file",
    }
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "binary").chmod(0o600)
    cases[f"file:{tmp_path / 'binary'}"] = "not text"
    for raw, word in cases.items():
        assert word in reason_of(raw, {})


def test_keyring_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring is optional: missing, it is a reason."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert reason_of("keyring:openai/me", {}).startswith("missing_extra: keyring")


def test_keyring_gives_the_stored_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Service and user are handed to the keyring; an unknown one is a missing secret."""
    fake = types.ModuleType("keyring")
    stored = {("openai", "me"): "abcd1234"}
    fake.get_password = lambda service, user: stored.get((service, user))  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "keyring", fake)
    assert value_of("keyring:openai/me", {}) == "abcd1234"
    assert reason_of("keyring:openai/you", {}) == "missing_secret: keyring:openai/you"


def test_subscription_tokens_are_refused() -> None:
    """A subscription must not be driven through an imitation of its API."""
    reason = reason_of("env:K", {"K": "sk-ant-oat01-abcdef"})
    assert "subscription" in reason
    assert "abcdef" not in reason


def test_a_reference_is_described_without_its_value() -> None:
    """What is shown of a credential is where it comes from."""
    assert [describe(raw) for raw in ("env:A", "file:/k", "plain", "x${A}${B:-secret}")] == [
        "env:A",
        "file:/k",
        "literal",
        "template of ${A}, ${B}",
    ]
