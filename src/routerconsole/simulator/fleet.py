"""The demo fleet: five providers on loopback whose time tables show every class of failure within a minute.

`steady` serves every model id and never fails, so that a request to a shared id or to `auto` always has somewhere to
go; the models served by one provider only (`guarded-8b`, `glass-8b`) show what cannot fail over. Times are seconds
after the start and repeat every minute. Nothing here knows the router: it hands out plain configuration.
"""

from __future__ import annotations

from routerconsole.simulator.behaviour import Answering, Behaviour, Cut, Delay, Phase, Wire, flapping, lognormal
from routerconsole.simulator.script import Script, Window
from routerconsole.simulator.simulator import Simulator

PERIOD_S = 60.0
_KEY = "demo-key-of-the-simulator"  # no secret: it opens a loopback socket of this process
_QUICK = lognormal(0.05, 0.4)


def _usual(tokens: int = 18, latency: Delay = _QUICK, rate: float = 70.0) -> Behaviour:
    """A model in good health."""
    return Behaviour(latency=latency, ttft=lognormal(0.06, 0.4), tokens_per_second=rate, tokens=tokens)


def _failing(status: int | str, *, hint: str | float | None = None) -> Behaviour:
    """A model that answers with this error, quickly."""
    return Behaviour(latency=0.02, statuses=(status,), retry_after=hint)


def _phase(start: float, end: float, behaviour: Behaviour) -> Phase:
    """A phase of every minute."""
    return Phase(start=start, end=end, every=PERIOD_S, behaviour=behaviour)


def aurora(seed: int) -> Script:
    """The first choice: quick, and the one with most of the trouble."""
    ember = Behaviour(
        latency=_QUICK,
        ttft=lognormal(0.06, 0.4),
        tokens_per_second=70.0,
        tools="ignore",  # it claims tools
        context_window=1_500,  # it claims 32,768
        context_error="llama_context",
    )
    ember = ember.but(
        _phase(3, 5, _failing("openai_rate", hint=5)),
        _phase(10, 12.5, Behaviour(latency=_QUICK, wire=Wire.STALE)),
        _phase(12.5, 14, Behaviour(latency=_QUICK, answer=Answering.BLANK)),
        # every other one, so that the circuit opens later, on purpose
        _phase(14, 15.5, Behaviour(latency=_QUICK, statuses=("login_page", 200), repeat="cycle")),
        _phase(16, 20, _failing("openai_server")),
        _phase(27, 29, _failing("llama_loading")),
        _phase(31, 34.5, Behaviour(latency=_QUICK, ttft=6.0)),
        _phase(44, 46, _failing(503, hint=3)),
        _phase(50, 52, _failing("openai_rate", hint="ms:4000")),
    )
    return Script(models={"ember-8b": ember, "flint-3b": _usual(12)}, seed=seed)


def borealis(seed: int) -> Script:
    """A hosted provider with limits, a filter, a retired model and a stream that breaks."""
    nova = _usual(20).but(
        _phase(22, 28, _failing("payment", hint=8)),
        _phase(38, 43, _failing("openai_bad_request")),
    )
    glass = flapping(_usual(30), Behaviour(latency=_QUICK, tokens=30, cut_after=9, cut=Cut.RESET), up=4, down=6)
    models = {
        "nova-8b": nova,
        "iris-vl": Behaviour(latency=_QUICK, refuse={"vision": "llama_no_image"}),
        "retired-7b": _failing("openai_missing"),
        "guarded-8b": _failing("openai_filter"),
        "glass-8b": glass,
    }
    return Script(models=models, seed=seed)


def cobalt(seed: int) -> Script:
    """A local Ollama that is restarted now and then: nothing listens meanwhile."""
    embed = Behaviour(latency=0.02, capabilities=("embeddings",))
    windows = (Window(start=18, end=23, every=PERIOD_S), Window(start=47, end=50, every=PERIOD_S))
    return Script(models={"llama3.2:3b": _usual(14, rate=50.0), "embed-mini": embed}, refusing=windows, seed=seed)


def dune(seed: int) -> Script:
    """A provider with Anthropic's API that is overloaded, and whose key stops working for a while."""
    wrong_key = _phase(33, 37, _failing("anthropic_bad_key"))
    model = _usual(22).but(_phase(8, 12, _failing("anthropic_overloaded", hint=2)), wrong_key)
    listing = Behaviour().but(wrong_key)
    return Script(models={"sand-sonnet": model, "GET /v1/models": listing}, api_key=_KEY, seed=seed)


def steady(seed: int) -> Script:
    """The backup: slower, and always there."""
    return Script(
        models={
            name: _usual(16, lognormal(0.11, 0.3))
            for name in ("steady-70b", "ember-8b", "nova-8b", "llama3.2:3b", "sand-sonnet", "retired-7b")
        }
        | {"embed-mini": Behaviour(latency=0.03, capabilities=("embeddings",))},
        seed=seed,
    )


_ALL = ["text", "tools", "json", "json_schema"]
_Model = dict[str, object]


def _model(name: str, capabilities: list[str], *, window: int = 32_768, pools: bool = True) -> _Model:
    """A model entry of a provider's configuration."""
    return {"id": name, "capabilities": capabilities, "context_window": window, "in_pools": pools}


_PRICES: dict[str, tuple[float, float]] = {
    "aurora": (0.1, 0.4),
    "borealis": (0.2, 0.6),
    "cobalt": (0.0, 0.0),
    "dune": (3.0, 15.0),
    "steady": (0.6, 1.8),
}
"""USD per million tokens in and out, made up: so that a detour over the backup can be seen to cost more."""


def _price(provider: str) -> _Model:
    """The prices of a provider's models."""
    price_in, price_out = _PRICES[provider]
    return {"usd_per_mtok_in": price_in, "usd_per_mtok_out": price_out}


# name, kind, priority, local, models; the order is the order of priority.
_PROVIDERS: tuple[tuple[str, str, int, bool, list[_Model]], ...] = (
    ("aurora", "openai_compatible", 10, False, [_model("ember-8b", _ALL), _model("flint-3b", ["text", "json"])]),
    (
        "borealis",
        "openai_compatible",
        20,
        False,
        [
            _model("nova-8b", _ALL),
            _model("iris-vl", ["text", "vision"]),
            _model("retired-7b", ["text"], pools=False),
            _model("guarded-8b", ["text"], pools=False),
            _model("glass-8b", ["text"], pools=False),
        ],
    ),
    (
        "cobalt",
        "ollama",
        30,
        True,
        [_model("llama3.2:3b", ["text", "tools"]), _model("embed-mini", ["embeddings"])],
    ),
    ("dune", "anthropic", 40, False, [_model("sand-sonnet", ["text", "tools", "vision"], window=200_000)]),
    (
        "steady",
        "openai_compatible",
        90,
        False,
        [
            _model("steady-70b", [*_ALL, "vision"], window=131_072),
            *(_model(name, _ALL, window=131_072) for name in ("ember-8b", "nova-8b", "llama3.2:3b", "sand-sonnet")),
            _model("retired-7b", ["text"], pools=False),
            _model("embed-mini", ["embeddings"]),
        ],
    ),
)
_CIRCUIT: dict[str, object] = {
    "failure_threshold": 5,
    "recovery_timeout": "6s",
    "recovery_cap": "12s",
    "half_open_max_calls": 2,
    "half_open_concurrency": 1,
}


class Fleet:
    """Five simulators and the configuration that points a router at them."""

    def __init__(self, simulators: dict[str, Simulator]) -> None:
        self.simulators = simulators

    async def start(self, host: str = "127.0.0.1") -> None:
        """Start every simulator on a free port; their time tables start now."""
        for simulator in self.simulators.values():
            await simulator.start(host, simulator.port)

    async def stop(self) -> None:
        """Stop every simulator; idempotent."""
        for simulator in self.simulators.values():
            await simulator.stop()

    async def __aenter__(self) -> Fleet:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    @property
    def provider_configs(self) -> list[dict[str, object]]:
        """The `providers:` entries; complete only once the fleet has started and its ports are known."""
        return [self._provider(*entry) for entry in _PROVIDERS]

    def _provider(self, name: str, kind: str, priority: int, local: bool, models: list[_Model]) -> dict[str, object]:
        """One `providers:` entry."""
        simulator = self.simulators[name]
        made: dict[str, object] = {
            "name": name,
            "kind": kind,
            "priority": priority,
            "base_url": simulator.base_url if kind == "openai_compatible" else simulator.origin,
            "local": local,
            "free": local,
            "max_concurrency": 64,
            "circuit": dict(_CIRCUIT),
            "health": {"interval": "5s", "enabled": True},
            "discovery": {"enabled": False},
            "models": [{**model, **_price(name)} for model in models],
        }
        if simulator.api_key is not None:
            made["api_key"] = simulator.api_key
        return made

    @property
    def routing_config(self) -> dict[str, object]:
        """The `routing:` section: attempts of two seconds and less, circuits that recover while one watches."""
        return {
            "max_attempts": 6,
            "request_deadline": "10s",
            "connect_timeout": "1s",
            "first_token_timeout": "1.5s",
            "idle_timeout": "2s",
            "total_timeout": "2s",
            "circuit": dict(_CIRCUIT),
            "retry": {
                "budget_ratio": 0.5,
                "budget_floor_per_s": 5,
                "budget_burst": 50,
                "base_delay": "50ms",
                "max_delay": "500ms",
            },
        }


def demo_fleet(seed: int = 0) -> Fleet:
    """The fleet of `routerconsole demo`, with dice of its own for each provider; nothing is started yet."""
    scripts = {"aurora": aurora, "borealis": borealis, "cobalt": cobalt, "dune": dune, "steady": steady}
    return Fleet({name: Simulator(make(seed + i)) for i, (name, make) in enumerate(scripts.items())})
