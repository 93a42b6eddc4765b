"""The shipped config/providers.yaml is valid, complete and explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from routerconsole.config.load import load_text
from routerconsole.config.models import Settings

SHIPPED = Path(__file__).parents[2] / "config" / "providers.yaml"
ENV = {"OPENAI_API_KEY": "k-12345678", "ANTHROPIC_API_KEY": "k-12345678", "HOME": "/root"}


def uncommented() -> str:
    return re.sub(r"(?m)^(\s*)#: ?", r"\1", SHIPPED.read_text())


def field_names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from field_names(candidate)


def test_the_shipped_file_loads_without_error_warning_or_notice() -> None:
    """What a fresh clone starts with is quiet."""
    loaded = load_text(SHIPPED.read_text(), "providers.yaml", ENV)
    assert loaded.warnings == ()


def test_its_examples_load_too() -> None:
    """Removing every "#:" gives a valid file."""
    assert load_text(uncommented(), "providers.yaml", ENV).settings.profiles


def test_every_setting_stands_in_it() -> None:
    """No accepted key is left out of the documented example."""
    text = uncommented()
    assert [name for name in field_names(Settings) if not re.search(rf"\b{name}\b", text)] == []


def test_its_server_routing_and_log_values_are_the_defaults() -> None:
    """The file shows defaults; a changed default must be changed here."""
    settings = load_text(SHIPPED.read_text(), "providers.yaml", ENV).settings
    blank = Settings()
    for name in ("server", "routing", "capabilities", "registry", "log", "console"):
        assert getattr(settings, name) == getattr(blank, name)
