"""The grammar of `routerconsole reward …`."""

from __future__ import annotations

from routerconsole.cli.grammar import Adder, limit, option, plain, runs, verbs


def reward_group(add: Adder) -> None:
    """Add the group."""
    verb = verbs(add("reward", "outputs scored by votes of a judge, and the scores kept"))
    judge = option("--judge", metavar="J", help="a model, profile or pool (default: reward.model, else role reward)")
    score = verb("score", "have a judge vote on an output; exit 0 with a score, 1 without", judge)
    score.add_argument("task_text", nargs="?", metavar="TASK", help="what was asked; `-` is stdin")
    score.add_argument("output_text", nargs="?", metavar="OUTPUT", help="what was answered; `-` is stdin")
    score.add_argument("--task", metavar="TEXT", help="the same by name")
    score.add_argument("--output", metavar="TEXT", help="the same by name")
    score.add_argument("--agent", metavar="A", help="whose work it is")
    score.add_argument("--model", metavar="M", help="the model that answered, provider/model")
    runs(score, "reward", "score")
    kept = verb("history", "the scores kept, newest first", limit(100), plain())
    kept.add_argument("--agent", metavar="A", help="of this agent only")
    kept.add_argument("--model", metavar="M", help="of this model only, provider/model")
    kept.add_argument("--means", action="store_true", help="what they come to per model and agent")
    runs(kept, "reward", "history")
