"""The eleven strategies of a pool: in which order its routes are asked where nothing else tells them apart.

Each is a pure function from what is known of the routes to one place per route, lowest first; ties stay as given,
the pool's own (provider priority, then as listed). Randomness is a seeded `rng` that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from routerconsole.domain.pool import PriceTier, SessionMode, Strategy, price_tier
from routerconsole.domain.route import ModelKey
from routerconsole.domain.trace import Decision

from .limits import percent
from .pointers import Track
from .spending import Books, prices_of

if TYPE_CHECKING:
    from random import Random

    from routerconsole.domain.pool import Pool
    from routerconsole.domain.registry import Model, Provider
    from routerconsole.domain.route import Route
    from routerconsole.domain.trace import Candidate

    from .limits import Meter
    from .pointers import Pointers
    from .stats import Pace

LEAVE_AT = 0.8
"""Used share of a limit at which `rate_limit_aware` goes elsewhere (capabilities.md §4)."""


class Quality(NamedTuple):
    """What is known of a model's quality at a node: mean reward score and pass^k of evaluations; None is unknown."""

    reward: float | None = None
    passed: float | None = None


QualitySource = Callable[[str | None], Mapping[ModelKey, Quality]]
"""The scores of a pool's node; who is not in it is unknown."""


def no_quality(_node: str | None) -> Mapping[ModelKey, Quality]:
    """Know of no scores: all routes tie."""
    return {}


# --- the strategies ---


def ranks(keys: Sequence[float | tuple[float, ...]]) -> list[int]:
    """Return each item's place when sorted by its key; equal keys stay in the given order."""
    places = [0] * len(keys)
    for place, at in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
        places[at] = place
    return places


def ring(count: int, first: int) -> list[int]:
    """Return places that begin at `first` and go round (stick_until_failure)."""
    return [(at - first) % count for at in range(count)]


def by_turn(members: Sequence[ModelKey], turns: Mapping[ModelKey, int]) -> list[int]:
    """Who was asked longest ago goes first, so that those who can be asked alternate (round_robin, C3-25)."""
    return ranks([turns.get(member, 0) for member in members])


def by_price(prices: Sequence[float | None]) -> list[int]:
    """Cheapest first, unknown last (cost_first, C3-26)."""
    return ranks([(price is None, price or 0.0) for price in prices])


def by_latency(means: Sequence[float | None], penalties: Sequence[float]) -> list[int]:
    """Fastest first; without history the median of the known; failures cost (latency_first)."""
    usual = _median(means, 1.0)
    return ranks([(usual if mean is None else mean) * cost for mean, cost in zip(means, penalties, strict=True)])


def rendezvous(session: bytes, routes: Sequence[Route]) -> list[int]:
    """Rank routes by a hash with the session: who leaves or joins moves nobody else's session (session_sticky)."""
    keys = []
    for route in routes:
        name = "\x00".join((route.provider, route.account or "", route.model))
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=session, digest_size=8).digest()
        keys.append(-int.from_bytes(digest, "big"))
    return ranks(keys)


def by_headroom(spent: Sequence[float], current: int | None) -> list[int]:
    """Stay with `current` until 80 % of a limit of its is used, then most headroom first (rate_limit_aware, C3-29)."""
    return ranks([(at != current or share >= LEAVE_AT, share) for at, share in enumerate(spent)])


def two_choices(costs: Sequence[float], able: Sequence[bool], rng: Random) -> list[int]:
    """Draw two of those that can be asked and take the cheaper; the rest by cost (load_balanced)."""
    places = ranks(costs)
    drawable = [at for at, can in enumerate(able) if can]
    if len(drawable) < 2:
        return places
    one, other = rng.sample(drawable, 2)
    winner = other if costs[other] < costs[one] else one
    return ranks([-1 if at == winner else place for at, place in enumerate(places)])


def weighted(weights: Sequence[float], rng: Random) -> list[int]:
    """Draw an order without putting back, each draw in proportion to the weights; weight 0 last (capacity_weighted).

    The keys u^(1/w) of Efraimidis and Spirakis (2006).
    """
    return ranks([(weight <= 0, -(rng.random() ** (1 / weight)) if weight > 0 else 0.0) for weight in weights])


def by_tier(tiers: Sequence[PriceTier], prices: Sequence[float | None]) -> list[int]:
    """Free, then local, then paid with the cheapest first (waterfall, C1-46)."""
    keys = []
    for tier, price in zip(tiers, prices, strict=True):
        paid = tier is PriceTier.PAID
        keys.append((tier, paid and price is None, price if paid and price is not None else 0.0))
    return ranks(keys)


def by_quality(scores: Sequence[Quality]) -> list[int]:
    """Best mean reward first, then best pass^k; unknown counts as the median of the known (quality_first)."""
    usual = Quality(_median([each.reward for each in scores], 0.0), _median([each.passed for each in scores], 0.0))
    return ranks(
        [
            (
                -(usual.reward if each.reward is None else each.reward),  # type: ignore[operator] # a median is no None
                -(usual.passed if each.passed is None else each.passed),  # type: ignore[operator] # the same
            )
            for each in scores
        ]
    )


def unit_price(model: Model, provider: Provider) -> float | None:
    """Return USD per million tokens, in and out together: 0 where it is said to be free, None where one is unknown."""
    prices = prices_of(model, provider)
    return None if prices is None else sum(prices)


def _median(values: Sequence[float | None], without: float) -> float:
    """Return the median of the known (of an even number the mean of the middle two), or `without` of nothing."""
    known = sorted(value for value in values if value is not None)
    half = len(known) // 2
    if not known:
        return without
    return known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2


# --- from a pool and its routes to their order ---


class Entry(Protocol):
    """A candidate as the strategies see it."""

    @property
    def route(self) -> Route:
        """Which route."""

    @property
    def model(self) -> Model:
        """Its model."""

    @property
    def provider(self) -> Provider:
        """Its provider."""

    @property
    def candidate(self) -> Candidate:
        """What was decided of it; a skipped one cannot be asked now."""


class Speeds(Protocol):
    """What the strategies read of the board."""

    def pace(self, route: Route, *, stream: bool) -> Pace:
        """Return how fast a route was of late for streams or whole answers."""

    def in_flight(self, target: Route | str) -> int:
        """Return how many attempts are under way."""


@dataclass(frozen=True, slots=True)
class Means:
    """What orders routes besides the board; one per engine. `quality` answers for a pool's node."""

    pointers: Pointers
    meter: Meter
    rng: Random
    quality: QualitySource = no_quality
    books: Books = field(default_factory=Books)

    def peeking(self) -> Means:
        """Return the same with dice of its own that fall as the next ones will: looking ahead changes nothing."""
        return replace(self, rng=copy(self.rng))


class Order(NamedTuple):
    """Each candidate's place and a word on it; `held` is the session's own candidate, `tiers` go before everything."""

    places: list[int]
    words: list[str]
    track: Track | None = None
    held: int | None = None
    alone: bool = False
    tiers: list[PriceTier] | None = None


def arrange(
    pool: Pool,
    items: Sequence[Entry],
    means: Means,
    board: Speeds,
    *,
    now: float,
    first: ModelKey,
    session: str | None = None,
    stream: bool = False,
) -> Order:
    """Order the candidates of a pool by its strategy; they come in the pool's own order, which `first` begins."""
    match pool.strategy:
        case Strategy.STICK_UNTIL_FAILURE:
            return _stick(pool, items, means, first)
        case Strategy.ROUND_ROBIN:
            places = by_turn([item.model.key for item in items], means.pointers.turns(pool.id))
            return Order(places, [""] * len(items), Track(pool.id, pool.strategy, None))
        case Strategy.SESSION_STICKY if session is not None:
            return _session(pool, items, means, session=session, now=now)
        case Strategy.RATE_LIMIT_AWARE:
            return _headroom(pool, items, means, first=first, now=now)
        case Strategy.CAPACITY_WEIGHTED:
            left = [means.meter.remaining(item.route, item.model.limits, now) for item in items]
            return Order(weighted(left, means.rng), [f"weight {share:.2f}" for share in left])
        case Strategy.COST_FIRST:
            prices = [unit_price(item.model, item.provider) for item in items]
            return Order(by_price(prices), [_priced(price) for price in prices])
        case Strategy.WATERFALL:
            prices = [unit_price(item.model, item.provider) for item in items]
            tiers = [price_tier(item.model, item.provider) for item in items]
            words = [
                f"tier paid, {_priced(price)}" if tier is PriceTier.PAID else f"tier {tier.name.lower()}"
                for tier, price in zip(tiers, prices, strict=True)
            ]
            return Order(by_tier(tiers, prices), words, tiers=tiers)
        case Strategy.LATENCY_FIRST:
            return _latency(items, board, stream=stream, now=now)
        case Strategy.LOAD_BALANCED:
            return _load(items, board, means, stream=stream, now=now)
        case Strategy.QUALITY_FIRST:
            known = means.quality(pool.node)
            scores = [known.get(item.model.key, _UNSCORED) for item in items]
            return Order(by_quality(scores), [_scored(score) for score in scores])
        case _:  # priority, and session_sticky where no session is named
            return Order(list(range(len(items))), [""] * len(items))


_UNSCORED = Quality()


def _stick(pool: Pool, items: Sequence[Entry], means: Means, first: ModelKey) -> Order:
    """Go round the members from the one pointed at; the accounts of each follow their own strategy."""
    sticky = means.pointers.sticky(pool.id)
    keys = [item.model.key for item in items]
    members = list(dict.fromkeys(keys))
    at: int | None = 0 if members[0] == first else None
    if sticky is not None:
        key = ModelKey(sticky.route.provider, sticky.route.model)
        if key in members:
            at = (members.index(key) + sticky.left) % len(members)
        elif key in pool.members:
            at = None
    round_ = dict(zip(members, ring(len(members), at or 0), strict=True))
    words = ["pointer" if at is not None and key == members[at] else "" for key in keys]
    lead = None if at is None else items[keys.index(members[at])].route
    return Order(ranks([round_[key] for key in keys]), words, Track(pool.id, pool.strategy, lead))


def _headroom(pool: Pool, items: Sequence[Entry], means: Means, *, first: ModelKey, now: float) -> Order:
    """Stay with the route pointed at, an account of a model; a pool that points nowhere yet points at its first."""
    sticky = means.pointers.sticky(pool.id)
    at: int | None = 0 if items[0].model.key == first else None
    if sticky is not None:
        found = (place for place, item in enumerate(items) if item.route == sticky.route)
        gone = ModelKey(sticky.route.provider, sticky.route.model) not in pool.members
        at = next(found, at if gone else None)
    spent = [means.meter.spent(item.route, item.model.limits, now) for item in items]
    index = by_headroom(spent, at if sticky is None or not sticky.left else None)
    words = [f"{percent(max(0.0, 1 - share))} of its limits left" for share in spent]
    lead = None if at is None else items[index.index(0)].route
    return Order(index, words, Track(pool.id, pool.strategy, lead))


def _session(pool: Pool, items: Sequence[Entry], means: Means, *, session: str, now: float) -> Order:
    """Send a session where it was, else where its hash says; strict leaves it nowhere else to go."""
    key = blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    bound = means.pointers.session(pool.id, key, now)
    routes = [item.route for item in items]
    index = rendezvous(key, routes)
    held: int | None = index.index(0)
    if bound is not None and bound in routes:
        held = routes.index(bound)
        index = ranks([-1 if at == held else place for at, place in enumerate(index)])
    elif bound is not None and ModelKey(bound.provider, bound.model) in pool.members:
        held = None  # its own route cannot serve this one request; the session stays there all the same
    lead = bound if held is None else routes[held]
    words = ["session" if at == held else "" for at in range(len(items))]
    strict = pool.session_mode is SessionMode.STRICT
    return Order(index, words, Track(pool.id, pool.strategy, lead, key, strict=strict), held, alone=strict)


def _latency(items: Sequence[Entry], board: Speeds, *, stream: bool, now: float) -> Order:
    paces = [board.pace(item.route, stream=stream) for item in items]
    means, penalties = [pace.mean(now) for pace in paces], [pace.penalty(now) for pace in paces]
    what = "ttft" if stream else "latency"
    words = [
        (f"no {what} known" if mean is None else f"{what} {mean:.0f} ms") + (f" × {cost:.1f}" if cost > 1 else "")
        for mean, cost in zip(means, penalties, strict=True)
    ]
    return Order(by_latency(means, penalties), words)


def _load(items: Sequence[Entry], board: Speeds, means: Means, *, stream: bool, now: float) -> Order:
    paces = [board.pace(item.route, stream=stream) for item in items]
    best = min((pace.peak for pace in paces if pace.peak is not None), default=1.0)
    busy = [board.in_flight(item.route) for item in items]
    costs = [pace.cost(now, best) * (count + 1) for pace, count in zip(paces, busy, strict=True)]
    front = min((_bucket(item) for item in items if _ready(item)), default=())
    able = [_ready(item) and _bucket(item) == front for item in items]  # a draw for who stands behind would be wasted
    words = [f"cost {cost:.3g}, {count} in flight" for cost, count in zip(costs, busy, strict=True)]
    return Order(two_choices(costs, able, means.rng), words)


def _ready(item: Entry) -> bool:
    return item.candidate.decision is not Decision.SKIPPED


def _bucket(item: Entry) -> tuple[float, ...]:
    """Return what goes before the strategy in the sort key."""
    return item.candidate.sort_key[:-1]


def _priced(price: float | None) -> str:
    return "price unknown" if price is None else f"{price:g} USD per million tokens"


def _scored(score: Quality) -> str:
    reward = "reward unknown" if score.reward is None else f"reward {score.reward:.2f}"
    return reward if score.passed is None else f"{reward}, pass^k {score.passed:.2f}"
