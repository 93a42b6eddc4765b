"""The shipped pairs that a judge is tried on before it may gate: a task, an output that does it, one that does not."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from routerconsole.config.models import Section
from routerconsole.config.problems import ConfigError
from routerconsole.config.validate import validate_section
from routerconsole.config.yaml_loader import parse, read_config


@dataclass(frozen=True, slots=True)
class JudgePair:
    """A task with its better and its worse output."""

    task: str
    chosen: str
    rejected: str


class PairSection(Section):
    """One pair as the file has it."""

    task: str
    chosen: str
    rejected: str


class PairsSection(Section):
    """The whole file."""

    version: Literal[1]
    pairs: Annotated[list[PairSection], Field(min_length=1)]


def shipped_pairs() -> tuple[JudgePair, ...]:
    """Return the shipped pairs. Raises ConfigError with every problem of the file."""
    path = Path(str(files("routerconsole") / "_data" / "config" / "judge_pairs.yaml"))
    document = parse(read_config(path), str(path))
    found, problems = validate_section(PairsSection, document, document.data)
    if found is None or document.duplicates:
        raise ConfigError([*document.duplicates, *problems])
    return tuple(JudgePair(pair.task, pair.chosen, pair.rejected) for pair in found.pairs)
