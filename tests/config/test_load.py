"""The search order, and that a file is taken whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from routerconsole.config.load import LoadedConfig, load, load_text
from routerconsole.config.problems import ConfigError

PROVIDER = "providers:\n  - {name: a, kind: openai_compatible, base_url: 'http://h'}\n"


def errors(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml", env or {})
    return [str(problem) for problem in caught.value.problems]


def good(text: str, env: dict[str, str] | None = None) -> LoadedConfig:
    return load_text(text, "f.yaml", env or {})


def write(path: Path, port: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"version: 1\nserver: {{port: {port}}}\n")
    path.chmod(0o600)
    return path


def test_the_search_order_is_flag_variable_directory_home_none(tmp_path: Path) -> None:
    """Each place is used only where no earlier one names a file."""
    cwd, home = tmp_path / "cwd", tmp_path / "home"
    cwd.mkdir()
    env = {"HOME": str(home)}
    assert load(None, env, cwd).source_path is None
    write(home / ".config/routerconsole/providers.yaml", 4)
    assert load(None, env, cwd).settings.server.port == 4
    write(tmp_path / "xdg/routerconsole/providers.yaml", 5)
    env["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert load(None, env, cwd).settings.server.port == 5
    write(cwd / "config/providers.yaml", 3)
    found = load(None, env, cwd)
    assert (found.settings.server.port, found.from_cwd) == (3, True)
    env["ROUTERCONSOLE_CONFIG"] = str(write(tmp_path / "var.yaml", 2))
    assert load(None, env, cwd).settings.server.port == 2
    assert load(write(tmp_path / "flag.yaml", 1), env, cwd).settings.server.port == 1


def test_G01_a_named_file_that_is_missing_is_an_error_not_detection(tmp_path: Path) -> None:
    """Who names a file means that file."""
    for path, env in ((tmp_path / "no.yaml", {}), (None, {"ROUTERCONSOLE_CONFIG": str(tmp_path / "no.yaml")})):
        with pytest.raises(ConfigError, match="no such file"):
            load(path, env, tmp_path)


def test_G01_a_dangling_link_in_the_directory_is_an_error(tmp_path: Path) -> None:
    """A broken link is not the same as no file."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/providers.yaml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="no such file"):
        load(None, {}, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_strangers_file_in_the_directory_is_refused_but_may_be_named(tmp_path: Path) -> None:
    """The working directory may be anybody's; --config says the user means it."""
    path = write(tmp_path / "config/providers.yaml", 1)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="another user"):
        load(None, {}, tmp_path)
    assert load(path, {}, tmp_path).settings.server.port == 1


def test_all_problems_are_reported_at_once_with_file_line_and_path() -> None:
    """Models, rules, references and duplicate keys speak in one run, in line order."""
    text = (
        "version: 1\nserver: {port: 012}\nserver: {}\nrouting:\n  circuit: {fail_treshold: 3}\nproviders:\n"
        "  - {name: a, kind: openai_compatible, base_url: 'ftp://h'}\n"
        "  - {name: a, kind: ollama, models: [{id: m, capabilities: [visoin]}]}\nagents: {x: nobody}\n"
    )
    found = errors(text)
    for start in ("f.yaml:2: server.port: ", "f.yaml:3: server: ", "f.yaml:5: routing.circuit.fail_treshold: ",
                  "f.yaml:7: providers.0.base_url: ", "f.yaml:8: providers.1.name: ",
                  "f.yaml:8: providers.1.models.0.capabilities.0: ", "f.yaml:9: agents.x: "):  # fmt: skip
        assert [line for line in found if line.startswith(start)], start
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("version: 1.10", "version"),
        ("version: 1.0", "version"),
        ("version: '1'", "version"),
        ("version: true", "version"),
        ("version: 0", "version"),
        ("version: 1\nserver: {port: 012}", "server.port"),
        ("version: 1\nserver: {port: 70000}", "server.port"),
        ("version: 1\nserver: {port: true}", "server.port"),
        ("version: 1\nserver: {port: 8.5}", "server.port"),
        ("version: 1\nrouting: {idle_timeout: 12:30:00}", "routing.idle_timeout"),
        ("version: 1\nrouting: {max_attempts: 0}", "routing.max_attempts"),
        ("version: 1\nproviders: [{name: null, kind: ollama}]", "providers.0.name"),
        ("version: 1\nproviders: [{name: a, kind: ollama, enabled: no}]", "providers.0.enabled"),
        ("version: 1\nproviders: [{name: a, kind: ollama, models: [{id: 3.5}]}]", "providers.0.models.0.id"),
        (
            "version: 1\nproviders: [{name: a, kind: ollama, models: [{id: m, usd_per_mtok_in: -1}]}]",
            "providers.0.models.0.usd_per_mtok_in",
        ),
        (
            "version: 1\nproviders: [{name: a, kind: ollama, models: [{id: m, usd_per_mtok_in: .nan}]}]",
            "providers.0.models.0.usd_per_mtok_in",
        ),
        (
            "version: 1\nproviders: [{name: a, kind: ollama, models: [{id: m, limits: {rpm: 0}}]}]",
            "providers.0.models.0.limits.rpm",
        ),
        ("version: 1\nproviders: [{kind: ollama}]", "providers.0.name"),
        ("version: 1\nproviders: [3]", "providers.0"),
        ("version: 1\nproviders: {}", "providers"),
        ("version: 1\nserver:", "server"),
    ],
)
def test_G06_wrong_types_are_errors_never_other_values(text: str, path: str) -> None:
    """A value of the wrong type is named with its path; nothing is coerced."""
    assert any(f": {path}: " in line for line in errors(text + "\n"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("servr: {}", "did you mean 'server'"),
        ("routing: {circuit: {fail_treshold: 1}}", "did you mean 'failure_threshold'"),
        ("routing: {idle-timeout: 1}", "did you mean 'idle_timeout'"),
        ("providers: [{name: a, kind: ollama, modles: []}]", "did you mean 'models'"),
        ("providers: [{name: a, kind: ollama, circuit: {recovery_timout: 1s}}]", "did you mean 'recovery_timeout'"),
        ("providers: [{name: a, kind: ollama, models: [{id: m, context_windw: 1}]}]", "did you mean 'context_window'"),
        ("providers: [{name: a, kind: olama}]", "did you mean 'ollama'"),
        ("routing: {last_resort: coolin}", "did you mean 'cooling'"),
        ("log: {zzzzzz: 1}", "known here: bodies, retention, max_mb"),
    ],
)
def test_G07_unknown_keys_and_choices_get_the_nearest_name(text: str, hint: str) -> None:
    """A typo is an error that says what was probably meant."""
    assert any(hint in line for line in errors(f"version: 1\n{text}\n"))


def test_G23_a_newer_version_is_refused_as_such() -> None:
    """The text says that the program is too old, not that the number is wrong."""
    assert "version 2" in errors("version: 2\n")[0]


def test_a_missing_version_is_a_warning() -> None:
    """Version 1 is assumed and said."""
    assert "version" in str(good("log: {}\n").warnings[0])


def test_templates_are_filled_per_field_after_parsing() -> None:
    """A value with YAML in it stays one value, and what is shown is the template."""
    loaded = good(
        "version: 1\nserver: {host: '${H:-127.0.0.1}'}\nregistry: {weights_dir: '${W}'}\n",
        {"W": "a: [b]\n# x".replace("\n", " ")},
    )
    assert loaded.settings.server.host == "127.0.0.1"
    assert loaded.settings.registry.weights_dir == "a: [b] # x"
    assert loaded.templates == {("server", "host"): "${H:-127.0.0.1}", ("registry", "weights_dir"): "${W}"}


def test_an_unset_variable_outside_providers_is_an_error_with_its_name() -> None:
    """Nothing can be left unavailable there, so the file says it."""
    assert "missing_secret: H" in errors("version: 1\nserver: {host: '${H}'}\n")[0]


def test_C0_05_an_unset_secret_of_a_provider_is_a_warning_only() -> None:
    """The other providers run; the variable is named."""
    loaded = good("version: 1\nproviders: [{name: a, kind: openai, api_key: '${TEST_API_KEY}'}]\n")
    assert "missing_secret: TEST_API_KEY" in str(loaded.warnings[0])


@pytest.mark.parametrize(
    "fields",
    [
        "api_key: 'env:K'", "api_key: '${K}'", "accounts: [{name: x, api_key: 'env:K'}]", "headers: {X-Key: '${K}'}",
        "proxy: 'http://u:${K}@h'", "api_key: 'file:FILE'",
    ],
)  # fmt: skip
def test_what_stands_for_a_subscription_token_is_refused_and_not_shown(fields: str, tmp_path: Path) -> None:
    """The other providers run; `config check` fails for it, wherever the token comes from."""
    token = "sk-ant-oat01-canary"
    key = tmp_path / "key"
    key.write_text(token)
    key.chmod(0o600)
    text = f"version: 1\nproviders: [{{name: a, kind: openai, {fields.replace('FILE', str(key))}}}]\n"
    found = [warning for warning in load_text(text, "f", {"K": token}).warnings if warning.refused]
    assert [warning.line for warning in found] == [2]
    assert "is a subscription token (sk-ant-oat…), which is refused" in str(found[0])
    assert "canary" not in str(found)


@pytest.mark.parametrize(
    ("reference", "mode", "told"),
    [
        ("file:GONE", 0o600, "missing_secret: file:{path} (no such file)"),
        ("file:KEY", 0o644, "config_error: file:{path} can be read by others (chmod 600 it)"),
        ("env:K", 0o600, "config_error: K holds spaces"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_at_load(reference: str, mode: int, told: str, tmp_path: Path) -> None:
    """Whatever its source, it is one warning at its line, without the value; the others run."""
    for name in ("KEY", "GONE"):
        reference = reference.replace(name, str(tmp_path / name))
    (tmp_path / "KEY").write_text("canary")
    (tmp_path / "KEY").chmod(mode)
    text = f"version: 1\nproviders:\n  - {{name: a, kind: openai, api_key: '{reference}'}}\n"
    (found,) = load_text(text, "f", {"K": "can ary"}).warnings
    assert (found.line, found.path, found.refused) == (3, "providers.0.api_key", False)
    assert found.message.startswith(told.format(path=reference.removeprefix("file:")))
    assert "provider 'a' stays unavailable" in found.message
    assert "canary" not in found.message


def test_G12_a_literal_key_works_with_a_warning_that_does_not_show_it() -> None:
    """The warning offers to move it."""
    loaded = good("version: 1\nproviders: [{name: a, kind: openai, api_key: hunter2hunter2}]\n")
    assert "env:NAME" in str(loaded.warnings[0])
    assert "hunter2" not in str(loaded.warnings)


def test_X20_a_file_with_plain_text_keys_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """Mode 0644 and a literal key: chmod 600."""
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\nproviders: [{name: a, kind: openai, api_key: hunter2hunter2}]\n")
    path.chmod(0o644)
    assert any("chmod 600" in str(warning) for warning in load(path, {}, tmp_path).warnings)
    path.chmod(0o600)
    assert not any("chmod 600" in str(warning) for warning in load(path, {}, tmp_path).warnings)


def test_a_file_of_weights_that_is_not_there_is_warned_of_with_its_line(tmp_path: Path) -> None:
    """Missing, outside of weights_dir, or relative to none: said once each, and the rest is used; a good one is not."""
    (tmp_path / "good.gguf").write_bytes(b"GGUF")
    (tmp_path / "link.gguf").symlink_to("/etc/hostname")
    rows = "".join(
        f"      - {{id: m{n}, format: gguf, path: {name}}}\n"
        for n, name in enumerate(("good.gguf", "none.gguf", "link.gguf", "/nowhere/x.gguf"))
    )
    head = "version: 1\nproviders:\n  - name: a\n    kind: ollama\n    models:\n"
    found = load_text(f"{head}{rows}registry: {{weights_dir: {tmp_path}}}\n", "f", {})
    told = {item.line: item.message for item in found.warnings}
    assert [(line, told[line].split("(")[0].strip()) for line in sorted(told)] == [
        (7, "'none.gguf' does not exist"),
        (8, "'link.gguf' leaves registry.weights_dir"),
        (9, "'/nowhere/x.gguf' does not exist"),
    ]
    (alone,) = load_text(f"{head}      - {{id: m, format: gguf, path: x.gguf}}\n", "f", {}).warnings
    assert "registry.weights_dir is not set" in alone.message


def test_an_extra_that_is_not_installed_is_warned_of_with_its_remedy() -> None:
    """The provider stays unavailable for it; one that is switched off needs nothing."""
    (told,) = load_text("version: 1\nproviders:\n  - {name: d, kind: airllm}\n", "f", {}).warnings
    assert (told.path, told.line) == ("providers.0.kind", 3)
    assert told.message == "missing_extra: airllm (pip install 'routerconsole[airllm]')"
    assert load_text("version: 1\nproviders:\n  - {name: d, kind: airllm, enabled: false}\n", "f", {}).warnings == ()


def test_C0_02_routing_numbers_are_taken() -> None:
    """request_deadline 60s and max_attempts 3 are what the settings hold."""
    routing = good("version: 1\nrouting: {request_deadline: 60s, max_attempts: 3}\n").settings.routing
    assert (routing.request_deadline, routing.max_attempts) == (60.0, 3)


def test_G22_a_large_document_loads() -> None:
    """5,000 models at 200 providers are no special case."""
    models = ", ".join(f"{{id: m{n}, capabilities: [tools, -vision]}}" for n in range(25))
    entries = "".join(f"  - {{name: p{n}, kind: ollama, models: [{models}]}}\n" for n in range(200))
    assert (
        sum(len(provider.models) for provider in good(f"version: 1\nproviders:\n{entries}").settings.providers) == 5000
    )
