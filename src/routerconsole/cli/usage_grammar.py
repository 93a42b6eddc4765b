"""The grammar of `routerconsole usage`."""

from __future__ import annotations

from routerconsole.cli.grammar import Adder, count, plain, runs


def usage_command(add: Adder) -> None:
    """Add the command."""
    usage = add("usage", "requests, tokens and cost by day, provider, model and agent; the budget", plain())
    usage.add_argument("--days", type=count, default=30, metavar="N", help="UTC days up to today (default 30)")
    usage.add_argument(
        "--by",
        choices=("date", "provider", "model", "agent"),
        default=None,
        help="add up by this (default: all four, each with its rows)",
    )
    usage.add_argument("--plot", action="store_true", help="cost per day as a chart")
    runs(usage, "usage")
