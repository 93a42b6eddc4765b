"""A scripted registry: models of every kind, and the fleet that serves them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.console.fake_control import FakeControl, request
from tests.console.scenes import fleet

from routerconsole.control.registry_views import (
    CapabilityValue,
    Impact,
    LayerView,
    ModelPage,
    ModelView,
    Move,
    PoolShift,
)

TOOLS = "interaction.tool-calling"
CHAT = "generation.text-generation.chat-completion"
AT = "2026-03-01T11:58:02Z"


def capability(node: str, *layers: LayerView) -> CapabilityValue:
    """Return a node's value, the first layer the one in force."""
    first = layers[0]
    return CapabilityValue(node, first.value, first.source, first.at, layers)


def model(provider: str, upstream_id: str, **changes: Any) -> ModelView:
    """Return a model with nothing odd about it."""
    said = (capability(CHAT, LayerView("config", "yes")), capability(TOOLS, LayerView("config", "yes")))
    base = ModelView(
        id=f"{provider}/{upstream_id}",
        provider=provider,
        upstream_id=upstream_id,
        display=None,
        description=None,
        enabled=True,
        exposed=True,
        default=False,
        in_pools=True,
        role="general",
        format="api",
        path=None,
        context_window=131072,
        max_output_tokens=8192,
        default_temperature=None,
        delivery=("sync", "stream"),
        features=(),
        constraints=(),
        usd_per_mtok_in=None,
        usd_per_mtok_out=None,
        free=None,
        tags=(),
        limits={"rpm": None, "rpd": None, "tpm": None, "tpd": None},
        tier="standard",
        state="live",
        origin="config",
        served=True,
        version=1,
        registered_at=None,
        pools=("auto", "text", "tools"),
        capabilities={value.node: value for value in said},
    )
    return replace(base, **changes)


def models() -> tuple[ModelView, ...]:
    """Return ten models: priced, free, off, stale, withdrawn, not served, with weights, with layers, odd names."""
    layers = (
        LayerView("operator", "no", AT, "set by console"),
        LayerView("gap", "no", AT, "answered in prose", "key2", "2026-03-01T12:58:02Z"),
        LayerView("config", "yes"),
        LayerView("guess", "yes", None, "name begins with llama3.1"),
    )
    return (
        model("anthropic", "claude-x", usd_per_mtok_in=3.0, usd_per_mtok_out=15.0, context_window=200_000,
              tier="deep", tags=("smart", "paid"), default=True, agents=("coder", "planner")),
        model("ollama-local", "llama3.1:8b", format="ollama", free=True, tags=("fast", "local"), agents=("cli-2",),
              capabilities={TOOLS: capability(TOOLS, *layers)},
              limits={"rpm": 60, "rpd": None, "tpm": 9000, "tpd": None}),
        model("ollama-local", "qwen2.5vl:7b", format="ollama", free=True, context_window=32768, served=False,
              note="not served; run: ollama pull qwen2.5vl:7b", pools=("auto", "vision")),
        model("groq", "llama-3.3-70b", usd_per_mtok_in=0.59, usd_per_mtok_out=0.79, display="Llama 3.3 70B",
              description="fast and cheap enough for most", tags=("fast",)),
        model("groq", "new-preview-1", origin="discovery", in_pools=False, pools=(), context_window=None,
              max_output_tokens=None, capabilities={}),
        model("openai", "gpt-x", enabled=False, usd_per_mtok_in=2.5, usd_per_mtok_out=10.0, pools=("auto", "text")),
        model("lab", "tiny-q4", format="gguf", path="tiny-q4.gguf", served=False, context_window=8192,
              tier="exploratory",
              note="not served; run: llama-server -m tiny-q4.gguf --alias tiny-q4 --host 127.0.0.1 --port 8081",
              header={"architecture": "llama", "parameters": 8_030_261_248, "context_length": 8192}),
        model("lab", "reward-1", role="reward", pools=(), context_window=4096, served=None),
        model("lab", "old-13b", state="stale", context_window=16384),
        model("lab", "gone-7b", state="withdrawn", served=False,
              note="not served: not in the last listing of lab (withdrawn: twice missing)"),
        model("spare", "\x1b[31mred[/x]名前-モデル", served=None, context_window=1_048_576),
    )  # fmt: skip


def shop() -> FakeControl:
    """Return the fleet with its registry and what a change would have meant."""
    control = fleet()
    listed = models()
    control.model_page = ModelPage(listed, len(listed), "/srv/weights")
    control.rows[request(50).id] = request(50, agent="reviewer")
    control.impact_view = Impact(
        500,
        500,
        14,
        2,
        0,
        (
            Move("groq/llama-3.3-70b", "anthropic/claude-x", 12, "req_000031"),
            Move("groq/llama-3.3-70b", None, 2, "req_000030"),
        ),
        (PoolShift("tools", (), ("groq/llama-3.3-70b",)), PoolShift("vision", ("groq/llama-3.3-70b",), ())),
    )
    return control
