"""Values as YAML text that this program's YAML 1.2 reader takes for the same values."""

from __future__ import annotations

import yaml

from .yaml_loader import Value, plain_value

WIDE = 10_000
"""Longer than any line: an inline value is never folded."""


class Dumper(yaml.SafeDumper):
    """Quotes what a YAML 1.2 reader would take for a number, where PyYAML only thinks of YAML 1.1."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain_value(value) == value else "'")


Dumper.add_representer(str, _text)


def inline(value: Value) -> str:
    """Return a value on one line."""
    made: str = yaml.dump(
        value, Dumper=Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=WIDE
    )
    return made.removesuffix("\n").removesuffix("\n...")
