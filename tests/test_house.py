"""House rules a linter cannot say: banned calls, file length, no index in the tree, what an import may drag in."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "routerconsole"
SOURCES = sorted(p for p in PACKAGE.rglob("*.py") if "_data" not in p.relative_to(PACKAGE).parts)
MAX_LINES = 400

# Each entry is a file or directory under src/routerconsole and the reason it may do what others may not.
MAY_READ_TIME = {
    "engine/clock.py": "it is the clock",
    "simulator": "a stand-alone upstream has its own time; the engine never sees it",
}
MAY_CREATE_TASKS = {
    "engine/tasks.py": "it owns every task of the engine",
    "simulator": "a stand-alone upstream owns its own",
}
MAY_BE_LONG: dict[str, str] = {}

BANNED_TIME = {"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns"}
BANNED_TASKS = {"asyncio.create_task", "asyncio.ensure_future"}
HEADLESS = (
    "domain",
    "routing",
    "control",
    "providers",
    "simulator",
    "storage",
    "config",
    "engine",
    "server",
    "evals",
    "mcp",
)


def relative(path: Path) -> str:
    """The path as the lists above name it."""
    return path.relative_to(PACKAGE).as_posix()


def excused(path: Path, allowed: dict[str, str]) -> bool:
    """Whether a file, or a directory above it, is on a list."""
    name = relative(path)
    return any(name == entry or name.startswith(entry + "/") for entry in allowed)


def import_names(tree: ast.AST) -> dict[str, str]:
    """What each imported local name stands for: `from time import monotonic as m` gives {"m": "time.monotonic"}."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """The full dotted name an expression refers to, imports resolved."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def uses(source: str, banned: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of every reference to a banned dotted name, called or handed on."""
    tree = ast.parse(source)
    names = import_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and (full := dotted(node, names)) in banned:
            yield node.lineno, full


def offences(banned: set[str], allowed: dict[str, str]) -> list[str]:
    """Every use of a banned name outside its list, as `file:line name`."""
    return [
        f"{relative(path)}:{line} {name}"
        for path in SOURCES
        if not excused(path, allowed)
        for line, name in uses(path.read_text(), banned)
    ]


def tracked_files() -> list[Path]:
    """What git would put in a commit: tracked and new files, ignored ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [p for name in listed.split("\0") if name and (p := ROOT / name).is_file() and not p.is_symlink()]


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Top-level modules that are loaded in a fresh interpreter after running some code."""
    report = "import sys, json; print('\\nLOADED ' + json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(re.findall(r'"([^"]+)"', done.stdout.rpartition("LOADED ")[2]))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", ["time.time"]),
        ("from time import monotonic as tick\ntick()", ["time.monotonic"]),
        ("import time as t\nclock = t.monotonic", ["time.monotonic"]),
        ("import time\ntime.sleep(1)", []),
    ],
)
def test_the_search_for_banned_names_sees_through_aliases(source: str, found: list[str]) -> None:
    """A banned name is found under any import form, called or passed on, and a near neighbour is not."""
    assert [name for _, name in uses(source, BANNED_TIME)] == found


def test_time_is_read_in_one_place() -> None:
    """Only the engine's clock reads time; everybody else is given it."""
    assert offences(BANNED_TIME, MAY_READ_TIME) == []


def test_tasks_are_created_in_one_place() -> None:
    """Only the engine's task owner creates bare tasks; a task nobody holds can vanish half done."""
    assert offences(BANNED_TASKS, MAY_CREATE_TASKS) == []


def test_untrusted_text_is_not_escaped_into_markup() -> None:
    """Textual's markup escape has holes, so nothing builds markup from text."""
    assert offences({"textual.markup.escape", "rich.markup.escape"}, {}) == []


def test_streams_are_split_on_bytes() -> None:
    """`aiter_lines` splits on U+2028 and friends inside a JSON string, so no stream is read with it."""
    named = {"aiter_lines", "iter_lines"}
    hits = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in named
    ]
    assert hits == []


def test_files_stay_short() -> None:
    """A file over the limit has taken on a second job."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES and name not in MAY_BE_LONG} == {}


def test_modules_say_what_they_own() -> None:
    """Each module opens with a docstring."""
    assert [relative(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_no_module_is_a_drawer() -> None:
    """A file named after nothing collects everything."""
    drawers = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
    assert [relative(p) for p in SOURCES if {p.stem, *p.relative_to(PACKAGE).parts[:-1]} & drawers] == []


def test_the_tree_names_no_package_index() -> None:
    """Where packages come from is the machine's business: no index option and no registry host in any file."""
    pattern = re.compile(
        "|".join(
            [
                "--(?:extra-)?index" + "-url",
                "--find" + "-links",
                "--trusted" + "-host",
                r"(?:test\.)?py" + r"pi\.(?:org|io)",
            ]
        )
        + r"|files\.python"
        + r"hosted\.org|registry\.npm"
        + r"js\.org|proxy\.gol"
        + r"ang\.org",
        re.IGNORECASE,
    )
    hits = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", "replace")
        hits += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert hits == []


def test_every_locked_package_is_exact_and_hashed() -> None:
    """Each requirement pins one version and carries at least one hash."""
    entries = re.split(
        r"\n(?=\S)", re.sub(r"^#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE).strip()
    )
    assert len(entries) > 20
    assert [
        e.splitlines()[0]
        for e in entries
        if not re.match(r"[a-z0-9._-]+==[^\s;]+.*\\\n\s+--hash=sha256:[0-9a-f]{64}", e)
    ] == []


def test_the_lock_holds_every_direct_dependency() -> None:
    """What pyproject declares for runtime, tests and the build is in the lock."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    names = [re.split(r"[<>=!~\[; ]", d, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-") for d in declared]
    assert [n for n in names if n not in locked] == []
    assert len(project["project"]["dependencies"]) <= 14


@pytest.mark.parametrize("layer", [name for name in HEADLESS if (PACKAGE / name / "__init__.py").exists()])
def test_headless_layers_do_not_load_textual(layer: str) -> None:
    """Importing every module of a layer in a fresh interpreter loads no terminal library (httpx itself loads rich)."""
    walk = (
        "import importlib, pkgutil, sys\n"
        "package = importlib.import_module(sys.argv[1])\n"
        "for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)"
    )
    assert loaded_by(walk, f"routerconsole.{layer}").isdisjoint({"textual", "plotext"})


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_asking_for_version_or_help_stays_light(option: str) -> None:
    """`--version` and `--help` load neither the terminal library nor the HTTP client."""
    ask = (
        "import sys\n"
        "from routerconsole.__main__ import main\n"
        "sys.argv = ['routerconsole', sys.argv[1]]\n"
        "try:\n    code = main()\nexcept SystemExit as ended:\n    code = ended.code\n"
        "assert not code, code"
    )
    assert loaded_by(ask, option).isdisjoint(
        {"textual", "rich", "aiohttp", "httpx", "uvicorn", "starlette", "pydantic"}
    )


def test_shipped_files_are_found_through_the_package() -> None:
    """Themes and the sample configuration are read through the package, in a checkout as in a wheel."""
    from importlib.resources import files

    data = files("routerconsole") / "_data"
    assert [e.name for e in (data / "themes").iterdir() if e.name.endswith(".yaml")]
    assert (data / "config" / "providers.yaml").is_file()
