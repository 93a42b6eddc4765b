"""Detection without a config file, and the starter file made from it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from routerconsole.config.build import build_registry
from routerconsole.config.detect import HOSTED, LOCAL, from_answers, listed_ids
from routerconsole.config.init import starter_text, write_starter
from routerconsole.config.load import load_text
from routerconsole.config.models import Settings
from routerconsole.control.new_file import ExportRefusedError
from routerconsole.domain.route import ModelKey


def nothing(url: str) -> list[str] | None:
    return None


def detect(env: Mapping[str, str], listing: Callable[[str], list[str] | None]) -> Settings:
    """What is found where `listing` says what answers at a URL."""
    return from_answers(env, {local.listing: listing(local.listing) for local in LOCAL})


def test_nothing_found_is_an_empty_configuration() -> None:
    """No key and no server: no provider, no error."""
    assert detect({}, nothing).providers == []


def test_every_hosted_key_gives_its_provider_by_reference() -> None:
    """The key itself is never in the settings; only the default model joins pools."""
    env = {hosted.variable: "canary-key" for hosted in HOSTED}
    settings = detect(env, nothing)
    assert [provider.name for provider in settings.providers] == [hosted.name for hosted in HOSTED]
    assert "canary" not in repr(settings)
    registry = build_registry(settings, env)
    assert all(provider.unavailable is None for provider in registry.providers.values())
    assert registry.pools["auto"].members == tuple(ModelKey(hosted.name, hosted.model) for hosted in HOSTED)


def test_an_empty_variable_is_no_key() -> None:
    """Set but empty counts as absent."""
    assert detect({"OPENAI_API_KEY": "  "}, nothing).providers == []


def test_local_servers_that_answer_join_with_all_their_models_and_come_first() -> None:
    """Each local server is asked at its own listing."""
    asked: list[str] = []

    def probe(url: str) -> list[str] | None:
        asked.append(url)
        return ["llama3:8b", "qwen:7b"] if ":11434" in url else None

    registry = build_registry(detect({"OPENAI_API_KEY": "k-12345678"}, probe), {"OPENAI_API_KEY": "k-12345678"})
    assert asked == [local.listing for local in LOCAL]
    assert [key.provider for key in registry.pools["auto"].members] == ["ollama", "ollama", "openai"]


def test_a_servers_names_are_not_trusted() -> None:
    """Control characters, blanks, doubles and monsters are left out; the rest stays."""
    found = detect({}, lambda url: ["ok", "", "a\x1b[2J", " b", "x" * 600, "ok", "OK"] if ":1234" in url else None)
    assert [model.id for model in found.providers[0].models] == ["ok"]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"models": [{"name": "a"}, {"name": 3}, 5]}, ["a"]),
        ({"object": "list", "data": [{"id": "b"}]}, ["b"]),
        ({"data": []}, []),
        ({"status": "ok"}, None),
        ([], None),
        ("hello", None),
    ],
)
def test_listings_are_recognised_by_shape(body: object, ids: list[str] | None) -> None:
    """Something else on the port is not a model server."""
    assert listed_ids(body) == ids


def test_G01_the_starter_file_loads_and_holds_what_was_found() -> None:
    """Names a server made up cannot break out of their quotes."""
    env = {"OPENAI_API_KEY": "canary-key"}
    detected = detect(env, lambda url: ['we"ird: {name}', "no", "3.5"] if ":11434" in url else None)
    text = starter_text(detected)
    assert "canary" not in text
    settings = load_text(text, "f", env).settings
    assert [model.id for model in settings.providers[0].models] == ['we"ird: {name}', "no", "3.5"]
    assert settings.providers[1].api_key == "env:OPENAI_API_KEY"


def test_the_starter_file_with_nothing_found_loads_too() -> None:
    """It explains how an entry looks."""
    text = starter_text(detect({}, nothing))
    assert load_text(text, "f", {}).settings.providers == []
    assert "kind: ollama" in text


def test_the_starter_is_private_and_never_overwrites(tmp_path: Path) -> None:
    """0600 in a new 0700 directory; a second time is refused."""
    path = tmp_path / "routerconsole" / "providers.yaml"
    write_starter(path, detect({}, nothing))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ExportRefusedError, match="already exists"):
        write_starter(path, detect({}, nothing))


def test_a_key_for_another_server_is_not_sent_to_openai() -> None:
    """In a shell set up by `routerconsole env` the key is our own client token: it opens no hosted service."""
    env = {"OPENAI_API_KEY": "our-own-client-token", "OPENAI_BASE_URL": "http://127.0.0.1:8808/v1"}
    assert detect(env, nothing).providers == []
