"""An endpoint outside the registry, opened for one run: `url:http://host/v1`, or `…#model` to name one of its models.

Who opens it is handed in; here is only what the runner and the engine need to know of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from routerconsole.config.urls import normalise_base_url

if TYPE_CHECKING:
    from routerconsole.control.port import Chat
    from routerconsole.domain.secret import Secret

KIND = "openai_compatible"


class NoOutside(Exception):
    """The endpoint cannot be asked; the text says why and holds no key."""


@dataclass(frozen=True, slots=True)
class Outside:
    """An open endpoint: `name` goes in the body's `model`, `model` is what it calls itself, `window` its tokens.

    `local` says that it is a server of this machine or house, which gets one question at a time.
    """

    chat: Chat
    name: str
    model: str
    window: int | None
    local: bool
    redact: Callable[[str], str]
    close: Callable[[], Awaitable[None]]


OpenOutside = Callable[[str, "Secret | None"], Awaitable[Outside]]
"""Open an endpoint by its address (with `#model` or without) and key; raises NoOutside."""


def parts(address: str) -> tuple[str, str | None]:
    """Return the normal base URL of an address and the model it names, if any; ValueError with the reason."""
    base, mark, model = address.partition("#")
    if mark and (not model or model != model.strip() or not model.isprintable()):
        raise ValueError("names no model after '#' (leave '#' out to ask the first one it lists)")
    return normalise_base_url(base, KIND), model if mark else None
