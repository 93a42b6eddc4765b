"""How much of its limits a route has used: requests and tokens of the last minute and of the UTC day.

Counted on attempts sent, for every route: a limit that is set later finds its count. Nothing here refuses anything.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from routerconsole.domain.route import Route

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from routerconsole.domain.registry import Limits, Registry

WINDOW_S = 60
"""Seconds of a sliding minute; counted in whole seconds, so an attempt is held for up to one second longer."""
DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


class Used(NamedTuple):
    """What counts against the four limits now."""

    rpm: int = 0
    tpm: int = 0
    rpd: int = 0
    tpd: int = 0


_NOTHING = Used()


class Charge:
    """One attempt in the books: its tokens are an estimate until the answer says how many they were."""

    __slots__ = ("counter", "day", "second", "tokens")

    def __init__(self, counter: _Counter, second: int, day: int, tokens: int) -> None:
        self.counter, self.second, self.day, self.tokens = counter, second, day, tokens

    def known(self, tokens: int) -> None:
        """Put what was really used in place of the estimate."""
        self.counter.correct(self, 0, tokens - self.tokens)
        self.tokens = tokens

    def unsent(self) -> None:
        """Take it back: the request never reached its upstream."""
        self.counter.correct(self, -1, -self.tokens)
        self.tokens = 0


class _Counter:
    """One route's books: [second, requests, tokens] of the last minute with their sums, and the day's."""

    __slots__ = ("day", "requests", "requests_today", "seconds", "tokens", "tokens_today", "touched")

    def __init__(self, day: int) -> None:
        self.seconds: deque[list[int]] = deque()
        self.requests = self.tokens = 0
        self.day, self.requests_today, self.tokens_today = day, 0, 0
        self.touched = False

    def add(self, second: int, day: int, tokens: int) -> None:
        """Count one attempt."""
        seconds = self.seconds
        if seconds and seconds[-1][0] == second:
            last = seconds[-1]
            last[1] += 1
            last[2] += tokens
        else:
            self.expire(second)
            seconds.append([second, 1, tokens])
        self.requests += 1
        self.tokens += tokens
        if self.day != day:
            self.day, self.requests_today, self.tokens_today = day, 0, 0
        self.requests_today += 1
        self.tokens_today += tokens
        self.touched = True

    def correct(self, charge: Charge, requests: int, tokens: int) -> None:
        """Change an attempt's part of the sums it is still in."""
        for entry in reversed(self.seconds):
            if entry[0] == charge.second:
                entry[1] += requests
                entry[2] += tokens
                self.requests += requests
                self.tokens += tokens
                break
            if entry[0] < charge.second:
                break
        if self.day == charge.day:
            self.requests_today += requests
            self.tokens_today += tokens
            self.touched = True

    def expire(self, second: int) -> None:
        """Forget what is older than a minute."""
        while self.seconds and self.seconds[0][0] < second - WINDOW_S:
            _, requests, tokens = self.seconds.popleft()
            self.requests -= requests
            self.tokens -= tokens


class Meter:
    """The books of all routes; one per engine. `now` is monotonic, `wall` UTC epoch seconds."""

    __slots__ = ("_counters", "_day")

    def __init__(self) -> None:
        self._counters: dict[Route, _Counter] = {}
        self._day = 0

    def sent(self, route: Route, tokens: int, now: float, wall: float) -> Charge:
        """Count an attempt that goes out now, with the tokens it is expected to take."""
        second, day = int(now), int(wall // DAY_S)
        self._day = day
        counter = self._counters.get(route)
        if counter is None:
            counter = self._counters[route] = _Counter(day)
        counter.add(second, day, tokens)
        return Charge(counter, second, day, tokens)

    def turn(self, wall: float) -> None:
        """Let a new UTC day begin, also where nothing is sent."""
        self._day = int(wall // DAY_S)

    def used(self, route: Route, now: float) -> Used:
        """Return what counts against a route's limits now."""
        counter = self._counters.get(route)
        if counter is None:
            return _NOTHING
        counter.expire(int(now))
        today = counter.day == self._day
        return Used(
            counter.requests,
            counter.tokens,
            counter.requests_today if today else 0,
            counter.tokens_today if today else 0,
        )

    def spent(self, route: Route, limits: Limits, now: float) -> float:
        """Return the largest used share of any limit, 0.0 without limits; over 1.0 where more was sent than allowed."""
        counter = self._counters.get(route)
        if counter is None:
            return 0.0
        counter.expire(int(now))
        most = 0.0
        if limits.rpm is not None:
            most = counter.requests / (limits.rpm or 1)
        if limits.tpm is not None:
            most = max(most, counter.tokens / (limits.tpm or 1))
        if counter.day == self._day:
            if limits.rpd is not None:
                most = max(most, counter.requests_today / (limits.rpd or 1))
            if limits.tpd is not None:
                most = max(most, counter.tokens_today / (limits.tpd or 1))
        return most

    def remaining(self, route: Route, limits: Limits, now: float) -> float:
        """Return the smallest share left of any limit: 1.0 without limits, 0.0 used up (C1-43)."""
        return max(0.0, 1.0 - self.spent(route, limits, now))

    def short(self, route: Route, limits: Limits, tokens: int, now: float) -> str:
        """Say with numbers which limits one more request of so many tokens would break; empty where none."""
        used = self.used(route, now)
        told = []
        if limits.rpm is not None and used.rpm >= limits.rpm:
            told.append(f"rpm {used.rpm}/{limits.rpm}")
        if limits.tpm is not None and used.tpm + tokens > limits.tpm:
            told.append(_tokens("tpm", used.tpm, limits.tpm, tokens))
        if limits.rpd is not None and used.rpd >= limits.rpd:
            told.append(f"rpd {used.rpd}/{limits.rpd}")
        if limits.tpd is not None and used.tpd + tokens > limits.tpd:
            told.append(_tokens("tpd", used.tpd, limits.tpd, tokens))
        return ", ".join(told)

    def follow(self, registry: Registry) -> None:
        """Forget the routes of models that are gone."""
        gone = [route for route in self._counters if (route.provider, route.model) not in registry.models]
        for route in gone:
            del self._counters[route]

    def records(self, daily: Collection[Route]) -> Iterator[tuple[Route, dict[str, Any]]]:
        """Yield the day's counts that changed since last asked, of the routes that have daily limits; JSON-ready."""
        for route, counter in self._counters.items():
            if counter.touched:
                counter.touched = False
                if route in daily:
                    yield (
                        route,
                        {
                            "date": date.fromordinal(_EPOCH + counter.day).isoformat(),
                            "requests": counter.requests_today,
                            "tokens": counter.tokens_today,
                        },
                    )

    def restore(self, route: Route, found: Mapping[str, Any], wall: float) -> bool:
        """Take a day's counts back, added to what was counted since; return whether they are of the present UTC day.

        Raises KeyError, TypeError or ValueError for what is no record of ours.
        """
        day = date.fromisoformat(found["date"]).toordinal() - _EPOCH
        requests, tokens = _count(found["requests"]), _count(found["tokens"])
        self._day = int(wall // DAY_S)
        if day != self._day:
            return False
        counter = self._counters.setdefault(route, _Counter(day))
        if counter.day != day:
            counter.day, counter.requests_today, counter.tokens_today = day, 0, 0
        counter.requests_today += requests
        counter.tokens_today += tokens
        return True


def percent(share: float) -> str:
    """Return a share of what is left as people read it; what is not quite used up never shows as 0."""
    return f"{math.ceil(share * 100)} %"


def _tokens(name: str, used: int, limit: int, needed: int) -> str:
    return f"{name} {used}/{limit}" + (f" and {needed} needed" if used < limit else "")


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value
