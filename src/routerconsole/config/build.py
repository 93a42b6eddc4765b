"""Turns valid settings into the registry the engine routes by: defaults that depend on each other, secrets, reasons.

A provider that cannot be used stays in the registry with its reason; nothing here fails because of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from routerconsole.domain.address import is_local
from routerconsole.domain.assemble import assemble
from routerconsole.domain.capability import CapabilityTree, Layer, Source, Tri, Word
from routerconsole.domain.guess import tier_of
from routerconsole.domain.policy import (
    CapabilityPolicy,
    CircuitPolicy,
    LastResort,
    OnUndelivered,
    RetryPolicy,
    RoutingPolicy,
    Timeouts,
)
from routerconsole.domain.pool import Pool, PoolFilter, PoolTool, SessionMode, Strategy
from routerconsole.domain.profile import Profile, Requirements
from routerconsole.domain.redact import Redactor
from routerconsole.domain.registry import (
    Account,
    AccountStrategy,
    DiscoveryPolicy,
    HealthPolicy,
    Limits,
    Model,
    ModelFormat,
    Provider,
    ProviderKind,
    Registry,
    Role,
    Tier,
)
from routerconsole.domain.route import ModelKey
from routerconsole.domain.secret import Secret

from .models import (
    CircuitOverrides,
    CircuitSettings,
    DiscoverySettings,
    ModelSettings,
    PoolSettings,
    ProfileSettings,
    ProviderSettings,
    Settings,
)
from .secrets import Resolved, expand, is_literal, resolve
from .tools import TOOL_ARGUMENT, default_tool
from .urls import DEFAULT_URLS, check_proxy, host_of, normalise_base_url
from .weights import missing_extra

WRITTEN = "configuration"
LOCAL_FIRST_TOKEN = 180.0
HOSTED_CONCURRENCY, LOCAL_CONCURRENCY = 64, 2
_KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_MIN_PART = 8
_NO_ADDRESS = "http://localhost"
_KEY_LIKE = ("key", "token", "secret", "auth", "cookie", "password", "credential", "signature")


def build_registry(settings: Settings, env: Mapping[str, str], *, version: int = 1) -> Registry:
    """Return the registry of these settings; reads the given environment, secret files and the keyring."""
    policy = routing_policy(settings)
    tree = capability_tree(settings)
    providers = [_provider(provider, settings, policy, tree=tree, env=env) for provider in settings.providers]
    return assemble(
        version=version,
        policy=policy,
        providers=providers,
        pools=[_pool(pool, tree) for pool in settings.pools],
        tree=tree,
        profiles=[_profile(profile, providers) for profile in settings.profiles],
        agents=settings.agents,
    )


def secret_values(registry: Registry) -> Iterator[Secret]:
    """Yield every resolved secret of a registry, and the parts of longer ones that are secrets by themselves."""
    for provider in registry.providers.values():
        yield from (account.api_key for account in provider.accounts if account.api_key is not None)
        for _, value in provider.headers:
            if isinstance(value, Secret):
                yield value
                # of "Bearer abc…" the second word is the credential, and may turn up without the first
                yield from (Secret(word) for word in value.reveal().split() if len(word) >= _MIN_PART)
        if isinstance(provider.proxy, Secret):
            yield provider.proxy
            password = urlsplit(provider.proxy.reveal()).password
            if password:
                yield Secret(unquote(password))
                yield Secret(password)


def build_redactor(registry: Registry, extra: Iterable[Secret] = ()) -> Redactor:
    """Return the redactor for everything this registry knows; `extra` are the router's own tokens."""
    return Redactor([*secret_values(registry), *extra])


def routing_policy(settings: Settings) -> RoutingPolicy:
    """Return the routing numbers; a maximum left at its default gives way to a larger written minimum."""
    routing, retry = settings.routing, settings.routing.retry
    return RoutingPolicy(
        max_attempts=routing.max_attempts,
        request_deadline=routing.request_deadline,
        timeouts=Timeouts(
            connect=routing.connect_timeout,
            first_token=routing.first_token_timeout or Timeouts().first_token,
            idle=routing.idle_timeout,
            total=routing.total_timeout,
        ),
        capability_policy=CapabilityPolicy(routing.capability_policy),
        last_resort=LastResort(routing.last_resort),
        on_undelivered=OnUndelivered(routing.on_undelivered),
        circuit=_circuit(routing.circuit),
        retry=RetryPolicy(
            budget_ratio=retry.budget_ratio,
            budget_floor_per_s=retry.budget_floor_per_s,
            budget_burst=retry.budget_burst,
            base_delay=retry.base_delay,
            max_delay=max(retry.max_delay, retry.base_delay),
        ),
    )


def capability_tree(settings: Settings) -> CapabilityTree:
    """Return the tree with the declared extensions and aliases."""
    bare = CapabilityTree(extensions=frozenset(settings.capabilities.extend))
    aliases = {word: bare.resolve(target) for word, target in settings.capabilities.aliases.items()}
    return CapabilityTree(extensions=bare.extensions, aliases=aliases)


def is_local_provider(provider: ProviderSettings, base_url: str) -> bool:
    """Whether a provider counts as local: as written, else by its address; in-process kinds always are."""
    if provider.local is not None:
        return provider.local
    return provider.kind in ("airllm", "simulated") or is_local(host_of(base_url))


def is_key_like(header: str) -> bool:
    """Whether a header's name says that its value is a credential."""
    return any(word in header.lower() for word in _KEY_LIKE)


def _circuit(settings: CircuitSettings) -> CircuitPolicy:
    return CircuitPolicy(
        failure_threshold=settings.failure_threshold,
        recovery_timeout=settings.recovery_timeout,
        recovery_cap=max(settings.recovery_cap, settings.recovery_timeout),
        half_open_max_calls=settings.half_open_max_calls,
        half_open_concurrency=settings.half_open_concurrency,
        error_rate_threshold=settings.error_rate_threshold,
        min_samples=settings.min_samples,
        window=settings.window,
    )


def _own_circuit(base: CircuitPolicy, own: CircuitOverrides) -> CircuitPolicy:
    written = own.model_dump(exclude_none=True)
    merged = replace(base, **written)
    return replace(merged, recovery_cap=max(merged.recovery_cap, merged.recovery_timeout))


def _timeouts(settings: Settings, provider: ProviderSettings, *, local: bool) -> Timeouts:
    routing, own = settings.routing, provider.timeouts
    # left out, local servers get longer (they may be loading a model); written once in routing, it holds for all
    first = routing.first_token_timeout or (LOCAL_FIRST_TOKEN if local else Timeouts().first_token)
    return Timeouts(
        connect=own.connect_timeout or routing.connect_timeout,
        first_token=own.first_token_timeout or first,
        idle=own.idle_timeout or routing.idle_timeout,
        total=own.total_timeout or routing.total_timeout,
    )


def _provider(
    provider: ProviderSettings,
    settings: Settings,
    policy: RoutingPolicy,
    *,
    tree: CapabilityTree,
    env: Mapping[str, str],
) -> Provider:
    base_url, bad_url = _base_url(provider, env)
    local = is_local_provider(provider, base_url)
    accounts = _accounts(provider, env)
    headers, bad_header = _headers(provider, env)
    proxy, bad_proxy = _proxy(provider, env)
    ca_file, bad_ca = _ca_file(provider, env)
    # a provider with one usable account is usable: the others keep their own reasons
    no_account = None if any(account.unavailable is None for account in accounts) else accounts[0].unavailable
    reasons = (bad_url, missing_extra(provider.kind), no_account, bad_header, bad_proxy, bad_ca)
    return Provider(
        name=provider.name,
        kind=ProviderKind(provider.kind),
        base_url=base_url,
        enabled=provider.enabled,
        priority=provider.priority,
        accounts=accounts,
        account_strategy=AccountStrategy(provider.account_strategy),
        headers=headers,
        proxy=proxy,
        ca_file=ca_file,
        max_concurrency=provider.max_concurrency or (LOCAL_CONCURRENCY if local else HOSTED_CONCURRENCY),
        timeouts=_timeouts(settings, provider, local=local),
        local=local,
        free=provider.free,
        circuit=_own_circuit(policy.circuit, provider.circuit),
        health=HealthPolicy(interval=provider.health.interval, enabled=provider.health.enabled),
        discovery=_discovery(provider.discovery),
        models=tuple(_model(model, provider, tree) for model in provider.models),
        unavailable=next((reason for reason in reasons if reason is not None), None),
    )


def _base_url(provider: ProviderSettings, env: Mapping[str, str]) -> tuple[str, str | None]:
    raw = provider.base_url or DEFAULT_URLS.get(provider.kind)
    if raw is None:
        return _NO_ADDRESS, None
    if raw.startswith("env:"):
        raw = "${" + raw[len("env:") :] + "}"
    text, missing = expand(raw, env)
    if missing is not None:
        return _NO_ADDRESS, f"missing_secret: {missing}"
    try:
        return normalise_base_url(text, provider.kind), None
    except ValueError as error:
        return _NO_ADDRESS, f"config_error: base_url {error}"


def _accounts(provider: ProviderSettings, env: Mapping[str, str]) -> tuple[Account, ...]:
    if provider.accounts:
        return tuple(_account(entry.name, resolve(entry.api_key, env)) for entry in provider.accounts)
    if provider.api_key:
        return (_account(None, resolve(provider.api_key, env)),)
    variable = _KEY_VARIABLES.get(provider.kind)
    if variable is not None:
        return (Account(unavailable=f"missing_secret: {variable} (set it and write api_key: env:{variable})"),)
    return (Account(),)


def _account(name: str | None, resolved: Resolved) -> Account:
    return Account(name, resolved.secret, resolved.reason)


def _headers(
    provider: ProviderSettings, env: Mapping[str, str]
) -> tuple[tuple[tuple[str, str | Secret], ...], str | None]:
    built: list[tuple[str, str | Secret]] = []
    reason: str | None = None
    for name, raw in provider.headers.items():
        if is_literal(raw) and not is_key_like(name):
            built.append((name, raw))
            continue
        resolved = resolve(raw, env, is_key=False)
        if resolved.secret is None:
            reason = reason or resolved.reason
        else:
            built.append((name, resolved.secret))
    return tuple(built), reason


def _proxy(provider: ProviderSettings, env: Mapping[str, str]) -> tuple[str | Secret | None, str | None]:
    if provider.proxy is None:
        return None, None
    resolved = resolve(provider.proxy, env, is_key=False)
    if resolved.secret is None:
        return None, resolved.reason
    text = resolved.secret.reveal()
    try:
        check_proxy(text)
    except ValueError as error:
        return None, f"config_error: proxy {error}"
    # written out without a password it is no secret, and worth showing
    return (text if is_literal(provider.proxy) and "@" not in text else resolved.secret), None


def _ca_file(provider: ProviderSettings, env: Mapping[str, str]) -> tuple[str | None, str | None]:
    if provider.ca_file is None:
        return None, None
    text, missing = expand(provider.ca_file, env)
    if missing is not None:
        return None, f"missing_secret: {missing}"
    if not os.path.isfile(text):
        return None, "config_error: ca_file is not a file that can be read"
    return text, None


def _model(model: ModelSettings, provider: ProviderSettings, tree: CapabilityTree) -> Model:
    layers = {
        tree.resolve(word.removeprefix("-")): (Layer(Source.CONFIG, Tri.NO if word.startswith("-") else Tri.YES),)
        for word in model.capabilities
    }
    limits = model.limits
    form = model.format or ("ollama" if provider.kind == "ollama" else "api")
    return Model(
        provider=provider.name,
        upstream_id=model.id,
        default=model.default,
        in_pools=model.in_pools,
        role=Role(model.role),
        format=ModelFormat(form),
        path=model.path,
        layers=layers,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        price_source=None if model.usd_per_mtok_in is None and model.usd_per_mtok_out is None else WRITTEN,
        usd_per_mtok_in=model.usd_per_mtok_in,
        usd_per_mtok_out=model.usd_per_mtok_out,
        tags=tuple(model.tags),
        limits=Limits(limits.rpm, limits.rpd, limits.tpm, limits.tpd),
        tier=Tier(model.tier) if model.tier else tier_of(model.id),
    )


def _discovery(settings: DiscoverySettings) -> DiscoveryPolicy:
    return DiscoveryPolicy(
        enabled=settings.enabled,
        interval=settings.interval,
        register_new=settings.on_new_model == "register",
        stale_missing=settings.on_missing_model == "stale",
    )


def _pool(pool: PoolSettings, tree: CapabilityTree) -> Pool:
    kept = pool.filter
    return Pool(
        id=pool.id,
        listed=tuple(_key(member) for member in pool.members),
        node=None if pool.node is None else tree.resolve(pool.node),
        description=pool.description,
        strategy=Strategy(pool.strategy),
        filter=PoolFilter(
            providers=frozenset(name.lower() for name in kept.providers),
            exclude_providers=frozenset(name.lower() for name in kept.exclude_providers),
            tags=frozenset(kept.tags),
            free=kept.free,
            local=kept.local,
        ),
        session_mode=SessionMode(pool.session_mode),
        capability_policy=CapabilityPolicy(pool.capability_policy) if pool.capability_policy else None,
        tool=_tool(pool),
    )


def _tool(pool: PoolSettings) -> PoolTool | None:
    """Return the pool as a tool; without a template the arguments follow each other, each under its name."""
    if not pool.mcp.expose:
        return None
    args = tuple(pool.mcp.args) or (TOOL_ARGUMENT,)
    plain = f"{{{args[0]}}}" if len(args) == 1 else "\n\n".join(f"{name}:\n{{{name}}}" for name in args)
    return PoolTool(pool.mcp.tool or default_tool(pool.id), args, pool.mcp.template or plain)


def _profile(profile: ProfileSettings, providers: Sequence[Provider]) -> Profile:
    asked = profile.requirements
    words = (Word.TOOLS, Word.VISION, Word.JSON_SCHEMA, Word.REASONING, Word.PARALLEL_TOOLS, Word.AUDIO)
    return Profile(
        id=profile.id,
        model=ModelKey(profile.provider.lower(), profile.model),
        default=profile.default,
        tags=tuple(profile.tags),
        fallback_profiles=tuple(profile.fallback_profiles),
        fallback_models=tuple(key for model in profile.fallback_models for key in _fallback(model, providers)),
        requirements=Requirements(
            words=tuple(word for word in words if getattr(asked, word.value)),
            min_context_tokens=asked.min_context_tokens,
            min_output_tokens=asked.min_output_tokens,
        ),
    )


def _fallback(written: str, providers: Sequence[Provider]) -> tuple[ModelKey, ...]:
    """Return what a fallback model means: `provider/model`, or a bare id at every provider that declares it."""
    key = _key(written)
    if key.model and any(provider.name == key.provider for provider in providers):
        return (key,)
    ranked = sorted(providers, key=lambda provider: provider.priority)
    return tuple(model.key for provider in ranked for model in provider.models if model.upstream_id == written)


def _key(qualified: str) -> ModelKey:
    """Return the model a written `provider/model` names; no provider name has a slash."""
    provider, _, model = qualified.partition("/")
    return ModelKey(provider.lower(), model)
