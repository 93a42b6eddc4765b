"""The effective configuration, as shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

from routerconsole.config.build import build_redactor, build_registry
from routerconsole.config.load import load_text
from routerconsole.config.show import effective

TEXT = """\
version: 1
server: {host: "${HOST:-127.0.0.1}"}
providers:
  - {name: a, kind: openai, api_key: "env:K", headers: {X-Api-Key: hunter2hunter2, Authorization: "Basic ${P}"}}
  - {name: b, kind: openai, api_key: hunter2literal}
  - {name: c, kind: openai, accounts: [{name: x, api_key: "env:K"}, {name: y, api_key: "env:NOPE"}]}
  - {name: d, kind: openai_compatible, base_url: "${URL}", proxy: "http://me:hunter2@proxy:1"}
"""
ENV = {"K": "canary-key-value", "P": "canary-header-value", "URL": "http://canary-host.example", "HOST": "localhost"}


def keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def shown() -> dict[str, object]:
    loaded = load_text(TEXT, "f.yaml", ENV)
    registry = build_registry(loaded.settings, ENV)
    return dict(effective(loaded, registry, build_redactor(registry)))


def test_C0_33_thresholds_are_shown_and_no_key_is_called_api_key() -> None:
    """Every default is visible; credentials are words about where they come from."""
    view = shown()
    text = json.dumps(view)
    assert "api_key" not in set(keys(view))
    assert view["routing"]["circuit"]["failure_threshold"] == 5  # type: ignore[index]  # a JSON value
    assert '"failure_threshold": 5' in text


def test_resolved_values_and_literals_never_show() -> None:
    """Neither environment values, nor keys written out, nor a proxy's password."""
    text = json.dumps(shown())
    assert "canary" not in text
    assert "hunter2" not in text


def test_credentials_say_their_source_and_state() -> None:
    """Resolved, missing and literal ones are told apart."""
    providers = {entry["name"]: entry for entry in shown()["providers"]}  # type: ignore[attr-defined, index]  # JSON values
    assert providers["a"]["credential"] == "env:K (resolved)"
    assert providers["b"]["credential"] == "literal (resolved)"
    assert [account["credential"] for account in providers["c"]["accounts"]] == [
        "env:K (resolved)",
        "env:NOPE (missing_secret: NOPE)",
    ]
    assert providers["d"]["credential"] == "none"
    assert providers["d"]["base_url"] == "${URL}"


def test_templates_are_shown_as_written() -> None:
    """A resolved value is never written anywhere."""
    assert shown()["server"]["host"] == "${HOST:-127.0.0.1}"  # type: ignore[index]  # a JSON value
