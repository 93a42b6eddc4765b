"""Rules between settings: duplicate ids, addresses, credentials, capability names, thresholds in contradiction.

Works on the raw document, so that one run shows these problems next to those of single fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from routerconsole.domain.address import is_local
from routerconsole.domain.capability import NODE_OF, SHIPPED_NODES, CapabilityTree, UnknownCapability
from routerconsole.domain.redact import PLACEHOLDERS
from routerconsole.domain.registry import AUTO_POOL, Tier

from .fields import MAX_EXTENSIONS, RESERVED, parse_duration
from .problems import SHOWN, Loc, Problem, Severity, dotted
from .references import mappings, texts
from .secrets import is_literal, names_in, subscription_token, syntax_error
from .tools import doubtful_tools, wrong_tools
from .urls import check_proxy, normalise_base_url
from .yaml_loader import Document, Value

_SEGMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_WILDCARDS = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104 - recognised in order to be refused
_NEEDS_PATH = frozenset({"gguf", "safetensors"})
_SUBSCRIBED = "holds a subscription token (sk-ant-oat…), which is refused: use an API key"
SPOKEN_FOR = frozenset({AUTO_POOL, "free", "local", *(tier.value for tier in Tier), *RESERVED})
"""A word of one's own becomes a pool and `router/<word>`: these stand for something else there."""


def section(data: Mapping[str, Value], *path: str) -> Mapping[str, Value]:
    """Return a nested mapping, empty where it is missing or no mapping."""
    at: object = data
    for part in path:
        at = at.get(part) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else {}


def check_rules(document: Document, data: Mapping[str, Value]) -> list[Problem]:
    """Return every broken rule, warnings included."""
    return _Checks(document, data).run()


def declared_tree(data: Mapping[str, Value]) -> CapabilityTree:
    """Return the shipped tree with the extensions and aliases of a document that are sound."""
    capabilities = section(data, "capabilities")
    extend = frozenset(text for _, text in _extensions(data) if _sound(text))
    bare = CapabilityTree(extensions=extend)
    aliases: dict[str, str] = {}
    for word, target in section(capabilities, "aliases").items():
        try:
            aliases[word] = bare.resolve(str(target))
        except UnknownCapability:
            continue
    return CapabilityTree(extensions=extend, aliases=aliases)


def _extensions(data: Mapping[str, Value]) -> list[tuple[int, str]]:
    """Return the declared nodes with their indexes; those over the limit are reported by the models."""
    return list(texts(section(data, "capabilities").get("extend")))[:MAX_EXTENSIONS]


def _sound(path: str) -> bool:
    return all(_SEGMENT.fullmatch(part) for part in path.split("."))


class _Checks:
    def __init__(self, document: Document, data: Mapping[str, Value]) -> None:
        self._document, self._data = document, data
        self._found: list[Problem] = []
        self._tree = declared_tree(data)
        self._providers = {str(entry.get("name")).lower() for _, entry in mappings(data.get("providers"))}
        self._unknown_nodes = 0

    def run(self) -> list[Problem]:
        self._server()
        self._capabilities()
        self._circuit(("routing", "circuit"), section(self._data, "routing", "circuit"))
        self._ordered(("routing", "retry"), section(self._data, "routing", "retry"), "base_delay", "max_delay")
        for kind, key in (("providers", "name"), ("pools", "id"), ("profiles", "id")):
            self._unique((kind,), key, self._data.get(kind))
        for index, provider in mappings(self._data.get("providers")):
            self._provider(("providers", index), provider)
        for index, pool in mappings(self._data.get("pools")):
            self._pool(("pools", index), pool)
        for loc, wrong in wrong_tools(self._data.get("pools")):
            self._say(loc, wrong)
        for loc, doubtful in doubtful_tools(self._data.get("pools")):
            self._warn(loc, doubtful)
        self._one_default(("profiles",), self._data.get("profiles"))
        votes = section(self._data, "reward").get("votes", 1)
        if isinstance(votes, int) and votes % 2 == 0:
            self._say(("reward", "votes"), f"{votes} votes may tie (write an odd number)")
        return self._found

    def _say(self, loc: Loc, message: str, severity: Severity = Severity.ERROR) -> None:
        line = self._document.root.line_of(loc)
        self._found.append(Problem(self._document.file, line, dotted(loc), message, severity))

    def _warn(self, loc: Loc, message: str) -> None:
        self._say(loc, message, Severity.WARNING)

    def _server(self) -> None:
        server = section(self._data, "server")
        host = server.get("host", "127.0.0.1")
        if not isinstance(host, str):
            return
        if not host.strip() or any(char.isspace() or char in "/@?#" for char in host):
            self._say(("server", "host"), "is no host name or address (write 127.0.0.1)")
        elif host in _WILDCARDS and not server.get("allowed_hosts"):
            text = "listens on every address, which needs server.allowed_hosts (list the names clients use)"
            self._say(("server", "host"), text)
        if server.get("auth") == "loopback_open" and not is_local(host):
            self._say(("server", "auth"), "loopback_open needs a loopback server.host (write auth: required)")

    def _capabilities(self) -> None:
        capabilities = section(self._data, "capabilities")
        extend = [text for _, text in _extensions(self._data)]
        for index, path in _extensions(self._data):
            self._extension(("capabilities", "extend", index), path, extend)
        taken = self._tree.nodes | {node.rpartition(".")[2] for node in self._tree.nodes}
        for word, target in section(capabilities, "aliases").items():
            loc = ("capabilities", "aliases", word)
            if word in NODE_OF or word in taken:
                self._say(loc, f"{word!r} already means a capability (choose another word)")
            elif word.casefold() in SPOKEN_FOR or "/" in word or "__" in word:
                self._say(loc, f"{word[:60]!r} has a meaning of its own in `model` (choose another word)")
            if isinstance(target, str):
                self._node(loc, target, CapabilityTree(extensions=self._tree.extensions))

    def _extension(self, loc: Loc, path: str, extend: list[str]) -> None:
        parent, _, leaf = path.rpartition(".")
        known = SHIPPED_NODES | set(extend)
        if not _sound(path):
            self._say(loc, f"{path[:60]!r} is no capability path (lower-case words and '-', joined by dots)")
        elif path in SHIPPED_NODES:
            self._say(loc, f"{path!r} is already in the tree (remove it)")
        elif extend.count(path) > 1 and extend.index(path) != loc[-1]:
            self._say(loc, f"{path!r} is listed twice (keep one)")
        elif parent and parent not in known:
            self._node(loc, parent, CapabilityTree())
        elif leaf in NODE_OF or leaf in SPOKEN_FOR:
            self._say(loc, f"{leaf!r} has a meaning of its own in `model` (choose another name)")
        elif twin := next((node for node in sorted(known) if node != path and node.rpartition(".")[2] == leaf), None):
            self._say(loc, f"{leaf!r} would stand under two parents, here and as {twin!r} (choose another name)")

    def _node(self, loc: Loc, name: str, tree: CapabilityTree | None = None) -> str | None:
        if self._unknown_nodes >= SHOWN:
            return None  # finding the nearest name is slow, and nobody reads that many
        try:
            return (tree or self._tree).resolve(name)
        except UnknownCapability as error:
            self._unknown_nodes += 1
            declare = "" if error.ambiguous else " (declare new ones under capabilities.extend)"
            self._say(loc, f"{error}{'?' if error.choices and not error.ambiguous else ''}{declare}")
            return None

    def _circuit(self, loc: Loc, circuit: Mapping[str, Value]) -> None:
        self._ordered(loc, circuit, "recovery_timeout", "recovery_cap")
        calls, leases = circuit.get("half_open_max_calls"), circuit.get("half_open_concurrency")
        if isinstance(calls, int) and isinstance(leases, int) and leases > calls:
            self._warn(
                (*loc, "half_open_concurrency"), f"is more than half_open_max_calls ({calls}); {calls} is enough"
            )

    def _ordered(self, loc: Loc, values: Mapping[str, Value], low: str, high: str) -> None:
        """Refuse two written durations in the wrong order; a default gives way to the one that was written."""
        try:
            least, most = parse_duration(values[low]), parse_duration(values[high])
        except (KeyError, ValueError):
            return
        if most < least:
            self._say((*loc, high), f"must be at least {low} ({least:g}s)")

    def _unique(self, loc: Loc, key: str, entries: object) -> None:
        """Refuse two ids that differ in nothing but upper and lower case."""
        first: dict[str, tuple[str, int]] = {}
        for index, entry in mappings(entries):
            value = entry.get(key)
            if not isinstance(value, str):
                continue
            here = (*loc, index, key)
            line = self._document.root.line_of(here)
            name = value.casefold()
            if name not in first:
                first[name] = (value, line)
                continue
            earlier, at = first[name]
            like = "" if earlier == value else f" (there as {earlier!r}; upper and lower case count as the same)"
            self._say(here, f"{value[:60]!r} is used twice, on lines {at} and {line}{like}; rename one")

    def _one_default(self, loc: Loc, entries: object) -> None:
        flagged = [index for index, entry in mappings(entries) if entry.get("default") is True]
        for index in flagged[1:]:
            first = self._document.root.line_of((*loc, flagged[0], "default"))
            line = self._document.root.line_of((*loc, index, "default"))
            self._say((*loc, index, "default"), f"a second default, on lines {first} and {line} (keep one)")

    def _provider(self, loc: Loc, provider: Mapping[str, Value]) -> None:
        self._base_url(loc, provider)
        self._credentials(loc, provider)
        self._templates(loc, provider)
        self._circuit((*loc, "circuit"), section(provider, "circuit"))
        models = provider.get("models")
        self._unique((*loc, "models"), "id", models)
        self._one_default((*loc, "models"), models)
        for index, model in mappings(models):
            self._model((*loc, "models", index), model)

    def _base_url(self, loc: Loc, provider: Mapping[str, Value]) -> None:
        raw, kind = provider.get("base_url"), str(provider.get("kind"))
        if raw is None:
            if kind == "openai_compatible":
                self._say((*loc, "base_url"), "is missing (write base_url: http://host:port)")
        elif isinstance(raw, str):
            wrong = syntax_error(raw, references=raw.startswith("env:"))
            if wrong is None and (raw.startswith("env:") or not is_literal(raw)):
                return
            try:
                normalise_base_url(raw, kind)
            except ValueError as error:
                self._say((*loc, "base_url"), wrong or str(error))

    def _credentials(self, loc: Loc, provider: Mapping[str, Value]) -> None:
        accounts = provider.get("accounts")
        if provider.get("api_key") is not None and accounts:
            self._say((*loc, "accounts"), "stands next to api_key (keep one of the two)")
        self._unique((*loc, "accounts"), "name", accounts)
        keys: list[tuple[Loc, object]] = [((*loc, "api_key"), provider.get("api_key"))]
        keys += [((*loc, "accounts", index, "api_key"), entry.get("api_key")) for index, entry in mappings(accounts)]
        for here, raw in keys:
            if isinstance(raw, str):
                self._key(here, raw)

    def _key(self, loc: Loc, raw: str) -> None:
        wrong = syntax_error(raw)
        if wrong is not None:
            self._say(loc, wrong)
        elif subscription_token(raw) and not raw.startswith("file:"):  # a file may be called anything
            self._say(loc, _SUBSCRIBED)
        elif is_literal(raw) and raw and raw.lower() not in PLACEHOLDERS:
            self._warn(loc, "the key stands here in plain text (move it to the environment and write env:NAME)")

    def _templates(self, loc: Loc, provider: Mapping[str, Value]) -> None:
        for name, value in section(provider, "headers").items():
            if isinstance(value, str) and (wrong := syntax_error(value)):
                self._say((*loc, "headers", name), wrong)
            elif isinstance(value, str) and subscription_token(value):
                self._say((*loc, "headers", name), _SUBSCRIBED)
            elif (
                isinstance(value, str) and is_literal(value) and any(not (c.isprintable() or c == "\t") for c in value)
            ):
                self._say((*loc, "headers", name), "must not contain line breaks or control characters")
        proxy = provider.get("proxy")
        if isinstance(proxy, str):
            wrong = syntax_error(proxy)
            if wrong is None and is_literal(proxy):
                try:
                    check_proxy(proxy)
                except ValueError as error:
                    wrong = str(error)
            if wrong is not None:
                self._say((*loc, "proxy"), wrong)
        ca_file = provider.get("ca_file")
        if isinstance(ca_file, str) and (wrong := syntax_error(ca_file, references=False)):
            self._say((*loc, "ca_file"), wrong)

    def _model(self, loc: Loc, model: Mapping[str, Value]) -> None:
        said: dict[str, tuple[str, bool]] = {}
        for index, word in texts(model.get("capabilities")):
            here = (*loc, "capabilities", index)
            node = self._node(here, word.removeprefix("-"))
            if node is None:
                continue
            earlier = said.setdefault(node, (word, not word.startswith("-")))
            if earlier[1] is word.startswith("-"):
                self._say(here, f"{word!r} contradicts {earlier[0]!r} (keep one)")
        path, form = model.get("path"), model.get("format")
        if form in _NEEDS_PATH and path is None:
            self._say((*loc, "path"), f"is missing (format {form} needs the file)")
        if isinstance(path, str) and not path.startswith("/") and ".." in path.split("/"):
            self._say((*loc, "path"), "leaves registry.weights_dir (write a path below it)")

    def _pool(self, loc: Loc, pool: Mapping[str, Value]) -> None:
        node = pool.get("node")
        if node is None and not pool.get("members"):
            self._say(loc, "has neither node nor members (write at least one)")
        if isinstance(node, str):
            self._node((*loc, "node"), node)
        for key in ("providers", "exclude_providers"):
            for index, name in texts(section(pool, "filter").get(key)):
                if name != "*" and name.lower() not in self._providers:
                    self._say((*loc, "filter", key, index), f"no provider is named {name[:60]!r}")


def unset_variables(raw: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of a reference or template that are unset or empty and have no default."""
    return tuple(name for name in names_in(raw) if not env.get(name) and f"${{{name}:-" not in raw)
