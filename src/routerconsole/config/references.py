"""Finds what refers to nothing, to itself or in circles: pool members, profile fallbacks, agents' targets, the judge.

Works on the raw document, so that one run shows these problems next to all others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from .problems import SHOWN, Loc, Problem, Severity, dotted
from .yaml_loader import Document, Value

MAX_CHAIN = 32
"""Profiles in one fallback chain: far more than anyone can follow, and a bound on the work per request."""
_COMPARED = 500
_AUTO = "auto"
_PRICES = ("free", "local")
_WORD_PREFIXES = ("router/", "router__", "llmproxy/", "llmproxy__")


def mappings(value: object) -> Iterator[tuple[int, Mapping[str, Value]]]:
    """Yield the mappings of a list with their indexes; whatever else stands there is reported by the models."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, dict))


def texts(value: object) -> Iterator[tuple[int, str]]:
    """Yield the texts of a list with their indexes."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, str))


@dataclass(slots=True)
class _Declared:
    """What a document declares: names by their lower-case form."""

    models: dict[str, set[str]] = field(default_factory=dict)
    every_model: set[str] = field(default_factory=set)
    discovers: set[str] = field(default_factory=set)
    explicit: set[str] = field(default_factory=set)
    pools: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, int] = field(default_factory=dict)


def check_references(document: Document, data: Mapping[str, Value], words: Iterable[str]) -> list[Problem]:
    """Return every dangling, circular or repeated reference as a problem; `words` are what may follow `router/`."""
    return _References(document, data, frozenset(word.casefold() for word in words)).run()


class _References:
    def __init__(self, document: Document, data: Mapping[str, Value], words: frozenset[str]) -> None:
        self._document, self._data, self._words = document, data, words
        self._found: list[Problem] = []
        self._known = _declared(data)
        self._suggested = 0

    def run(self) -> list[Problem]:
        for index, pool in mappings(self._data.get("pools")):
            self._members(("pools", index, "members"), pool.get("members"))
        self._profiles()
        agents = self._data.get("agents")
        for name, target in agents.items() if isinstance(agents, dict) else ():
            if isinstance(target, str):
                self._agent(("agents", name), target)
        reward = self._data.get("reward")
        judge = reward.get("model") if isinstance(reward, dict) else None
        listed = isinstance(judge, str) and "/" not in judge and bool(self._known.discovers)  # an id alone may come yet
        if isinstance(judge, str) and judge and judge not in self._known.every_model and not listed:
            self._agent(("reward", "model"), judge)
        return self._found

    def _say(self, loc: Loc, message: str, *, awaits: tuple[str, str] | None = None) -> None:
        """Report an error, or a warning where it ends once a listing shows what it awaits."""
        line, severity = self._document.root.line_of(loc), Severity.WARNING if awaits else Severity.ERROR
        self._found.append(Problem(self._document.file, line, dotted(loc), message, severity, awaits))

    def _members(self, loc: Loc, members: object) -> None:
        seen: dict[tuple[str, str], int] = {}
        for index, member in texts(members):
            here = (*loc, index)
            provider, slash, model = member.partition("/")
            if not slash or not model:
                self._say(here, f"{member[:60]!r} is not a provider/model" + self._suggest_model(member))
                continue
            earlier = seen.setdefault((provider.lower(), model), index)
            if earlier != index:
                lines = [self._document.root.line_of((*loc, place)) for place in (earlier, index)]
                self._say(here, f"{member[:60]!r} is a member twice, on lines {lines[0]} and {lines[1]} (keep one)")
            self._model(here, provider, model, discovered=self._known.discovers)

    def _model(self, loc: Loc, provider: str, model: str, *, discovered: set[str]) -> None:
        """Report a model nobody declares: an error, or a warning where a listing may still show it."""
        name = provider.lower()
        known = self._known.models.get(name)
        if known is None:
            close = self._near(name, self._known.models)
            self._say(loc, f"no provider is named {provider[:60]!r}{close}")
        elif model not in known:
            if name in discovered:
                text = f"{provider}/{model[:60]} is not declared; it has no route until the provider lists it"
                self._say(loc, text, awaits=(name, model))
            else:
                self._say(loc, f"provider {provider!r} declares no model {model[:60]!r}{self._near(model, known)}")

    def _suggest_model(self, text: str) -> str:
        both = ((provider, model) for provider, models in self._known.models.items() for model in models)
        some = [*islice(both, _COMPARED)] if self._suggested < SHOWN else []
        same = next((f"{provider}/{model}" for provider, model in some if model == text), None)
        if same is not None:
            return f"; did you mean {same!r}?"
        return self._near(text, (f"{provider}/{model}" for provider, model in some))

    def _near(self, name: str, known: Iterable[str]) -> str:
        """Return a suggestion as text; for the first problems only, and among so many names, as the search is slow."""
        if self._suggested >= SHOWN:
            return ""
        self._suggested += 1
        close = difflib.get_close_matches(name[:100], [*islice(known, _COMPARED)], n=1, cutoff=0.5)
        return f"; did you mean {close[0]!r}?" if close else ""

    def _profiles(self) -> None:
        links: dict[str, list[str]] = {}
        where: dict[str, Loc] = {}
        for index, profile in mappings(self._data.get("profiles")):
            loc = ("profiles", index)
            provider, model, own = profile.get("provider"), profile.get("model"), profile.get("id")
            if isinstance(provider, str) and isinstance(model, str):
                at = "provider" if provider.lower() not in self._known.models else "model"
                self._model((*loc, at), provider, model, discovered=self._lenient())
            for place, target in texts(profile.get("fallback_models")):
                here = (*loc, "fallback_models", place)
                if f"{provider}/{model}".lower() == target.lower():
                    self._say(here, f"{target[:60]!r} is the profile's own model (remove it)")
                else:
                    self._fallback_model(here, target)
            if isinstance(own, str) and own.lower() not in links:
                name = own.lower()
                where[name] = (*loc, "fallback_profiles")
                links[name] = self._fallback_profiles(where[name], name, profile.get("fallback_profiles"))
        self._chains(links, where)

    def _lenient(self) -> set[str]:
        """Providers whose undeclared models may be named outside pools: discovery written, or no model declared."""
        silent = {name for name, models in self._known.models.items() if not models}
        return self._known.discovers & (self._known.explicit | silent)

    def _fallback_model(self, loc: Loc, target: str) -> None:
        provider, _, model = target.partition("/")
        if model and provider.lower() in self._known.models:
            self._model(loc, provider, model, discovered=self._lenient())
        elif target not in self._known.every_model:
            self._say(loc, f"no provider declares the model {target[:60]!r}{self._suggest_model(target)}")

    def _fallback_profiles(self, loc: Loc, own: str, fallbacks: object) -> list[str]:
        valid: list[str] = []
        for place, target in texts(fallbacks):
            here = (*loc, place)
            if target.lower() == own:
                self._say(here, f"{target!r} is its own fallback (remove it)")
            elif target.lower() not in self._known.profiles:
                self._say(here, f"no profile is named {target[:60]!r}{self._near(target, self._known.profiles)}")
            else:
                valid.append(target.lower())
        return valid

    def _chains(self, links: Mapping[str, Sequence[str]], where: Mapping[str, Loc]) -> None:
        """Report each circle once, and one chain that is too long; its own stack, as chains may be very long."""
        depth: dict[str, int] = {}
        longest: str | None = None
        circular = False
        for start in links:
            path: list[str] = [start] if start not in depth else []
            rest = {start: iter(links[start])}
            while path:
                name = path[-1]
                following = next(rest[name], None)
                if following is None:
                    depth[path.pop()] = 1 + max((depth.get(link, 0) for link in links[name]), default=0)
                    if depth[name] > MAX_CHAIN and longest is None:
                        longest = name
                elif following in rest and following not in depth:
                    circular = True
                    circle = [*path[path.index(following) :], following]
                    self._say(where[name], f"the fallbacks go in a circle: {_arrow(circle)} (remove one)")
                elif following not in depth:
                    rest[following] = iter(links.get(following, ()))
                    path.append(following)
        if longest is not None and not circular:
            self._say(where[longest], f"starts a fallback chain of more than {MAX_CHAIN} profiles (shorten it)")

    def _agent(self, loc: Loc, target: str) -> None:
        name = target.lower()
        prefix = next((each for each in _WORD_PREFIXES if name.startswith(each)), None)
        if prefix is not None:
            self._virtual(loc, target, name.removeprefix(prefix).replace("__", "/"))
            return
        if name == _AUTO or name in self._words or name in self._known.profiles or name in self._known.pools:
            return
        provider, slash, model = target.partition("/")
        if slash and provider.lower() in self._known.models:
            self._model(loc, provider, model, discovered=self._known.discovers)
            return
        close = self._near(name, chain(self._known.profiles, self._known.pools))
        none = "" if self._known.profiles or close else " (no profile is configured)"
        self._say(loc, f"{target[:60]!r} is no profile, pool or provider/model{close}{none}")

    def _virtual(self, loc: Loc, target: str, rest: str) -> None:
        """Report a virtual model whose word or suffix there is not."""
        word, _, price = rest.partition("/")
        if word not in self._words:
            self._say(loc, f"{target[:60]!r} names no capability word or tier{self._near(word, sorted(self._words))}")
        elif price not in ("", *_PRICES):
            self._say(loc, f"{target[:60]!r} may only end in {' or '.join('/' + each for each in _PRICES)}")


def _declared(data: Mapping[str, Value]) -> _Declared:
    known = _Declared()
    for _, provider in mappings(data.get("providers")):
        name = provider.get("name")
        if not isinstance(name, str):
            continue
        models = known.models.setdefault(name.lower(), set())
        listed = (entry.get("id") for _, entry in mappings(provider.get("models")))
        models.update(model for model in listed if isinstance(model, str))
        known.every_model |= models
        discovery = provider.get("discovery")
        if not isinstance(discovery, dict) or discovery.get("enabled") is not False:
            known.discovers.add(name.lower())
        if isinstance(discovery, dict) and discovery.get("enabled") is True:
            known.explicit.add(name.lower())
    for _, pool in mappings(data.get("pools")):
        if isinstance(own := pool.get("id"), str):
            known.pools.setdefault(own.lower(), own)
    for index, profile in mappings(data.get("profiles")):
        if isinstance(own := profile.get("id"), str):
            known.profiles.setdefault(own.lower(), index)
    return known


def _arrow(names: list[str]) -> str:
    shown = names if len(names) <= 6 else [*names[:3], "…", *names[-2:]]
    return " → ".join(shown)
