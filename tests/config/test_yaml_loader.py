"""The loader: what it reads, what it refuses, and that nothing makes it hang."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.effort import cpu

from routerconsole.config.problems import ConfigError
from routerconsole.config.yaml_loader import MAX_BYTES, parse, plain_value, read_config


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("012", "012"),
        ("12:30", "12:30"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("3.5", 3.5),
        ("1e3", 1000.0),
        ("true", True),
        ("~", None),
        ("'3'", "3"),
        ("", None),
        ("1.", 1.0),
    ],
)
def test_G06_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """Only what YAML 1.2 calls a number, boolean or null is one; a leading zero makes text."""
    got = parse(f"a: {text}\n", "f").data["a"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "a: &x\n  b: *x\n",
        "&x a: 1\n",
        "? *x\n: 1\n",
        "a: !!python/object/apply:os.system ['touch /tmp/pwned']\n",
        "a: !!str 3\n",
        "a: ! x\n",
        "!!map {a: 1}\n",
        "<<: {a: 1}\n",
        "a: 1\n---\nb: 2\n",
        "a: {b: 1\n",
        "a: [1, 2\n",
        "a: \tx: y: z\n",
        "- a\n- b\n",
        "just text\n",
        "",
        "# nothing\n",
        "1: a\n",
        "true: a\n",
        "[a, b]: c\n",
        "a: \x00\n",
        "a: \x1b[2J\n",
        "a: 'unterminated\n",
    ],
)
def test_G03_G04_constructs_outside_plain_yaml_are_refused(text: str) -> None:
    """Aliases, anchors, tags, merges, several documents and malformed text are named errors, never values."""
    assert refused(text).startswith("f.yaml")


BOMBS = {
    "aliases": "a: &a [x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(20)),
    "self": "a: &a [*a]\n",
    "flow depth": "a: " + "[" * 5000 + "]" * 5000,
    "flow maps": "a: " + "{a: " * 5000 + "}" * 5000,
    "block depth": "".join(" " * n + "a:\n" for n in range(1400)),
    "dashes": "- " * 5000,
    "size": "a: " + "x" * (MAX_BYTES + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_G03_bombs_are_refused_at_once_in_little_memory(name: str) -> None:
    """A bomb ends at the event that starts it: half a second of any machine's processor and 20 MB at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert cpu(lambda: refused(BOMBS[name])) < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_G03_a_50_MB_file_is_refused_by_its_size(tmp_path: Path) -> None:
    """The size is looked at before anything is read."""
    path = tmp_path / "big.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_config(path)


def test_G05_a_duplicate_key_names_both_lines() -> None:
    """The first one counts, and the error says where both are."""
    document = parse("a: 1\nb:\n  c: 1\n  c: 2\n", "f.yaml")
    assert [str(problem) for problem in document.duplicates] == [
        "f.yaml:4: b.c: the key is written twice, on lines 3 and 4 (keep one)"
    ]


def test_G01_a_fifo_does_not_hang(tmp_path: Path) -> None:
    """A FIFO without a writer is refused, not waited for."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        read_config(path)


def test_G01_missing_directory_and_device_have_clear_texts(tmp_path: Path) -> None:
    """Each kind of unusable path is named for what it is."""
    for path, text in ((tmp_path / "no", "no such file"), (tmp_path, "is a directory"), (Path("/dev/zero"), "regular")):
        with pytest.raises(ConfigError, match=text):
            read_config(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_G01_an_unreadable_file_says_permission(tmp_path: Path) -> None:
    """A file without read permission is an error, not a traceback."""
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\n")
    path.chmod(0)
    with pytest.raises(ConfigError, match="permission denied"):
        read_config(path)


def test_a_file_of_a_stranger_is_refused_where_owners_are_given(tmp_path: Path) -> None:
    """A config from the working directory must belong to the user or root."""
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\n")
    assert read_config(path, owners=frozenset({os.geteuid()})) == "version: 1\n"
    with pytest.raises(ConfigError, match="another user"):
        read_config(path, owners=frozenset({os.geteuid() + 1}))


def test_bytes_that_are_not_utf8_name_their_line(tmp_path: Path) -> None:
    """A wrong encoding is found with its line; a byte order mark is no problem."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:2: is not UTF-8"):
        read_config(path)
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert parse(read_config(path), "p").data == {"a": 1}


def test_every_node_knows_its_line() -> None:
    """Lines are those of keys and items, and a missing key has its parent's line."""
    root = parse("a:\n  - b: 1\n    c:\n      d\n  - e\n", "f").root
    assert root.line_of(("a", 0, "c")) == 3
    assert root.line_of(("a", 1)) == 5
    assert root.line_of(("a", 0, "nope", "deeper")) == 2


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    """No text makes anything else than a document or a ConfigError."""
    refusal: ConfigError | None = None
    try:
        parse(text, "f")
    except ConfigError as error:
        refusal = error
    assert refusal is None or refusal.problems


@given(st.one_of(st.text(min_size=1, max_size=30), st.from_regex(r"[-+]?[.0-9eExob_:]{1,12}", fullmatch=True)))
def test_a_plain_value_never_surprises(text: str) -> None:
    """A plain scalar is its own text, a word for null or a truth value, or the number Python reads in it too."""
    value = plain_value(text)
    if isinstance(value, str):
        assert value == text
    elif value is None or isinstance(value, bool):
        assert text.lower() in ("", "~", "null", "true", "false")
    elif text[:2] in ("0x", "0o"):
        assert value == int(text, 0)
    elif text.lstrip("+-").lower() in (".inf", ".nan"):
        assert not math.isfinite(value)
    else:
        assert value == float(text)
