"""The grammar of the registry's groups: models, capabilities, pools, profiles."""

from __future__ import annotations

import argparse

from routerconsole.cli.grammar import Adder, count, dry_run, option, plain, runs, verbs, words

_ROLES = ("general", "reward", "teacher", "judge")
_FORMATS = ("api", "ollama", "gguf", "safetensors", "hf")
_TIERS = ("exploratory", "standard", "deep")
_LIMITS = ("rpm", "rpd", "tpm", "tpd")


def registry_groups(add: Adder) -> None:
    """Add the four groups."""
    _models(add)
    verb = verbs(add("capabilities", "the tree of what models can do"))
    runs(verb("tree", "every node with how many models have it", plain()), "capabilities", "tree")
    node = option("node", metavar="NODE", help="a word, a path, or the last part of one")
    runs(verb("show", "who says yes or no of a node", node, plain()), "capabilities", "show")
    new = option("node", metavar="NODE", help="the new path, e.g. interaction.computer-use")
    runs(verb("extend", "add a node", new, dry_run()), "capabilities", "extend")
    verb = verbs(add("pools", "groups of models with a strategy"))
    runs(verb("list", "every pool with its strategy and pointer", plain()), "pools", "list_")
    pool = option("id", metavar="ID", help="a pool's id")
    runs(verb("show", "one pool with its members in their order now", pool, plain()), "pools", "show")
    runs(verb("rotate", "move its pointer to the next member", pool, dry_run()), "pools", "rotate")
    verb = verbs(add("profiles", "named views on a model, with fallbacks"))
    runs(verb("list", "every profile and whether it can be used", plain()), "profiles", "list_")
    profile = option("id", metavar="ID", help="a profile's id")
    runs(verb("show", "one profile", profile, plain()), "profiles", "show")
    runs(verb("doctor", "what is wrong with profiles; exit 1 with errors"), "profiles", "doctor")


def _models(add: Adder) -> None:
    verb = verbs(add("models", "the registry: what models there are and what they can do"))
    chosen = (
        option("--role", choices=_ROLES, help="only these"),
        option("--provider", metavar="NAME", help="only those of a provider"),
        option("--capability", metavar="NODE", help="only those that have it"),
    )
    one = option("id", metavar="ID", help="PROVIDER/MODEL")
    runs(verb("list", "models by priority", *chosen, plain()), "models", "list_")
    runs(verb("show", "one model, with every layer of what it can do", one, plain()), "models", "show")
    runs(verb("register", "add a model nobody listed", one, _fields(), dry_run()), "models", "register")
    update = verb("update", "change fields of a model", one, _fields(), dry_run())
    update.add_argument("--unset", type=words, default=(), metavar="A,B", help="fields to take back, e.g. path,tier")
    update.add_argument("--version", dest="seen", type=count, metavar="N", help="refuse if it was changed since")
    runs(update, "models", "update")
    for name, summary, function in (
        ("remove", "take a model out of registry, pools and assignments", "remove"),
        ("enable", "let a model take requests", "enable"),
        ("disable", "keep it listed without requests, also after a restart", "disable"),
        ("accept", "let a discovered hosted model join pools", "accept"),
    ):
        runs(verb(name, summary, one, dry_run()), "models", function)
    label = verb("label", "add and take away tags", one, dry_run())
    label.add_argument("tags", nargs="*", metavar="TAG", help="tags to add")
    label.add_argument("--remove", type=words, default=(), metavar="A,B", help="tags to take away")
    runs(label, "models", "label")
    agent = option("agent", metavar="AGENT", help="the name it sends as x-router-agent")
    target = option("model", metavar="MODEL", help="PROVIDER/MODEL, a pool or a profile")
    runs(verb("assign", "send an agent's requests somewhere", agent, target, dry_run()), "models", "assign")
    runs(verb("unassign", "let an agent fall back to its own default", agent, dry_run()), "models", "unassign")
    runs(verb("assignments", "agents and what they go to", plain()), "models", "assignments")
    runs(verb("pull", "have Ollama download a model; Ctrl-C stops it", one, dry_run()), "pull")
    sync = verb("sync", "list providers' models now", dry_run())
    sync.add_argument("providers", nargs="*", metavar="PROVIDER", help="default: all that allow it")
    runs(sync, "models", "sync")
    runs(verb("doctor", "what is wrong with models; exit 1 with errors"), "models", "doctor")
    prices = verb("prices", "take prices from a file: the JSON of LiteLLM, OpenRouter or models.dev", dry_run())
    prices.add_argument("file", metavar="FILE", help="the table, - for stdin")
    prices.add_argument("--provider", metavar="NAME", help="for this provider only: the table's ids are its own")
    prices.add_argument("--overwrite", action="store_true", help="in place of prices somebody wrote down, too")
    runs(prices, "prices")
    deed = verbs(verb("capability", "say what a model can do"), "deed")
    node = option("node", metavar="NODE", help="a word, a path, or the last part of one")
    put = deed("set", "your word on a node, above every other layer but a newer refusal", one, node, dry_run())
    put.add_argument("value", choices=("yes", "no"), metavar="yes|no")
    runs(put, "models", "set_capability")
    clear = deed("clear", "take your word back: the next layer counts", one, node, dry_run())
    clear.add_argument("--gap", action="store_true", help="forget what its routes learned to lack instead")
    runs(clear, "models", "clear_capability")


def _fields() -> argparse.ArgumentParser:
    """The options for a model's fields; what is left out stays as it is."""
    made = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = made.add_argument_group("fields")
    group.add_argument("--display", metavar="NAME", help="the name shown")
    group.add_argument("--description", metavar="TEXT", help="what it is good for")
    group.add_argument("--role", choices=_ROLES, help="what it is used for")
    group.add_argument("--format", choices=_FORMATS, help="how its weights exist")
    group.add_argument("--path", metavar="FILE", help="weights, below registry.weights_dir unless absolute")
    group.add_argument("--capabilities", type=words, metavar="A,-B", help="words or paths; a leading - is a known no")
    group.add_argument("--context-window", type=count, metavar="N", help="tokens")
    group.add_argument("--max-output-tokens", type=count, metavar="N", help="tokens")
    group.add_argument("--default-temperature", type=price, metavar="X", help="where a request names none")
    group.add_argument("--usd-per-mtok-in", type=price, metavar="X", help="USD per million prompt tokens")
    group.add_argument("--usd-per-mtok-out", type=price, metavar="X", help="USD per million completion tokens")
    group.add_argument("--free", action=argparse.BooleanOptionalAction, help="costs nothing")
    group.add_argument("--in-pools", action=argparse.BooleanOptionalAction, help="joins pools")
    group.add_argument("--exposed", action=argparse.BooleanOptionalAction, help="is in GET /v1/models")
    group.add_argument("--tags", type=words, metavar="A,B", help="all its tags; `models label` changes some")
    group.add_argument("--tier", choices=_TIERS, help="how thorough it is")
    for name, what in zip(_LIMITS, ("requests/minute", "requests/day", "tokens/minute", "tokens/day"), strict=True):
        group.add_argument(f"--{name}", type=count, metavar="N", help=what)
    return made


def price(text: str) -> float:
    """Return a number from 0; raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value
