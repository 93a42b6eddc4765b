"""What a model's view says of layers, and what to run where nobody serves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import Layer, Source, Tri
from routerconsole.domain.policy import RoutingPolicy
from routerconsole.domain.registry import Model, ModelFormat, ModelState, Provider, ProviderKind
from routerconsole.engine.model_views import LearnedGap, capability_values, in_force, model_view, note_of, unserved

TOOLS = "interaction.tool-calling"
PARALLEL = "interaction.tool-calling.parallel"
LLAMA = Provider("lab", ProviderKind.OPENAI_COMPATIBLE, "http://127.0.0.1:8081/v1", local=True)
OLLAMA = Provider("home", ProviderKind.OLLAMA, "http://127.0.0.1:11434", local=True)
DISK = Provider("disk", ProviderKind.AIRLLM, "http://localhost", local=True)
HOSTED = Provider("out", ProviderKind.OPENAI, "https://api.example.com/v1")


def model(provider: Provider = LLAMA, **fields: object) -> Model:
    """A model of a provider."""
    return replace(Model(provider.name, "qwen 2.5:7b"), **fields)  # type: ignore[arg-type]  # any field, by name


@pytest.mark.parametrize(
    ("provider", "fields", "note"),
    [
        (LLAMA, {"listed": True}, ""),
        (LLAMA, {"listed": None}, ""),
        (
            LLAMA,
            {"listed": False, "format": ModelFormat.GGUF, "path": "/w/a b.gguf"},
            "not served; run: llama-server -m '/w/a b.gguf' --alias 'qwen 2.5:7b' --host 127.0.0.1 --port 8081",
        ),
        (
            LLAMA,
            {"listed": None, "format": ModelFormat.GGUF, "path": "/w/q.gguf"},
            "not known to be served; run: llama-server -m /w/q.gguf --alias 'qwen 2.5:7b' --host 127.0.0.1 --port 8081",
        ),
        (
            LLAMA,
            {"listed": False, "format": ModelFormat.SAFETENSORS, "path": "/w/q"},
            "not served; run: vllm serve /w/q --served-model-name 'qwen 2.5:7b' --host 127.0.0.1 --port 8081",
        ),
        (OLLAMA, {"listed": False}, "not served; run: ollama pull 'qwen 2.5:7b'"),
        (
            OLLAMA,
            {"listed": False, "format": ModelFormat.GGUF, "path": "/w/q.gguf"},
            "not served; run: echo FROM /w/q.gguf > Modelfile && ollama create 'qwen 2.5:7b' -f Modelfile",
        ),
        (
            DISK,
            {"listed": None, "format": ModelFormat.HF, "path": "/nowhere/q"},
            "not served: '/nowhere/q' does not exist (format hf needs the file); mend it, then run: "
            "routerconsole models sync disk",
        ),
        (
            DISK,
            {"listed": False, "format": ModelFormat.GGUF, "path": __file__},
            "not served: AirLLM reads no GGUF (register it at the llama-server or Ollama that serves it); mend it, "
            "then run: routerconsole models sync disk",
        ),
        (
            DISK,
            {"listed": None, "format": ModelFormat.SAFETENSORS, "path": None},
            "not served: it has no `path`; mend it, then run: routerconsole models sync disk",
        ),
        (HOSTED, {"listed": False}, "not served: not in the last listing of out"),
        (
            HOSTED,
            {"listed": False, "state": ModelState.WITHDRAWN},
            "not served: not in the last listing of out (withdrawn: twice missing)",
        ),
        (replace(HOSTED, unavailable="missing_secret: K"), {}, "out cannot be used: missing_secret: K"),
    ],
)
def test_a_note_says_what_to_run(provider: Provider, fields: dict[str, object], note: str) -> None:
    """The exact command where one serves it, at the address the provider has; nothing where all is well."""
    assert note_of(model(provider, **fields), provider) == note


def test_the_doctors_hear_of_weights_on_disk_that_nobody_serves() -> None:
    """Not of models of an API, of served ones, nor of what is switched off."""
    on_disk: dict[str, object] = {"format": ModelFormat.GGUF, "path": "/w/q.gguf"}
    models = (
        model(upstream_id="gone", listed=False, **on_disk),
        model(upstream_id="unsure", listed=None, **on_disk),
        model(upstream_id="here", listed=True, **on_disk),
        model(upstream_id="off", listed=False, enabled=False, **on_disk),
        model(upstream_id="api", listed=False),
    )
    registry = assemble(version=1, policy=RoutingPolicy(), providers=(replace(LLAMA, models=models),))
    found = unserved(registry)
    assert {key.model: text.split(";")[0] for key, text in found.items()} == {
        "gone": "not served",
        "unsure": "not known to be served",
    }
    assert "--alias gone --host 127.0.0.1 --port 8081" in found[models[0].key]


def test_the_command_takes_a_path_from_anywhere(tmp_path: Path) -> None:
    """A path below registry.weights_dir is written out; without one it stays as the configuration has it."""
    below = model(listed=False, format=ModelFormat.GGUF, path="q.gguf")
    assert f"llama-server -m {tmp_path.resolve()}/q.gguf " in note_of(below, LLAMA, str(tmp_path))
    assert "llama-server -m q.gguf " in note_of(below, LLAMA)


def test_layers_stand_strongest_first_and_the_value_says_who_decides() -> None:
    """By authority, whatever the order in which they came."""
    layers = {
        TOOLS: (
            Layer(Source.GUESS, Tri.YES),
            Layer(Source.CONFIG, Tri.YES, None, "file"),
            Layer(Source.OPERATOR, Tri.NO, 100.0, "set by cli"),
        )
    }
    value = capability_values(model(layers=layers), (), 1)[TOOLS]
    assert (value.value, value.source, value.at) == ("no", "operator", "1970-01-01T00:01:40.000Z")
    assert [layer.source for layer in value.layers] == ["operator", "config", "guess"]


def test_a_yes_below_makes_a_node_yes_with_its_own_layers() -> None:
    """A node is yes where a descendant is; what is said of it itself stays visible."""
    layers = {TOOLS: (Layer(Source.CONFIG, Tri.NO),), PARALLEL: (Layer(Source.DISCOVERY, Tri.YES, 5.0),)}
    value = capability_values(model(layers=layers), (), 1)[TOOLS]
    assert (value.value, value.source, value.at) == ("yes", "discovery", None)
    assert [(layer.source, layer.value) for layer in value.layers] == [("config", "no")]


@pytest.mark.parametrize(
    ("gaps", "accounts", "value"),
    [
        ([LearnedGap(TOOLS, None, 50.0, 90.0, "said no")], 1, ("no", "gap")),
        ([LearnedGap(TOOLS, None, 50.0, 90.0, "said no", counts=False)], 1, ("yes", "config")),
        ([LearnedGap(TOOLS, "x", 50.0, 90.0, "said no")], 2, ("yes", "config")),
        ([LearnedGap(TOOLS, "x", 50.0, 90.0, ""), LearnedGap(TOOLS, "y", 60.0, 95.0, "")], 2, ("no", "gap")),
    ],
    ids=["whole", "overruled", "one of two accounts", "both accounts"],
)
def test_a_gap_is_the_models_once_every_route_has_it(
    gaps: list[LearnedGap], accounts: int, value: tuple[str, str]
) -> None:
    """Until then it is shown and decides nothing."""
    found = capability_values(model(layers={TOOLS: (Layer(Source.CONFIG, Tri.YES),)}), gaps, accounts)[TOOLS]
    assert (found.value, found.source) == value
    assert [layer.source for layer in found.layers].count("gap") == len(gaps)


def test_without_gaps_nothing_is_copied() -> None:
    """The common case costs nothing."""
    plain = model(layers={TOOLS: (Layer(Source.CONFIG, Tri.YES),)})
    assert in_force(plain, (), 1) is plain.layers


def test_a_view_has_moments_in_utc() -> None:
    """ISO 8601 with a Z; unknown stays unknown."""
    view = model_view(model(registered_at=0.0), LLAMA, gaps=(), pools=("auto",), agents=())
    assert (view.id, view.registered_at, view.served) == ("lab/qwen 2.5:7b", "1970-01-01T00:00:00.000Z", None)
    assert view.limits == {"rpm": None, "rpd": None, "tpm": None, "tpd": None}
