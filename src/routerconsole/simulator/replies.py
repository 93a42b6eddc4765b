"""The reply to one request: which dialect, which error, which body or stream; pure but for the reply's Date."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import orjson

from routerconsole.simulator import listings
from routerconsole.simulator.anthropic import AnthropicMessages
from routerconsole.simulator.behaviour import Answering, Behaviour, sample
from routerconsole.simulator.bodies import BODIES, JSON, Canned, by_status, missing, named
from routerconsole.simulator.content import Ask, make_answer
from routerconsole.simulator.events import Face
from routerconsole.simulator.faults import (
    WHOLE_ONLY,
    Headers,
    before,
    delayed,
    huge,
    instead,
    odd_body,
    plain,
    sliced,
    whole_steps,
    wire_headers,
)
from routerconsole.simulator.hints import body_hints, header_hints
from routerconsole.simulator.http import Request, Step, head
from routerconsole.simulator.ollama import OllamaChat, OllamaEmbed, OllamaGenerate
from routerconsole.simulator.openai import OpenAIChat, OpenAICompletions, OpenAIEmbeddings
from routerconsole.simulator.script import Listed, Pull, Script
from routerconsole.simulator.streams import stream_steps

_FACES: dict[str, Face] = {
    "/chat/completions": OpenAIChat(),
    "/completions": OpenAICompletions(),
    "/embeddings": OpenAIEmbeddings(),
    "/messages": AnthropicMessages(),
    "/api/chat": OllamaChat(),
    "/api/generate": OllamaGenerate(),
    "/api/embed": OllamaEmbed(),
    "/api/embeddings": OllamaEmbed(),
}
_OK = 200


@dataclass(frozen=True, slots=True)
class Context:
    """A request with what was found out about it; `turn` is its number in the status sequence."""

    request: Request
    path: str
    body: dict[str, object]
    model: str | None
    n: int
    turn: int
    behaviour: Behaviour | None
    seed: int
    rng: Random
    took: Callable[[int, int], None] = lambda _prompt, _completion: None  # hears the tokens of each answer


def route_of(method: str, path: str) -> str | None:
    """The key of the dialect a request speaks, `pull`, `listing`, or None for a path that needs no model."""
    if method != "POST":
        return None
    if path.endswith("/api/pull"):
        return "pull"
    if path.endswith("/api/show"):
        return "listing"
    return next((suffix for suffix in _FACES if path.endswith(suffix)), None)


def wrong_key_steps(context: Context) -> Iterator[Step]:
    """The refusal of a request without the right key."""
    body = "anthropic_bad_key" if context.request.header("anthropic-version") else "openai_bad_key"
    return canned_steps(context.behaviour or Behaviour(), BODIES[body])


def canned_steps(behaviour: Behaviour, canned: Canned) -> Iterator[Step]:
    """The steps of a reply that is an error or a listing, with the behaviour's hints, headers and wire faults."""
    now = datetime.now(UTC) + timedelta(seconds=behaviour.date_skew)
    headers: Headers = [("date", format_datetime(now, usegmt=True)), *canned.headers]
    body = canned.body
    if behaviour.retry_after is not None and canned.status != _OK:
        headers += header_hints(behaviour.retry_after, now)
        body = body_hints(behaviour.retry_after, body)
    headers += [*behaviour.headers, *wire_headers(behaviour.wire)]
    return whole_steps(canned.status, behaviour.content_type or canned.content_type, body, headers, behaviour.wire)


def model_steps(context: Context, route: str) -> Iterator[Step]:
    """The steps of a request to a model."""
    face = _FACES[route]
    behaviour = context.behaviour
    if behaviour is None:
        unknown = BODIES["openai_no_model"] if context.model is None else missing(context.model, face.name)
        return canned_steps(Behaviour(), unknown)
    if plain(behaviour):
        steps = _chosen(context, face, behaviour)
    else:
        steps = instead(behaviour.wire) or _wired(context, face, behaviour)
        if behaviour.slice_bytes is not None:
            steps = sliced(steps, behaviour.slice_bytes, behaviour.slice_delay)
    wait = sample(behaviour.latency, context.rng)
    return delayed(wait, steps) if wait > 0 else steps


def _wired(context: Context, face: Face, behaviour: Behaviour) -> Iterator[Step]:
    """The chosen reply behind what goes out before it."""
    first = before(behaviour.wire)
    if first:
        yield first
    yield from _chosen(context, face, behaviour)


def _chosen(context: Context, face: Face, behaviour: Behaviour) -> Iterator[Step]:
    """The error, the odd body, the whole answer or the stream this request gets."""
    status = behaviour.status(context.turn)
    if status != _OK:
        return canned_steps(behaviour, _error(status, behaviour, face))
    ask = face.parse(context.request, context.body)
    refused = _refused(ask, behaviour, len(context.request.body))
    if refused is not None:
        return canned_steps(behaviour, refused)
    if behaviour.answer is Answering.ERROR:
        return canned_steps(behaviour, named(behaviour.error or "openai_server", _OK))
    answer = make_answer(ask, behaviour, seed=context.seed, n=context.n)
    context.took(answer.prompt_tokens, 0 if ask.kind == "embedding" else answer.completion_tokens * ask.n)
    headers = [*behaviour.headers, *wire_headers(behaviour.wire)]
    odd = behaviour.answer not in _ANSWERS
    streamed = ask.stream if behaviour.framing == "asked" else behaviour.framing == "stream"
    if streamed and ask.kind != "embedding" and not odd and behaviour.wire not in WHOLE_ONLY:
        kind = behaviour.content_type or ("application/x-ndjson" if face.ndjson else "text/event-stream; charset=utf-8")
        top = head(
            _OK, [("content-type", kind), ("cache-control", "no-cache"), ("transfer-encoding", "chunked"), *headers]
        )
        events = face.events(ask, answer, behaviour)
        return stream_steps(events, behaviour, context.rng, head=top, ndjson=face.ndjson, face=face.name)
    if behaviour.answer is Answering.HUGE:
        return huge(behaviour.huge_bytes, headers)
    body = orjson.dumps({**face.whole(ask, answer, behaviour), **behaviour.extra})
    kind, body = odd_body(behaviour.answer, body) if odd else (JSON, body)
    return whole_steps(_OK, behaviour.content_type or kind, body, headers, behaviour.wire)


# Answers that a dialect makes itself; the others replace its body, of a stream too.
_ANSWERS = frozenset(
    {Answering.NORMAL, Answering.BLANK, Answering.SPACES, Answering.NUMBER, Answering.PARTS, Answering.MISSING}
)


def _error(status: int | str, behaviour: Behaviour, face: Face) -> Canned:
    """The error body for a status or a name, in the dialect of the face where nothing else is said."""
    if isinstance(status, str):
        return named(status)
    if behaviour.error is not None:
        return named(behaviour.error, status)
    canned = by_status(status)
    if face.name == "ollama":
        return Canned(status, b'{"error":"the simulator was told to answer %d"}' % status)
    if face.name == "anthropic":
        error = orjson.loads(canned.body)["error"]
        document = {"type": "error", "error": {"type": error["type"], "message": error["message"]}}
        return Canned(status, orjson.dumps(document))
    return canned


def _refused(ask: Ask, behaviour: Behaviour, size: int) -> Canned | None:
    """The refusal of a request this model cannot do, or None."""
    if behaviour.max_body_bytes is not None and size > behaviour.max_body_bytes:
        return BODIES["too_large"]
    if behaviour.refuse:
        for word in ask.needs():
            if word in behaviour.refuse:
                return named(behaviour.refuse[word])
    if behaviour.context_window is not None and ask.prompt_tokens > behaviour.context_window:
        return named(behaviour.context_error)
    return None


def is_index(method: str, path: str) -> bool:
    """Whether a request asks which models there are."""
    return method == "GET" and path.rstrip("/").endswith(("/models", "/api/tags"))


def listing_steps(
    context: Context, entries: Sequence[Listed], script: Script, *, pull: Pull | None = None
) -> Iterator[Step]:
    """The steps of a request that asks for no completion: listings, versions, health, pulls, unknown paths."""
    behaviour = context.behaviour or Behaviour()
    gone = instead(behaviour.wire)
    if gone is not None:
        steps = gone
    elif behaviour.status(context.turn) != _OK:
        status = behaviour.status(context.turn)
        steps = canned_steps(behaviour, named(status) if isinstance(status, str) else named(behaviour.error, status))
    elif behaviour.answer is not Answering.NORMAL:
        kind, body = odd_body(behaviour.answer, b"{}")
        steps = canned_steps(behaviour, Canned(_OK, body, kind))
    elif pull is not None and context.body.get("stream") is not False:
        steps = listings.pull_steps(pull, context.model or "")
    else:
        steps = canned_steps(behaviour, _listing(context, entries, script, pull))
    wait = sample(behaviour.latency, context.rng)
    return delayed(wait, steps) if wait > 0 else steps


def _listing(context: Context, entries: Sequence[Listed], script: Script, pull: Pull | None) -> Canned:
    """The document at a path, or a 404."""
    path, method = context.path.rstrip("/"), context.request.method
    document: object = None
    if pull is not None:
        document = {"status": "success"} if pull.ok else None
        if document is None:
            return Canned(500, orjson.dumps({"error": pull.error}))
    elif method == "POST" and path.endswith("/api/show"):
        entry = next((entry for entry in entries if entry.id == context.model), None)
        if entry is None:
            return missing(context.model or "", "ollama")
        document = listings.ollama_show(entry)
    elif method in {"GET", "HEAD"}:
        document = _got(path, entries, script, anthropic=context.request.header("anthropic-version") is not None)
    if document is None:
        return BODIES["llama_no_path"]
    return Canned(_OK, b"Ollama is running" if document == "" else orjson.dumps(document))


def _got(path: str, entries: Sequence[Listed], script: Script, *, anthropic: bool) -> object:
    """The document a GET asks for, or None."""
    if path.endswith("/models"):
        if anthropic:
            return listings.anthropic_models(entries)
        if path.endswith("/api/v0/models"):
            return listings.lmstudio_models(entries) if script.listing == "lmstudio" else None
        return listings.INDEXES[script.listing](entries)
    if path.endswith(("/api/tags", "/api/ps")):
        return listings.ollama_tags(entries)
    if path.endswith("/props") and script.listing == "llamacpp":
        return listings.llamacpp_props(entries, script.props)
    if path.endswith("/model/info") and script.listing == "litellm":
        return listings.litellm_info(entries)
    if path.endswith("/api/version"):
        return {"version": listings.VERSION}
    if path.endswith("/health"):
        return {"status": "ok"}
    return "" if path == "" else None
