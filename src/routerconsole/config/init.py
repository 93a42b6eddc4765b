"""The first configuration file: what detection found, written out with comments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from routerconsole.control.new_file import write_new
from routerconsole.domain.route import ModelKey

from .models import ProviderSettings, Settings

_TOP = """\
# RouterConsole configuration. Check it with `routerconsole config check`; see every setting with `config show`.
# Keys stay outside this file: env:NAME, file:/path or keyring:service/user.
version: 1

server:
  host: 127.0.0.1        # loopback only; another address needs tokens in force
  port: 8808

# Of a model's capabilities, "tools" says that it can call tools and "-tools" that it cannot; what is left out is
# unknown. `routerconsole capabilities tree` shows all there are, and edits in the console lie over this file.
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


@dataclass(frozen=True, slots=True)
class Tags:
    """What a model seems to be able to do, as capability words; `listed` says its server told so (else a guess)."""

    words: tuple[str, ...]
    listed: bool


NO_TAGS: Mapping[ModelKey, Tags] = {}


def starter_text(detected: Settings, tags: Mapping[ModelKey, Tags] = NO_TAGS) -> str:
    """Return a commented YAML file with the detected providers, their models tagged with what they can do."""
    entries = [_entry(provider, tags) for provider in detected.providers]
    return _TOP + ("".join(entries) or _NOTHING)


def write_starter(path: Path, detected: Settings, tags: Mapping[ModelKey, Tags] = NO_TAGS) -> None:
    """Write the file, its directory 0700 where missing; raises ExportRefusedError where the name is taken."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(path, starter_text(detected, tags))


def _entry(provider: ProviderSettings, tags: Mapping[ModelKey, Tags]) -> str:
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
        lines.append(f"      - id: {_text(model.id)}")
        if model.default:
            lines.append("        default: true        # the only one that joins pools by itself")
        known = tags.get(ModelKey(provider.name, model.id))
        if known is not None and known.words:
            source = "as its server lists it" if known.listed else "by its name: check it"
            words = ", ".join(_text(word) for word in known.words)
            lines.append(f"        capabilities: [{words}]        # {source}")
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # a JSON string is a YAML double-quoted scalar, whatever a server put into it
    return json.dumps(value)
