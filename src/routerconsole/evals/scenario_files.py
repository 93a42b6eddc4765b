"""From files to scenarios: reads every file, reports every problem of all of them at once with file and line."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

import orjson

from routerconsole.config.problems import ConfigError, Loc, Problem
from routerconsole.config.validate import unknown_key, validate_section
from routerconsole.config.yaml_loader import Document, Value, parse, read_config
from routerconsole.domain.capability import CapabilityTree, UnknownCapability
from routerconsole.routing.needs import FORBIDDEN

from .assertions import JUDGES, NEGATION, TYPES, Assertion, Branch, Group, JsonSchema, Leaf, Node
from .fill import placeholders
from .scenario import DefaultsSection, FileSection, Scenario, ScenarioSection, labels

_OURS = FORBIDDEN | {"model", "messages", "input", "stream", "max_tokens", "temperature"}
"""Fields of a request that the scenario's own keys, the target or nobody may set."""
_GROUPS = ("all", "any", "of")
_DEPTH = 4


class UnknownScenarios(ValueError):
    """Ids nobody has; `valid` are all there are."""

    def __init__(self, unknown: Sequence[str], valid: Sequence[str]) -> None:
        self.unknown, self.valid = tuple(unknown), tuple(valid)
        named = ", ".join(repr(name[:80]) for name in unknown)
        super().__init__(f"no scenario is called {named}; valid ids: {', '.join(valid)}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every scenario there is, in the order of its files."""

    scenarios: tuple[Scenario, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in order."""
        return tuple(scenario.id for scenario in self.scenarios)

    def select(self, ids: Iterable[str] | None) -> tuple[Scenario, ...]:
        """Return the named scenarios in the order asked for, each once; None is all. Raises UnknownScenarios."""
        if ids is None:
            return self.scenarios
        known = {scenario.id: scenario for scenario in self.scenarios}
        wanted = tuple(dict.fromkeys(ids))
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise UnknownScenarios(unknown, self.ids)
        return tuple(known[name] for name in wanted)


def shipped_directory() -> Path:
    """Return where the built-in scenarios lie, in a checkout as in an installed wheel."""
    return Path(str(files("routerconsole") / "_data" / "config" / "scenarios"))


def load_catalogue(
    directories: Iterable[Path] = (), *, texts: Iterable[tuple[str, str]] = (), tree: CapabilityTree | None = None
) -> Catalogue:
    """Return the built-in scenarios, those of more directories and those of `texts` (name, content).

    Raises ConfigError with every problem of all of them.
    """
    problems: list[Problem] = []
    sources: list[tuple[str, str | Path]] = []
    for directory in (shipped_directory(), *directories):
        sources += [(str(path), path) for path in _files_of(directory, problems)]
    sources += texts
    found = _gathered(sources, problems, tree)
    if problems:
        raise ConfigError(problems)
    return Catalogue(tuple(found))


def check_texts(texts: Iterable[tuple[str, str]], *, tree: CapabilityTree | None = None) -> None:
    """Raise ConfigError with every problem of these files (name, content) by themselves."""
    problems: list[Problem] = []
    _gathered(texts, problems, tree)
    if problems:
        raise ConfigError(problems)


def _gathered(
    sources: Iterable[tuple[str, str | Path]], problems: list[Problem], tree: CapabilityTree | None
) -> list[Scenario]:
    """Return the scenarios of all sources; what is wrong with them is added to the problems."""
    found: list[Scenario] = []
    places: dict[str, str] = {}
    for name, source in sources:
        try:
            more = read_scenarios(read_config(source) if isinstance(source, Path) else source, name, tree=tree)
        except ConfigError as error:
            problems += error.problems
            continue
        for scenario, line in more:
            if scenario.id in places:
                said = f"the id {scenario.id!r} is taken by {places[scenario.id]} (choose another)"
                problems.append(Problem(name, line, "scenarios", said))
                continue
            places[scenario.id] = f"{name}:{line}"
            found.append(scenario)
    return found


def read_texts(directory: Path) -> tuple[tuple[str, str], ...]:
    """Return the scenario files of a directory as they are (path, content). Raises ConfigError with every problem."""
    problems: list[Problem] = []
    found = []
    for path in _files_of(directory, problems):
        try:
            found.append((str(path), read_config(path)))
        except ConfigError as error:
            problems += error.problems
    if not problems and not found:
        problems.append(Problem(str(directory), 0, "", "holds no scenarios (*.yaml)"))
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _files_of(directory: Path, problems: list[Problem]) -> list[Path]:
    if not directory.is_dir():
        problems.append(Problem(str(directory), 0, "", "is no directory of scenarios"))
        return []
    return sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml"))


def read_scenarios(text: str, file: str, *, tree: CapabilityTree | None = None) -> tuple[tuple[Scenario, int], ...]:
    """Return the scenarios of one file with their lines. Raises ConfigError with every problem."""
    document = parse(text, file)
    problems = list(document.duplicates)
    whole, refused = validate_section(FileSection, document, document.data)
    problems += refused
    entries = document.data.get("scenarios")
    reader = _Reader(document, whole, tree or CapabilityTree(), problems)
    found = []
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        loc: Loc = ("scenarios", index)
        scenario = reader.scenario(entry, loc)
        if scenario is not None:
            found.append((scenario, document.root.line_of(loc)))
    reader.unique(entries)
    if problems:
        raise ConfigError(problems)
    return tuple(found)


class _Reader:
    """Reads the scenarios of one document and keeps every problem."""

    def __init__(
        self, document: Document, whole: FileSection | None, tree: CapabilityTree, problems: list[Problem]
    ) -> None:
        self._document, self._whole, self._tree, self._problems = document, whole, tree, problems
        self._defaults = whole.defaults if whole is not None else DefaultsSection()

    def scenario(self, entry: Value, loc: Loc) -> Scenario | None:
        """Return one scenario; what is wrong with it is kept."""
        before = len(self._problems)
        said, refused = validate_section(ScenarioSection, self._document, entry, at=loc)
        self._problems += refused
        listed = entry.get("assert") if isinstance(entry, dict) else None
        nodes = [
            self._node(item, (*loc, "assert", n), said)
            for n, item in enumerate(listed if isinstance(listed, list) else ())
        ]
        if said is None:
            return None
        said = said.model_copy(update={"vars": {**(self._whole.vars if self._whole else {}), **said.vars}})
        node = self._capability(said, loc)
        self._request(said, loc)
        self._placeholders(said, entry, loc)
        if len(self._problems) > before:
            return None
        defaults = self._defaults
        temperature = said.temperature if "temperature" in said.model_fields_set else defaults.temperature
        max_tokens = said.max_tokens or defaults.max_tokens
        return Scenario(
            said=said,
            suite=self._whole.suite if self._whole is not None else "",
            node=node,
            asserts=tuple(item for item in nodes if item is not None),
            hash=_hash(said, temperature, max_tokens),
            file=self._document.file,
            repeats=said.repeats or defaults.repeats,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout_s=said.timeout or defaults.timeout,
            asks=_hash(said, temperature, max_tokens, but=("assertions", "capability", "expect")),
        )

    def unique(self, entries: Value) -> None:
        """Refuse an id that is used twice in the file."""
        seen: dict[str, int] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            name = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                continue
            if name in seen:
                line = self._document.root.line_of(("scenarios", seen[name]))
                self._say(("scenarios", index, "id"), f"the id {name!r} is used before, on line {line}")
            else:
                seen[name] = index

    def _say(self, loc: Loc, message: str) -> None:
        self._problems.append(self._document.problem(loc, message))

    def _capability(self, said: ScenarioSection, loc: Loc) -> str | None:
        if said.capability is None:
            return None
        try:
            return self._tree.resolve(said.capability)
        except UnknownCapability as error:
            self._say((*loc, "capability"), str(error))
            return None

    def _request(self, said: ScenarioSection, loc: Loc) -> None:
        for key in said.request:
            if key in _OURS:
                self._say(
                    (*loc, "request", key), "may not be set here (the target or another key of the scenario does)"
                )

    def _placeholders(self, said: ScenarioSection, entry: Value, loc: Loc) -> None:
        for name in sorted(placeholders(entry) - said.vars.keys()):
            close = difflib.get_close_matches(name, list(said.vars), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(said.vars) or 'none'})"
            self._say(loc, f"no variable is called {name[:60]!r}{hint}")

    # ---- assertions

    def _node(self, value: Value, loc: Loc, said: ScenarioSection | None, depth: int = 0) -> Node | None:
        if not isinstance(value, dict):
            self._say(loc, "must be a mapping (write {type: …})")
            return None
        if "type" not in value and any(key in value for key in _GROUPS):
            return self._group(value, loc, said, depth)
        name = value.get("type")
        if not isinstance(name, str):
            self._say(loc, "needs a type, or one of all, any, threshold with of")
            return None
        kind = name.removeprefix(NEGATION)
        model: type[Assertion] | None = TYPES.get(kind)
        if model is None:
            self._say((*loc, "type"), _unknown_type(name))
            return None
        negated = kind != name
        if negated and kind in JUDGES:
            self._say((*loc, "type"), "a judge cannot be negated (turn its rubric round)")
        checked, refused = validate_section(model, self._document, value, at=loc)
        self._problems += refused
        if checked is None:
            return None
        self._sound(checked, kind, loc, said)
        return Leaf(kind, negated, checked)

    def _sound(self, checked: Assertion, kind: str, loc: Loc, said: ScenarioSection | None) -> None:
        if said is None:
            return
        if checked.on not in (None, "all") and not any(
            fnmatchcase(label, checked.on or "") or (checked.on or "").startswith("compact-") for label in labels(said)
        ):
            self._say((*loc, "on"), f"no call is called {checked.on!r} (there are: all, {', '.join(labels(said))})")
        if isinstance(checked, JsonSchema) and checked.schema_ is None and asked_schema(said.request) is None:
            self._say(loc, "has no schema, and the request asks for none")
        if kind == "embedding" and said.kind != "embeddings":
            self._say(loc, "goes with kind embeddings")
        if kind == "compacted" and said.kind != "compaction":
            self._say(loc, "goes with kind compaction")

    def _group(self, value: dict[str, Value], loc: Loc, said: ScenarioSection | None, depth: int) -> Branch | None:
        if depth >= _DEPTH:
            self._say(loc, f"groups stand at most {_DEPTH} deep")
            return None
        word = next(key for key in _GROUPS if key in value)
        rest = {key: item for key, item in value.items() if key != word}
        if word == "of" and "threshold" not in rest:
            self._say(loc, "of goes with threshold (the least sum of weights)")
        kind = "threshold" if word == "of" else word
        group, refused = validate_section(Group, self._document, {"type": kind, **rest}, at=loc)
        self._problems += refused
        listed = value[word]
        if not isinstance(listed, list) or not listed:
            self._say((*loc, word), "must be a list of assertions")
            return None
        members = [self._node(item, (*loc, word, n), said, depth + 1) for n, item in enumerate(listed)]
        if group is None or any(member is None for member in members):
            return None
        branch = Branch(group, tuple(member for member in members if member is not None))
        kinds = {member.kind in JUDGES for member in _flat(branch)}
        if kind != "all" and len(kinds) > 1:
            self._say(loc, "a judge cannot outvote a deterministic assertion (put it in a group of its own)")
        most = sum(member.said.weight for member in branch.members)
        if kind == "threshold" and not 0 < group.threshold <= most:
            self._say((*loc, "threshold"), f"must be more than 0 and at most the sum of the weights, {most:g}")
        return branch


def _flat(branch: Branch) -> tuple[Leaf, ...]:
    return tuple(
        leaf for member in branch.members for leaf in ((member,) if isinstance(member, Leaf) else _flat(member))
    )


def _unknown_type(name: str) -> str:
    return unknown_key(name, tuple(TYPES)).replace("unknown key", "unknown assertion type")


def asked_schema(request: dict[str, Value]) -> dict[str, Value] | None:
    """Return the schema a request asks its answer to fit, or None."""
    form = request.get("response_format")
    inner = form.get("json_schema") if isinstance(form, dict) else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else None


def _hash(said: ScenarioSection, temperature: float | None, max_tokens: int, *, but: tuple[str, ...] = ()) -> str:
    """Return 16 hex digits over all that decides what is asked and what passes; title, repeats and timeout do not."""
    plain = said.model_dump(mode="json", by_alias=True, exclude={"title", "repeats", "timeout", *but})
    plain |= {"temperature": temperature, "max_tokens": max_tokens}
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
