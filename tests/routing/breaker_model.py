"""The breaker's rules told another way; shares no code with the breaker."""

from __future__ import annotations

from routerconsole.domain.policy import CircuitPolicy


class Model:
    """The rules of §5 told another way: a list of outcomes, a list of probes, no shared code with the breaker."""

    def __init__(self, policy: CircuitPolicy) -> None:
        self.policy = policy
        self.state, self.epoch = "closed", 0
        self.streak, self.good = 0, 0
        self.outcomes: list[tuple[int, bool]] = []
        self.probes: dict[object, tuple[float, bool]] = {}
        self.lost = 0
        self.k, self.closed_at = 0, float("-inf")

    def move(self, state: str) -> None:
        self.state, self.epoch = state, self.epoch + 1
        self.good, self.lost = 0, 0
        self.probes = {}

    def admit(self, now: float, due: float) -> str:
        """Answer yes, probe, no or reopen (a probe lost twice)."""
        if self.state == "closed":
            return "yes"
        if self.state == "open":
            if now < due:
                return "no"
            self.move("half_open")
        late = [key for key, (expires, _) in self.probes.items() if expires <= now]
        for key in late:
            if self.probes[key][1]:
                self.open(now, tripped=False)
                return "reopen"
            del self.probes[key]
            self.lost += 1
        return "no" if len(self.probes) >= self.policy.half_open_concurrency else "probe"

    def lease(self, key: object, expires: float) -> None:
        self.probes[key] = (expires, self.lost > 0)
        self.lost = max(0, self.lost - 1)

    def end(self, key: object, *, epoch: int, probe: bool, how: str, now: float) -> None:
        if epoch != self.epoch or (probe and key not in self.probes):
            return
        self.probes.pop(key, None)
        if how == "abandoned":
            return
        if self.state == "half_open":
            if how == "failed":
                self.open(now, tripped=False)
            else:
                self.good += 1
                if self.good >= self.policy.half_open_max_calls:
                    self.close(now)
            return
        step = self.policy.window / 60
        self.outcomes.append((int(now // step), how == "failed"))
        self.outcomes = [item for item in self.outcomes if item[0] >= int(now // step) - 60]
        self.streak = self.streak + 1 if how == "failed" else 0
        bad = sum(failed for _, failed in self.outcomes)
        rate_over = len(self.outcomes) >= self.policy.min_samples and bad / len(self.outcomes) >= 0.5
        if how == "failed" and (self.streak >= self.policy.failure_threshold or rate_over):
            self.open(now, tripped=True)

    def open(self, now: float, *, tripped: bool) -> None:
        if tripped and now - self.closed_at >= 600:
            self.k = 0
        self.move("open")
        self.k += 1

    def close(self, now: float) -> None:
        self.move("closed")
        self.streak, self.outcomes, self.closed_at = 0, [], now

    def reset(self) -> None:
        self.close(float("-inf"))
        self.k = 0
