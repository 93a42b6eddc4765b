"""What `eval run` brings from this machine: scenario files, checked here, and the key of an address."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from routerconsole.cli.exits import Exit, Stop
from routerconsole.control.eval_commands import ScenarioFile

if TYPE_CHECKING:
    from pathlib import Path

    from routerconsole.control.port import Control
    from routerconsole.domain.secret import Secret


def key_of(args: argparse.Namespace) -> Secret | None:
    """Return the key that `--key env:NAME` names; a key itself would stand in the list of processes."""
    from routerconsole.config.secrets import resolve

    if args.key is None:
        return None
    if not args.key.startswith("env:"):
        raise Stop(Exit.USAGE, "--key names a variable of the environment, as in `--key env:OPENAI_API_KEY`")
    found = resolve(args.key, os.environ)
    if found.secret is None:
        raise Stop(Exit.USAGE, f"--key {args.key}: {found.reason}")
    return found.secret


async def scenario_files(control: Control, directory: Path | None) -> tuple[ScenarioFile, ...]:
    """Return the scenario files of a directory of this machine; raises ConfigError with all that is wrong in them."""
    if directory is None:
        return ()
    from routerconsole.domain.capability import CapabilityTree
    from routerconsole.evals.scenario_files import check_texts, read_texts

    texts = read_texts(directory)
    nodes = await control.capabilities()
    tree = CapabilityTree(
        frozenset(node.path for node in nodes if node.extension),
        {alias: node.path for node in nodes for alias in node.aliases},
    )
    check_texts(texts, tree=tree)
    return tuple(ScenarioFile(name, text) for name, text in texts)
