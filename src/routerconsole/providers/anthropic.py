"""Anthropic's Messages API, with API keys only. JSON modes are a forced tool whose input is given back as the content.

That is the honest way to a JSON answer here: the tool's schema is enforced by the upstream, no words are put into the
prompt, and the delivery check judges the result like any other. What the API has no field for (seed, penalties,
logprobs, logit_bias, metadata …) is left out; a temperature over 1 becomes 1, its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from yarl import URL

from routerconsole.domain.capability import Word
from routerconsole.domain.listing import ListedModel
from routerconsole.domain.registry import Model, Provider
from routerconsole.domain.request import ChatRequest, Endpoint
from routerconsole.domain.secret import SUBSCRIPTION, Secret
from routerconsole.providers import listing, shapes
from routerconsole.providers.anthropic_answer import AnthropicStream, whole
from routerconsole.providers.dialect import Detail, Framing, Page, Reply, StreamDecoder, Unsupported, WireRequest
from routerconsole.providers.openai import parse
from routerconsole.providers.shapes import Image, Json

_NAME: Final = "Anthropic"
_VERSION: Final = ("anthropic-version", "2023-06-01")
_DEFAULT_MAX_TOKENS: Final = 4096  # the API demands a figure; used where neither client nor registry gives one
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768, "max": 32768}
_LEAST_BUDGET: Final = 1024  # the API's own minimum
_CAPABILITIES: Final = {"image_input": Word.VISION, "thinking": Word.REASONING}
"""What a listing says of a model; structured output is made with a tool here, so what it says of that is no matter."""
_OPEN_SCHEMA: Final[Json] = {"type": "object", "additionalProperties": True}


class AnthropicDialect:
    """Chat only."""

    name = "anthropic"
    framing = Framing.SSE

    def encode(self, request: ChatRequest, model: Model) -> WireRequest:
        """Map a request; raise Unsupported where the API has no way to carry it."""
        if request.endpoint is not Endpoint.CHAT:
            raise Unsupported(Word.EMBEDDINGS, f"{_NAME} serves chat only")
        body = request.body
        system, turns = _turns(request)
        sent: Json = {"model": model.upstream_id, "messages": turns, "stream": request.stream}
        if system:
            sent["system"] = system
        _sampling(body, sent)
        asked = shapes.first(body, "max_completion_tokens", "max_tokens")
        sent["max_tokens"] = model.max_output_tokens or _DEFAULT_MAX_TOKENS if asked is None else asked
        _tools(request, sent)
        _thinking(body, sent, room_fixed=asked is not None, ceiling=model.max_output_tokens)
        return WireRequest("POST", "/v1/messages", orjson.dumps(sent), (_VERSION,))

    def decode(self, request: ChatRequest, body: bytes) -> Reply:
        """Map a whole answer; an error object stays one; raise Undecodable."""
        data = shapes.expect(parse(body), dict, "the answer")
        mapped = whole(data, json_tool=json_tool(request))
        return Reply(orjson.dumps(mapped), mapped)

    def stream_decoder(self, request: ChatRequest) -> StreamDecoder:
        """Return a fresh decoder for one streamed answer."""
        return AnthropicStream(json_tool(request))

    def auth_headers(self, key: Secret | None) -> tuple[tuple[str, str], ...]:
        """Return the key's header; raise ValueError for a subscription token, which is no API key."""
        if credential_problem(key) is not None:
            raise ValueError(credential_problem(key))
        return () if not key else (("x-api-key", key.reveal()),)

    def url(self, provider: Provider, path: str) -> str:
        """Return the full URL; a base may or may not end in `/v1`."""
        base = URL(provider.base_url)
        return f"{base.origin()}{base.raw_path.rstrip('/').removesuffix('/v1')}{path}"

    def list_request(self) -> WireRequest:
        """Return the request for the models; it proves the key as well."""
        return WireRequest("GET", "/v1/models?limit=1000", b"", (_VERSION,))

    def decode_listing(self, body: bytes) -> Page:
        """Return the models; raise Undecodable."""
        data = parse(body)
        found = listing.entries(data, "data", "id")
        more = isinstance(data, dict) and data.get("has_more") is True
        return found.page((_listed(id_, entry) for id_, entry in found.rows.items()), more=more)

    def decode_detail(self, detail: Detail, body: bytes, known: Mapping[str, ListedModel]) -> list[ListedModel]:
        """Return nothing: the listing says it all."""
        return []


def _listed(id_: str, entry: listing.Object) -> ListedModel:
    told = listing.objects(entry.get("capabilities"))
    supported = {name: value.get("supported") for name, value in told.items() if isinstance(value, dict)}
    return ListedModel(
        id_,
        listing.said(listing.flags(supported, _CAPABILITIES)),
        context_window=listing.tokens(entry.get("max_input_tokens")),
        max_output_tokens=listing.tokens(entry.get("max_tokens")),
        display=listing.shown(entry.get("display_name")),
    )


def credential_problem(key: Secret | None) -> str | None:
    """Return why a key cannot be used: subscription tokens are not API keys (product.md)."""
    if key is not None and SUBSCRIPTION in key.reveal():
        return "subscription tokens (sk-ant-oat…) are not supported: use an API key"
    return None


def json_tool(request: ChatRequest) -> str | None:
    """Return the name of the tool that stands for a JSON response format, None where none was asked for."""
    form = request.body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("json_object", "json_schema"):
        return None
    spec = (form or {}).get("json_schema")
    name = spec.get("name") if isinstance(spec, dict) else None
    return name if isinstance(name, str) and name else "json_answer"


def _turns(request: ChatRequest) -> tuple[list[Json], list[Json]]:
    """System blocks, and the turns: results of tools are user turns, neighbours of one role become one turn."""
    system: list[Json] = []
    turns: list[Json] = []
    for message in shapes.messages(request, _NAME):
        role = message.get("role")
        if role in ("system", "developer"):
            text = shapes.text_only(message.get("content"), _NAME)
            system.extend([{"type": "text", "text": text}] if text else [])
            continue
        blocks = _blocks(message)
        if role == "tool":
            result: Json = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id") or "")}
            blocks = [{**result, "content": blocks} if blocks else result]
        elif role == "assistant":
            blocks.extend(
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in shapes.tool_calls(message, _NAME)
            )
        speaker = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == speaker:
            turns[-1]["content"].extend(blocks)
        elif blocks:  # an empty turn is refused upstream
            turns.append({"role": speaker, "content": blocks})
    return system, turns


def _blocks(message: Json) -> list[Json]:
    blocks: list[Json] = []
    for part in shapes.parts(message.get("content"), _NAME):
        if isinstance(part, Image):
            source = (
                {"type": "base64", "media_type": part.media_type, "data": part.data}
                if part.url is None
                else {"type": "url", "url": part.url}
            )
            blocks.append({"type": "image", "source": source})
        elif part.text:  # empty text blocks are refused upstream
            blocks.append({"type": "text", "text": part.text})
    return blocks


def _sampling(body: Any, sent: Json) -> None:
    temperature = body.get("temperature")
    if temperature is not None:
        sent["temperature"] = min(temperature, 1.0) if isinstance(temperature, int | float) else temperature
    for name in ("top_p", "top_k"):
        if body.get(name) is not None:
            sent[name] = body[name]
    stop = body.get("stop")
    if stop is not None:
        sent["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if isinstance(body.get("user"), str):
        sent["metadata"] = {"user_id": body["user"]}


def _tools(request: ChatRequest, sent: Json) -> None:
    body = request.body
    offered = [
        {
            "name": function.get("name"),
            **({"description": function["description"]} if function.get("description") else {}),
            "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        }
        for function in shapes.functions(request, _NAME)
    ]
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    name = json_tool(request)
    if name is not None:
        word = Word.JSON_SCHEMA if kind == "json_schema" else Word.JSON
        if offered:
            raise Unsupported(word, f"{_NAME} cannot combine tools with a JSON response format")
        schema = shapes.schema_of(form or {}, _NAME) if kind == "json_schema" else _OPEN_SCHEMA
        if schema.get("type") != "object":
            raise Unsupported(word, f"{_NAME} answers with JSON objects only")
        what = "Give the whole answer as this one JSON object."
        sent["tools"] = [{"name": name, "description": what, "input_schema": schema}]
        sent["tool_choice"] = {"type": "tool", "name": name}
        return
    if kind not in (None, "text"):
        raise Unsupported(Word.JSON, f"{_NAME} does not know this response format")
    if not offered:
        return
    sent["tools"] = offered
    choice = _choice(body.get("tool_choice"))
    if body.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    if choice != {"type": "auto"}:
        sent["tool_choice"] = choice


def _choice(choice: Any) -> Json:
    named = shapes.named_choice(choice)
    if named is not None:
        return {"type": "tool", "name": named}
    known = {None: "auto", "auto": "auto", "required": "any", "none": "none"}
    if isinstance(choice, dict) or choice not in known:
        raise Unsupported(Word.TOOLS, f"{_NAME} does not know this tool_choice")
    return {"type": known[choice]}


def _thinking(body: Any, sent: Json, *, room_fixed: bool, ceiling: int | None) -> None:
    """Turn an effort into a budget, where the API allows thinking at all: not with a forced tool, nor mid-tool-use."""
    effort = shapes.effort(body)
    if effort in (None, "none"):
        return
    if sent.get("tool_choice", {}).get("type") in ("any", "tool") or _answers_tools(sent["messages"]):
        return  # the latter needs the signed thinking of the turn before, which OpenAI's shape cannot carry
    budget = _BUDGETS.get(str(effort), _BUDGETS["medium"])
    room = sent["max_tokens"]
    if not room_fixed:
        room = sent["max_tokens"] = min(
            max(room, budget + _DEFAULT_MAX_TOKENS), ceiling or budget + _DEFAULT_MAX_TOKENS
        )
    if not isinstance(room, int) or room <= _LEAST_BUDGET:
        return
    sent["thinking"] = {"type": "enabled", "budget_tokens": min(budget, max(_LEAST_BUDGET, room // 2))}
    for name in ("temperature", "top_k"):  # refused beside thinking
        sent.pop(name, None)


def _answers_tools(turns: list[Json]) -> bool:
    return bool(turns) and any(block["type"] == "tool_result" for block in turns[-1]["content"])
