"""`routerconsole explain`: the decision for a request as the next real one's trace would show it; nothing is sent."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from routerconsole.cli.exits import Exit, Stop
from routerconsole.cli.output import Item, show_items, show_json, text
from routerconsole.cli.session import with_control
from routerconsole.control.sample import Body, add_needs
from routerconsole.control.wire import plain
from routerconsole.domain.counted import counted
from routerconsole.domain.visible import BLOCK_LIMIT, visible

if TYPE_CHECKING:
    from routerconsole.control.port import Control
    from routerconsole.control.views import CandidateView, Explanation

_MALFORMED = frozenset({"invalid_request", "invalid_json", "model_not_found"})
"""Answers that say something of the question, not of the candidates."""

MAX_BODY = 64 * 1024 * 1024


def run(args: argparse.Namespace) -> int:
    """Print how the model resolves, what is needed, and every candidate in order; 2 for what no router could take."""
    body = read_body(args.body) if args.body is not None else {"messages": [{"role": "user", "content": "Hello"}]}
    if args.model is not None:
        body["model"] = args.model
    try:
        required = add_needs(body, args.needs)
    except ValueError as error:
        raise Stop(Exit.USAGE, str(error)) from error
    headers = {"x-router-require": ",".join(required)} if required else {}

    async def work(control: Control) -> int:
        explanation = await control.explain(body, headers)
        if args.json:
            show_json(plain(explanation))
        else:
            _show(explanation, sentences=args.plain)
        code = None if explanation.error is None else explanation.error.get("code")
        return Exit.USAGE if code in _MALFORMED else Exit.OK

    return with_control(args, work)


def read_body(source: str, what: str = "a chat body") -> Body:
    """Return the JSON object in a file, or on stdin for `-`; raises Stop."""
    if source == "-":
        raw = sys.stdin.buffer.read(MAX_BODY + 1)
    else:
        with Path(source).open("rb") as file:
            raw = file.read(MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        raise Stop(Exit.USAGE, f"{source}: over {MAX_BODY // (1024 * 1024)} MB")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise Stop(Exit.USAGE, f"{source}: not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise Stop(Exit.USAGE, f"{source}: {what} is a JSON object")
    return body


def _show(explanation: Explanation, *, sentences: bool) -> None:
    resolved = explanation.resolved
    strategy = "" if resolved.strategy is None else f", strategy {visible(resolved.strategy)}"
    print(f"resolved: {visible(resolved.kind)} {visible(resolved.id)}{strategy}")
    for line in resolved.because:
        print(f"  {visible(line, BLOCK_LIMIT)}")
    print(f"needed: {text(explanation.needed)}; forced: {text(explanation.forced)}")
    print(f"estimate: {counted(explanation.estimate_tokens, 'token')}")
    items = [candidate_item(candidate, number) for number, candidate in enumerate(explanation.candidates, 1)]
    show_items(items, plain=sentences, empty="no candidates")
    if explanation.error is not None:
        error = explanation.error
        print(
            f"answer: {error.get('status')} {visible(str(error.get('code')))}:"
            f" {visible(str(error.get('message')), BLOCK_LIMIT)}"
        )


def candidate_item(candidate: CandidateView, number: int) -> Item:
    """Return a candidate's line; the words are the trace's own."""
    return {
        "n": number,
        "provider": candidate.provider,
        "model": candidate.model,
        "account": candidate.account,
        "decision": candidate.decision,
        "reasons": "; ".join(candidate.reasons) or None,
        "sort_key": " ".join(f"{part:g}" for part in candidate.sort_key) or None,
    }
