"""The settings document, `version: 1`: one pydantic model per section of interface.md §2, unknown keys refused.

Cross-references and rules between fields live in checks.py, so that they are found even where a field is wrong.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .fields import (
    MAX_EXTENSIONS,
    MAX_PRIORITY,
    Count,
    Duration,
    HeaderName,
    Id,
    ModelId,
    Name,
    Price,
    ProfileId,
    Ratio,
    Retention,
    Text,
    TokenWindow,
)

Kind = Literal["ollama", "openai", "openai_compatible", "anthropic", "airllm", "simulated"]
RoleName = Literal["general", "reward", "teacher", "judge"]
FormatName = Literal["api", "ollama", "gguf", "safetensors", "hf"]
TierName = Literal["exploratory", "standard", "deep"]
PolicyName = Literal["gate", "prefer", "strict"]
Strategy = Literal[
    "priority",
    "stick_until_failure",
    "round_robin",
    "cost_first",
    "latency_first",
    "session_sticky",
    "rate_limit_aware",
    "load_balanced",
    "capacity_weighted",
    "waterfall",
    "quality_first",
]


class Section(BaseModel):
    """Base of every section: no unknown keys, no coercion between types, immutable once read."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )


class ServerSettings(Section):
    """Where the endpoint listens and what it accepts."""

    host: Text = "127.0.0.1"
    port: int = Field(default=8808, ge=0, le=65_535)
    auth: Literal["required", "loopback_open"] = "required"
    allowed_hosts: list[Text] = []
    max_body_mb: float = Field(default=20, gt=0, le=1024, allow_inf_nan=False)
    max_connections: int = Field(default=1024, ge=1, le=100_000)


class CircuitSettings(Section):
    """Breaker thresholds for routes and providers."""

    failure_threshold: int = Field(default=5, ge=1, le=10_000)
    recovery_timeout: Duration = 30.0
    recovery_cap: Duration = 300.0
    half_open_max_calls: int = Field(default=2, ge=1, le=1000)
    half_open_concurrency: int = Field(default=1, ge=1, le=1000)
    error_rate_threshold: float = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)
    min_samples: int = Field(default=10, ge=1, le=100_000)
    window: Duration = 60.0


class CircuitOverrides(Section):
    """Per-provider overrides; what is left out follows routing.circuit."""

    failure_threshold: int | None = Field(default=None, ge=1, le=10_000)
    recovery_timeout: Duration | None = None
    recovery_cap: Duration | None = None
    half_open_max_calls: int | None = Field(default=None, ge=1, le=1000)
    half_open_concurrency: int | None = Field(default=None, ge=1, le=1000)
    error_rate_threshold: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    min_samples: int | None = Field(default=None, ge=1, le=100_000)
    window: Duration | None = None


class RetrySettings(Section):
    """The retry budget and the same-route back-off."""

    budget_ratio: float = Field(default=0.2, ge=0, le=10, allow_inf_nan=False)
    budget_floor_per_s: float = Field(default=0.5, ge=0, le=10_000, allow_inf_nan=False)
    budget_burst: float = Field(default=20, ge=0, le=1_000_000, allow_inf_nan=False)
    base_delay: Duration = 0.25
    max_delay: Duration = 8.0


class RoutingSettings(Section):
    """How a request is tried; first_token_timeout left out means 60 s, and 180 s at local providers."""

    max_attempts: int = Field(default=6, ge=1, le=1000)
    request_deadline: Duration = 600.0
    connect_timeout: Duration = 5.0
    first_token_timeout: Duration | None = None
    idle_timeout: Duration = 45.0
    total_timeout: Duration = 300.0
    capability_policy: PolicyName = "gate"
    last_resort: Literal["none", "cooling"] = "cooling"
    on_undelivered: Literal["error", "return_last"] = "error"
    circuit: CircuitSettings = CircuitSettings()
    retry: RetrySettings = RetrySettings()


class AccountSettings(Section):
    """One of several credentials of a provider."""

    name: Id
    api_key: str


class TimeoutOverrides(Section):
    """Per-provider overrides of routing.*_timeout."""

    connect_timeout: Duration | None = None
    first_token_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    total_timeout: Duration | None = None


class HealthSettings(Section):
    """Periodic reachability checks."""

    interval: Duration = 30.0
    enabled: bool = True


class DiscoverySettings(Section):
    """Listing of a provider's models."""

    enabled: bool = True
    interval: Duration = 3600.0
    on_new_model: Literal["register", "ignore"] = "register"
    on_missing_model: Literal["stale", "ignore"] = "stale"


class LimitSettings(Section):
    """Requests and tokens per minute and per UTC day; null is no limit."""

    rpm: Count | None = None
    rpd: Count | None = None
    tpm: Count | None = None
    tpd: Count | None = None


class ModelSettings(Section):
    """One upstream model; left out, its format follows the provider, its tier the id, and prices are unknown."""

    id: ModelId
    default: bool = False
    in_pools: bool = True
    role: RoleName = "general"
    format: FormatName | None = None
    path: Text | None = None
    capabilities: list[Text] = []
    context_window: TokenWindow | None = None
    max_output_tokens: TokenWindow | None = None
    usd_per_mtok_in: Price | None = None
    usd_per_mtok_out: Price | None = None
    tags: list[Name] = []
    limits: LimitSettings = LimitSettings()
    tier: TierName | None = None


class ProviderSettings(Section):
    """One upstream server; null means the default that depends on kind and address."""

    name: Id
    kind: Kind
    enabled: bool = True
    priority: int = Field(default=100, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    base_url: str | None = None
    api_key: str | None = None
    accounts: list[AccountSettings] = []
    account_strategy: Literal["round_robin", "priority"] = "round_robin"
    headers: dict[HeaderName, str] = {}
    proxy: str | None = None
    ca_file: str | None = None
    max_concurrency: int | None = Field(default=None, ge=1, le=100_000)
    timeouts: TimeoutOverrides = TimeoutOverrides()
    local: bool | None = None
    free: bool = False
    circuit: CircuitOverrides = CircuitOverrides()
    health: HealthSettings = HealthSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    models: list[ModelSettings] = []


class PoolFilter(Section):
    """Which members a pool keeps."""

    providers: list[Name] = []
    exclude_providers: list[Name] = []
    tags: list[Name] = []
    free: bool | None = None
    local: bool | None = None


class PoolTool(Section):
    """The pool as an MCP tool."""

    expose: bool = False
    tool: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")] | None = None
    args: list[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]] = []
    template: str | None = None


class PoolSettings(Section):
    """A named group of models."""

    id: Id
    description: str = ""
    node: Text | None = None
    members: list[Name] = []
    strategy: Strategy = "priority"
    filter: PoolFilter = PoolFilter()
    capability_policy: PolicyName | None = None
    session_mode: Literal["fallback", "strict"] = "fallback"
    mcp: PoolTool = PoolTool()


class RequirementSettings(Section):
    """What a profile strictly needs."""

    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    reasoning: bool = False
    parallel_tools: bool = False
    audio: bool = False
    min_context_tokens: Count | None = None
    min_output_tokens: Count | None = None


class ProfileSettings(Section):
    """A named view on one model, with fallbacks."""

    id: ProfileId
    provider: Name
    model: ModelId
    default: bool = False
    tags: list[Name] = []
    fallback_profiles: list[Name] = []
    fallback_models: list[Name] = []
    requirements: RequirementSettings = RequirementSettings()


class CapabilitySettings(Section):
    """Extensions of the capability tree and further words for its nodes."""

    extend: Annotated[list[Text], Field(max_length=MAX_EXTENSIONS)] = []
    aliases: dict[Name, Text] = {}


class RegistrySettings(Section):
    """Where relative model paths start."""

    weights_dir: Text | None = None


class LogSettings(Section):
    """What the request log keeps."""

    bodies: Literal["off", "memory", "summary", "full"] = "memory"
    retention: Retention = 604_800.0
    max_mb: float = Field(default=200, gt=0, le=1_048_576, allow_inf_nan=False)


class RewardSettings(Section):
    """Scoring of finished answers by a judge model."""

    enabled: bool = False
    model: Text | None = None  # empty is the model of the role `reward`
    votes: int = Field(default=3, ge=1, le=99)
    sample: Ratio = 0.0


class BudgetSettings(Section):
    """Daily spending limit in USD; null is none."""

    daily_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    alert_at: float = Field(default=0.8, gt=0, le=1, allow_inf_nan=False)
    enforce: bool = False


class ConsoleSettings(Section):
    """The terminal console."""

    theme: Name = "routerconsole-dark"
    keys: dict[Name, Text] = {}
    max_fps: int = Field(default=10, ge=1, le=60)


class McpSettings(Section):
    """The MCP server."""

    max_tokens: Count = 2048
    deadline: Duration = 120.0


class Settings(Section):
    """The whole document; `Settings()` is what holds when there is no file."""

    # not Literal[1], which takes 1.0 and true for 1
    version: int = Field(default=1, ge=1, le=1)
    server: ServerSettings = ServerSettings()
    routing: RoutingSettings = RoutingSettings()
    providers: list[ProviderSettings] = []
    pools: list[PoolSettings] = []
    profiles: list[ProfileSettings] = []
    agents: dict[Name, Name] = {}
    capabilities: CapabilitySettings = CapabilitySettings()
    registry: RegistrySettings = RegistrySettings()
    log: LogSettings = LogSettings()
    reward: RewardSettings = RewardSettings()
    budget: BudgetSettings = BudgetSettings()
    console: ConsoleSettings = ConsoleSettings()
    mcp: McpSettings = McpSettings()
