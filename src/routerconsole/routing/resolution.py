"""What a model name turned out to mean: the models it stands for, and how that was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from routerconsole.domain.policy import CapabilityPolicy
    from routerconsole.domain.pool import Pool
    from routerconsole.domain.profile import Profile, Requirements
    from routerconsole.domain.registry import Registry
    from routerconsole.domain.route import ModelKey


class ResolvedKind(StrEnum):
    """What a name turned out to be."""

    PROFILE = "profile"
    POOL = "pool"
    VIRTUAL = "virtual"
    CAPABILITY = "capability"
    AGENT = "agent"
    PROVIDER_MODEL = "provider_model"
    MODEL = "model"


def members(pool: Pool, registry: Registry) -> tuple[ModelKey, ...]:
    """Return a pool's members in the order of strategy `priority`: provider priority, then as listed."""
    if pool.automatic:  # those are made in this order
        return pool.members
    return tuple(sorted(pool.members, key=registry.priority))


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name stands for: its kind and canonical id, the models as listed, and the pool whose strategy orders them.

    `profile` is the one to be judged by the request's needs; `links` name the profile (or model) each of its models
    stands for, `requirements` what each must strictly offer. `because` says in words how the name was found,
    `otherwise` what is meant where this cannot serve.
    """

    kind: ResolvedKind
    id: str
    keys: tuple[ModelKey, ...]
    capability_policy: CapabilityPolicy | None = None
    pool: Pool | None = None
    profile: Profile | None = None
    because: tuple[str, ...] = ()
    links: Mapping[ModelKey, str] = field(default_factory=dict)
    requirements: Mapping[ModelKey, Requirements] = field(default_factory=dict)
    otherwise: tuple[Resolution, ...] = ()
