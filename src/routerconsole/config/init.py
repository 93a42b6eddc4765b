"""The first configuration file: what detection found, written out with comments."""

from __future__ import annotations

import json
from pathlib import Path

from .export import write_new
from .models import ProviderSettings, Settings

_TOP = """\
# RouterConsole configuration. Check it with `routerconsole config check`; see every setting with `config show`.
# Keys stay outside this file: env:NAME, file:/path or keyring:service/user.
version: 1

server:
  host: 127.0.0.1        # loopback only; another address needs tokens in force
  port: 8808

providers:
"""
_NOTHING = """\
  []
  # Nothing was found on this machine and no API key is set. An entry looks like this (and replaces the [] above):
  # - name: ollama-local
  #   kind: ollama             # ollama | openai | openai_compatible | anthropic
  #   priority: 10             # lower is tried first
  #   base_url: http://127.0.0.1:11434
  #   models:
  #     - id: llama3.1:8b
"""


def starter_text(detected: Settings) -> str:
    """Return a commented YAML file with the detected providers."""
    entries = [_entry(provider) for provider in detected.providers]
    return _TOP + ("".join(entries) or _NOTHING)


def write_starter(path: Path, detected: Settings) -> None:
    """Write the file, its directory 0700 where missing; raises ExportRefusedError where the name is taken."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(path, starter_text(detected))


def _entry(provider: ProviderSettings) -> str:
    lines = [
        f"  - name: {_text(provider.name)}",
        f"    kind: {provider.kind}",
        f"    priority: {provider.priority}        # lower is tried first",
    ]
    if provider.base_url is not None:
        lines.append(f"    base_url: {_text(provider.base_url)}")
    if provider.api_key is not None:
        lines.append(
            f"    api_key: {_text(provider.api_key)}        # a reference; the key itself is never written here"
        )
    lines.append("    models:" if provider.models else "    models: []        # it listed none; pull or load one")
    for model in provider.models:
        note = "        # the only one that joins pools by itself" if model.default else ""
        lines.append(f"      - {{id: {_text(model.id)}, default: {str(model.default).lower()}}}{note}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # a JSON string is a YAML double-quoted scalar, whatever a server put into it
    return json.dumps(value)
