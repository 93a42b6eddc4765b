"""The grammar of `routerconsole eval …`."""

from __future__ import annotations

import argparse
from pathlib import Path

from routerconsole.cli.grammar import Adder, count, dry_run, duration, option, plain, runs, verbs, words

_MORE = "a directory of this machine with more scenarios"
_TARGETS = "provider/model, profile:x, pool:x, router/x, auto, url:http://host/v1 (url:http://host/v1#model)"
_FORMS = ("md", "json", "html", "xml", "svg")


def eval_group(add: Adder) -> None:
    """Add the group."""
    verb = verbs(add("eval", "scenarios run against models, pools and the router, and compared"))
    of_runs = option("--runs", action="store_true", help="the runs there are, instead of the scenarios")
    runs(verb("list", "the scenarios there are, or with --runs the runs", of_runs, plain()), "evals", "list_")
    _run(verb)
    one = option("run", metavar="RUN", help="a run's id, meval_ and 12 hex digits")
    shown = verb("show", "what came of a run, as far as it is, or one cell of it in full", one, plain())
    shown.add_argument("--scenario", metavar="X", help="the cell's row; --json has its raw frames")
    shown.add_argument("--target", metavar="T", help="the cell's column")
    runs(shown, "evals", "show")
    report = verb("report", "a run's report as it was written to the state directory, else as far as it is", one)
    report.add_argument("--format", choices=_FORMS, default="md", help="default: md")
    runs(report, "evals", "report")
    part = verb("cancel", "stop a run, or of one that goes on a row, a column, a square or a cell", one)
    part.add_argument("--scenario", metavar="X", help="its row; with --target one square")
    part.add_argument("--target", metavar="T", help="its column")
    part.add_argument("--repeat", type=count, metavar="N", help="one repeat of the square, from 1")
    runs(part, "evals", "cancel")
    again = verb("regrade", "grade a run's answers again, without a call", one, dry_run(), plain())
    again.add_argument("--scenarios-dir", type=Path, metavar="DIR", help=_MORE)
    runs(again, "evals", "regrade")
    taken = verb("accept", "take over the capabilities a run measured beyond doubt", one, dry_run(), plain())
    taken.add_argument("--target", metavar="PROVIDER/MODEL", help="those of one model")
    taken.add_argument("--capability", metavar="NODE", help="those of one capability: a word or a tree path")
    runs(taken, "evals", "accept")
    pair = (
        option("a", metavar="A", help="the baseline's id"),
        option("b", metavar="B", help="the run that is compared with it"),
    )
    compare = verb("compare", "one run against another: flips, latency, cost", *pair, plain())
    compare.add_argument(
        "--fail-on", choices=("regression",), help="exit 1 where it got worse, or nothing can be compared"
    )
    runs(compare, "evals", "compare")
    who = option("--judge", metavar="J", help="a model, profile or pool (default: the one of `judge` assertions)")
    both = (
        option("a", metavar="A", help="a column of the run"),
        option("b", metavar="B", help="another one"),
    )
    text = "which of two columns a judge prefers, asked in both orders where the graders let both answers stand"
    runs(verb("prefer", text, one, *both, who, plain()), "reward", "prefer")
    runs(verb("judge-check", "try a judge on 20 pairs; exit 0 where it may gate", who), "reward", "judge_check")


def _run(verb: Adder) -> None:
    run = verb("run", "run scenarios; exit 0 where all passed, 1 where not", plain())
    run.add_argument("--targets", type=words, default=(), metavar="A,B", help=_TARGETS)
    run.add_argument("--scenarios", type=_ids, default=(), metavar="X,Y", help="default: all of `eval list`")
    run.add_argument("--repeats", type=count, metavar="N", help="default: what each scenario says")
    run.add_argument("--scenarios-dir", type=Path, metavar="DIR", help=_MORE)
    run.add_argument("--max-cost-usd", type=_money, metavar="X", help="ask nothing more once so much is spent")
    run.add_argument("--max-tokens", type=count, metavar="N", help="ask nothing more after so many tokens")
    run.add_argument("--max-time", type=duration, metavar="T", help="ask nothing more after so long, e.g. 90s or 15m")
    run.add_argument("--timeout", type=duration, metavar="T", help="give up a call after so long (default: its own)")
    run.add_argument(
        "--connections", type=count, metavar="N", help="cells asked at once (default: 4, one per local server)"
    )
    run.add_argument("--cache", action="store_true", help="take answers of earlier runs where that is honest")
    run.add_argument("--key", metavar="env:X", help="the variable with the key of the one url: target; never kept")
    run.add_argument("--seed", type=_seed, metavar="N", help="the same order and the same questions again")
    run.add_argument("--apply", action="store_true", help="take over the capabilities that were measured")
    run.add_argument("--resume", metavar="RUN", help="go on with a run: what is missing or was an error")
    runs(run, "evals", "run")


def _ids(text: str) -> tuple[str, ...]:
    """Return the ids of a list; raises ArgumentTypeError where it names none, for that would be read as all."""
    found = words(text)
    if not found:
        raise argparse.ArgumentTypeError("names no scenario (leave it out to run all of `eval list`)")
    return found


def _money(text: str) -> float:
    """Return USD above 0; raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount above 0")
    return value


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 2**53:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)
