"""`routerconsole unit`: a systemd unit that runs this very program; printed, never installed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from routerconsole import __version__
from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import show_json
from routerconsole.config.load import CONFIG_VARIABLE
from routerconsole.control.discovery import STATE_VARIABLE

_ETC: Final = "/etc/routerconsole"
DRAIN_S: Final = 20
"""Seconds until systemd kills: the engine itself drains for 10 (interface.md §3)."""
LASTING: Final = (Exit.USAGE, Exit.NEWER_STATE, Exit.REFUSED)
"""Exit codes a restart would meet again."""


def run(args: argparse.Namespace) -> int:
    """Print a unit for the user's own systemd, or with --system one for the machine's."""
    text = unit(args, os.environ, [sys.executable, "-P", "-m", "routerconsole"])
    if args.json:
        show_json({"unit": text})
    else:
        print(text, end="")
    return 0


def unit(args: argparse.Namespace, env: Mapping[str, str], program: list[str]) -> str:
    """Return the unit's text; raises Stop for a path that no unit can hold.

    For the user's own systemd, what this shell's environment names counts as if it were an option.
    """
    system: bool = args.system
    config = _named(args.config, "" if system else env.get(CONFIG_VARIABLE, ""))
    state = _named(args.state_dir, "" if system else env.get(STATE_VARIABLE, ""))
    if system:
        config, state = config or f"{_ETC}/providers.yaml", state or "%S/routerconsole"
    start = [*_escaped(program)]
    for name, value in (("--config", config), ("--state-dir", state)):
        start += [name, value] if value else []
    serve = [*start, "serve"]
    for name, value in (("--host", args.host), ("--port", args.port)):
        if value is not None:
            serve += [name, *_escaped([str(value)])]
    lines = [
        f"# Made by `routerconsole unit{' --system' if system else ''}` of version {__version__}.",
        "[Unit]",
        "Description=RouterConsole, the LLM router",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=5",
        "",
        "[Service]",
        "Type=exec",
        "WorkingDirectory=/",
        "# API keys as NAME=value lines (chmod 600); `-`: it need not exist.",
        f"EnvironmentFile=-{_ETC if system else '%E/routerconsole'}/env",
        "# What is wrong with the configuration is in the journal. `-`: `serve` itself says whether it can be used,",
        "# since only the main process's exit code keeps it from being restarted.",
        f"ExecStartPre=-{' '.join([*start, 'config', 'check'])}",
        f"ExecStart={' '.join(serve)}",
        "Restart=on-failure",
        "RestartSec=1",
        f"RestartPreventExitStatus={' '.join(str(code.value) for code in LASTING)}",
        f"TimeoutStopSec={DRAIN_S}",
        "# Only the engine is told to stop: it ends its weights worker once the answers under way are done.",
        "KillMode=mixed",
        "LimitNOFILE=65536",
        *(_confined(own_state=args.state_dir is None) if system else ("NoNewPrivileges=yes",)),
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if system else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def _confined(*, own_state: bool) -> Iterator[str]:
    """Yield who the machine's engine is and what it may not do; a user's systemd cannot set up most of it.

    Devices stay: kind `airllm` computes on the machine's cards.
    """
    if own_state:
        yield from ("DynamicUser=yes", "StateDirectory=routerconsole", "StateDirectoryMode=0700")
    yield from (
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "CapabilityBoundingSet=",
    )


def _named(option: Path | None, variable: str) -> str:
    """Return the path an option or else a variable names, for a unit; empty where neither does."""
    named = str(option or variable)
    return _escaped([os.path.abspath(named)])[0] if option is not None or variable else ""


def _escaped(words: Iterable[str]) -> list[str]:
    """Return words as systemd's command lines take them: quoted where needed, `%` and `$` for themselves."""
    out: list[str] = []
    for word in words:
        if not word.isprintable():
            raise Stop(Exit.USAGE, f"{word!r} cannot stand in a unit file")
        plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
        out.append(f'"{plain}"' if plain != word or " " in word or "'" in word or ";" in word else plain)
    return out
