"""Asks providers what models they have: at the start, every so often, and now for an operator.

Owns when a provider is asked and what its answer does to the overlay. One that is dead, slow or talks nonsense keeps
its last good listing, marked stale, and delays nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from routerconsole.domain.events import EventType, Fact
from routerconsole.domain.listing import NO_CHANGE, Listing, ListingDiff, failed, merge
from routerconsole.providers.client import Target
from routerconsole.providers.dialect import Detail, Page, Undecodable, WireRequest
from routerconsole.providers.listing import MAX_DETAIL, MAX_LISTING
from routerconsole.providers.transport import Timings, TransportError

from .measurements import Measurements
from .overlay_records import listing_record

if TYPE_CHECKING:
    from routerconsole.domain.overlay import Overlay
    from routerconsole.domain.registry import Provider, Registry

    from .service import Service

PARALLEL = 16
"""Providers asked at once; a dead one holds its place for LISTING_S at most."""
QUESTIONS = 4
"""Details asked of one provider at once."""
CONNECT_S = 5.0
LISTING_S = 10.0
DETAILS_S = 30.0
"""For all details of one provider; what is not answered by then stays as it was known."""
JITTER = 0.1
"""Part of the interval a periodic listing is early or late, so that providers are not asked in step."""
AGAIN_S = 30.0
"""After a failure, doubled each time up to the interval: a server started later is found soon."""
IN_THREAD = 64 * 1024
"""Bytes of a listing from which it is read in a thread: 10,000 models take longer than the loop may wait."""
IN_THREAD_MODELS = 500
"""Models of the listings that differ from which the registry is worked out in a thread (10 to 40 µs each)."""
NAMED = 100
"""Ids of each sort an event or audit row names; the counts tell of the rest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What asking one provider came to; `error` says why it failed, `models` how many it is now known to have."""

    provider: str
    diff: ListingDiff = NO_CHANGE
    models: int = 0
    error: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    provider: Provider
    page: Page | None
    error: str = ""


class Discovery:
    """Lists models; a provider being asked is not asked twice at once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._slots = asyncio.Semaphore(PARALLEL)
        self._running: dict[str, asyncio.Task[_Answer]] = {}
        self._answers: dict[str, _Answer] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._asked: dict[str, tuple[object, ...]] = {}
        self._applying = asyncio.Lock()
        self.listing_s, self.details_s = LISTING_S, DETAILS_S
        self.last: dict[str, Outcome] = {}
        self.measurements = Measurements(service)

    def configure(self, registry: Registry) -> None:
        """Follow a new registry: a provider that is new, or has another address or key, is due at once."""
        now = self._service.clock.monotonic()
        due = {}
        for name, provider in registry.providers.items():
            if not (provider.discovery.enabled and provider.enabled and provider.unavailable is None):
                continue
            known = self._asked.get(name) == _way_to(provider)
            at = self._due.get(name, now) if known else now
            due[name] = min(at, now + provider.discovery.interval * (1 + JITTER))
            self._asked[name] = _way_to(provider)
        self._due = due

    def tick(self, now: float) -> None:
        """Ask the providers that are due, and lay over what was answered; what was measured ages."""
        self.measurements.tick(now)
        providers = self._service.registry.providers
        for name, due in list(self._due.items()):
            if now >= due and name in providers:
                self._due[name] = now + self._pause(providers[name])
                self._start(name)
        if self._answers and not self._applying.locked():
            self._service.tasks.start(self._apply(), name="laying listings over")

    async def sync(self, names: Iterable[str] = (), *, dry_run: bool = False) -> tuple[Outcome, ...]:
        """Ask these providers (all that allow it when none are named), wait, and return what changed at each.

        A dry run asks and changes nothing.
        """
        providers = self._service.registry.providers
        wanted = tuple(names) or tuple(name for name, item in providers.items() if item.discovery.enabled)
        if dry_run:
            answers = await asyncio.gather(*(self._list(providers[name]) for name in wanted))
            return tuple(self._merged(answer)[1] for answer in answers)
        await asyncio.gather(*(asyncio.shield(self._start(name)) for name in wanted))
        await self._apply()
        return tuple(self.last[name] for name in wanted if name in self.last)

    def _start(self, name: str) -> asyncio.Task[_Answer]:
        running = self._running.get(name)
        if running is None:
            provider = self._service.registry.providers[name]
            running = self._service.tasks.start(self._list(provider), name=f"listing {name}")
            self._running[name] = running
            running.add_done_callback(lambda task: self._ended(name, task))
        return running

    def _ended(self, name: str, task: asyncio.Task[_Answer]) -> None:
        self._running.pop(name, None)
        if not task.cancelled() and task.exception() is None:
            self._answers[name] = task.result()

    def _pause(self, provider: Provider) -> float:
        """Seconds until the next listing."""
        interval = provider.discovery.interval
        failures = self._failures.get(provider.name, 0)
        if failures:
            interval = min(interval, AGAIN_S * 2.0 ** min(failures - 1, 20))
        return interval * (1 + self._service.rng.uniform(-JITTER, JITTER))

    # --- what an answer does ---

    async def _apply(self) -> None:
        """Lay all answers over, keep them, and tell; where nothing changed nothing is written."""
        async with self._applying:
            while self._answers:
                await self._lay_over(self._batch())
                await asyncio.sleep(0)  # others have their turn between two batches

    def _batch(self) -> dict[str, _Answer]:
        """Take as many answers as make a short piece of work, one at least."""
        batch: dict[str, _Answer] = {}
        models = 0
        for name, answer in list(self._answers.items()):
            models += 0 if answer.page is None else len(answer.page.models)
            if batch and models > IN_THREAD_MODELS:
                break
            batch[name] = self._answers.pop(name)
        return batch

    async def _lay_over(self, answers: Mapping[str, _Answer]) -> None:
        """Lay these answers over at once."""
        service = self._service
        fresh: dict[str, Listing] = {}
        outcomes = []
        for name, answer in answers.items():
            current = service.registry.providers.get(name)
            if current is None or _way_to(current) != _way_to(answer.provider):
                continue  # a reload took it away or pointed it elsewhere meanwhile
            listing, outcome = self._merged(answer)
            self._failures[name] = self._failures.get(name, 0) + 1 if answer.error else 0
            if answer.error and name in self._due:
                self._due[name] = service.clock.monotonic() + self._pause(current)
            outcomes.append(outcome)
            if listing is not None and listing is not service.overlay.listings.get(name):
                fresh[name] = listing
        if sum(len(listing.models) for listing in fresh.values()) > IN_THREAD_MODELS:
            await service.work_out(self._with(fresh))
        if fresh:
            service.lay_over(self._with(fresh))
        now = service.clock.monotonic()
        for name, answer in answers.items():
            if answer.page is not None:
                service.bus.publish_all(service.board.discovered(name, answer.page.models.keys(), now))
        for outcome in outcomes:
            self.last[outcome.provider] = outcome
            if outcome.provider in fresh:
                service.keeper.keep(listing_record(fresh[outcome.provider]))
                told = _told(outcome, fresh[outcome.provider])
                service.bus.publish(Fact(EventType.DISCOVERY_UPDATED, told))

    def _with(self, fresh: Mapping[str, Listing]) -> Overlay:
        """Return the overlay in force with these listings."""
        overlay = self._service.overlay
        return replace(overlay, listings={**overlay.listings, **fresh})

    def _merged(self, answer: _Answer) -> tuple[Listing | None, Outcome]:
        """Return the listing from now on, None where there never was one, and what that changes."""
        name, page = answer.provider.name, answer.page
        previous = self._service.overlay.listings.get(name)
        if page is None:
            kept = previous if previous is not None and previous.stale else failed(previous, answer.error)
            return kept, Outcome(name, models=len(previous.models) if previous else 0, error=answer.error)
        base = self._service.base.providers.get(name, answer.provider)
        fresh = Listing(name, self._service.clock.wall(), page.models, quirks=page.quirks, note=page.note)
        declared = {model.upstream_id for model in base.models}
        declared |= {key.model for key in self._service.overlay.entries if key.provider == name}
        listing, diff = merge(previous, fresh, complete=page.complete, configured=declared)
        policy = answer.provider.discovery
        shown = ListingDiff(
            diff.new if policy.register_new else (), diff.changed, diff.missing if policy.stale_missing else ()
        )
        return listing, Outcome(name, shown, len(listing.models), note=listing.note)

    # --- asking ---

    async def _list(self, provider: Provider) -> _Answer:
        target = self._service.upstreams.target_of(provider)
        if provider.unavailable is not None or target is None:
            broken = self._service.upstreams.broken.get(provider.name, "it cannot be used")
            return _Answer(provider, None, provider.unavailable or broken)
        async with self._slots:
            try:
                async with self._service.pauses.timeout(self.listing_s):
                    body = await self._get(target, target.dialect.list_request(), limit=MAX_LISTING)
                big = len(body) >= IN_THREAD
                decode = target.dialect.decode_listing
                page = await asyncio.to_thread(decode, body) if big else decode(body)
            except TimeoutError:
                return _Answer(provider, None, f"no listing within {self.listing_s:g} s")
            except TransportError as exc:
                return _Answer(provider, None, exc.detail)
            except (_Refused, Undecodable) as exc:
                return _Answer(provider, None, str(exc))
            return _Answer(provider, await self._detailed(target, page))

    async def _detailed(self, target: Target, page: Page) -> Page:
        """Return the page with what its details say; a model whose detail is not told keeps what was known of it."""
        known = self._service.overlay.listings.get(target.provider.name)
        models = dict(page.models)
        for detail in page.details:
            told = None if known is None or detail.model is None else known.told((detail.model,))
            if told is not None and detail.model is not None:
                models[detail.model] = replace(told, id=detail.model)
        questions = asyncio.Semaphore(QUESTIONS)

        async def ask(detail: Detail) -> None:
            async with questions:
                try:
                    body = await self._get(target, detail.wire, limit=MAX_DETAIL)
                    more = target.dialect.decode_detail(detail, body, page.models)
                except (TransportError, _Refused, Undecodable):
                    return
                models.update((model.id, model) for model in more)

        try:
            async with self._service.pauses.timeout(self.details_s):
                await asyncio.gather(*(ask(detail) for detail in page.details))
        except TimeoutError:
            pass  # what came by then is used
        return replace(page, models=models, details=())

    async def _get(self, target: Target, wire: WireRequest, *, limit: int) -> bytes:
        """Return the body of a 2xx answer; raise TransportError or _Refused."""
        answer = await self._service.upstreams.sender.open(target, wire, connect_timeout=CONNECT_S, timings=Timings())
        try:
            if answer.status in (401, 403):
                raise _Refused(f"the upstream answered {answer.status}: check the key")
            if not 200 <= answer.status < 300:
                raise _Refused(f"the model listing answered {answer.status}")
            return await answer.read(limit=limit)
        finally:
            answer.abort()


class _Refused(Exception):
    """An answer that is no listing."""


def receipt(outcomes: Iterable[Outcome], *, named: int | None = None) -> dict[str, Any]:
    """Return what a sync found as JSON-ready data, ids as `provider/model`; `named` bounds how many of each sort."""
    found = tuple(outcomes)
    after: dict[str, Any] = {
        sort: [f"{item.provider}/{id_}" for item in found for id_ in getattr(item.diff, sort)][:named]
        for sort in ("new", "changed", "missing")
    }
    after["providers"] = {
        item.provider: {
            "status": "failed" if item.error else "ok",
            "models": item.models,
            "stale": bool(item.error and item.models),
            "detail": item.error or item.note,
        }
        for item in found
    }
    return after


def _told(outcome: Outcome, listing: Listing) -> Mapping[str, Any]:
    """What an event says of a listing; the ids of the first hundred of each sort."""
    diff = outcome.diff
    return {
        "provider": outcome.provider,
        "new": list(diff.new[:NAMED]),
        "changed": list(diff.changed[:NAMED]),
        "missing": list(diff.missing[:NAMED]),
        "counts": {"new": len(diff.new), "changed": len(diff.changed), "missing": len(diff.missing)},
        "models": outcome.models,
        "stale": listing.stale,
        "detail": outcome.error or outcome.note,
    }


def _way_to(provider: Provider) -> tuple[object, ...]:
    """Return what a listing is asked through."""
    return provider.kind, provider.base_url, provider.accounts, provider.headers, provider.proxy, provider.ca_file
