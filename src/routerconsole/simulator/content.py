"""What a simulated model says: text, reasoning, tool calls and JSON made from the request, the same for each dialect.

Deterministic: the words depend on the seed, the model and the prompt alone. No dialect, no wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json import dumps
from zlib import crc32

import orjson

from routerconsole.simulator.behaviour import Answering, Behaviour

_PROSE = (
    "the router keeps serving while one route rests and another answers so every request finds its way through "
    "steady circuits open close and open again as limits pass quietly under load a small model writes short useful "
    "lines about streams tokens and time with patience and a plain account of what was tried"
)
WORDS = tuple(_PROSE.split())
_DEPTH = 12  # of a schema that is followed
_REFERENCE = 3  # levels a reference counts, so that a recursive schema stays small
_MOST = 1_000  # characters, items and choices, whatever a schema or a request asks for
_FEW = 20  # items of an array inside another value
_BIGGEST = 2.0**53  # numbers beyond are not exact in JSON
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the client offers."""

    name: str
    parameters: Mapping[str, object]


@dataclass(slots=True)
class Ask:
    """A request in no dialect: what the model is asked for."""

    model: str
    stream: bool = False
    kind: str = "chat"  # chat | completion | embedding
    tools: Sequence[Tool] = ()
    choice: str = "auto"  # auto | none | required | named
    named: str | None = None
    after_tool: bool = False  # the last message is a tool's result
    parallel: bool = False
    json: bool = False
    schema: Mapping[str, object] | None = None
    images: int = 0
    audio: int = 0
    system: bool = False
    reasoning: bool = False
    n: int = 1
    usage: bool = False
    max_tokens: int | None = None
    prompt: str = ""  # all text of the prompt
    last: str = ""  # the last user text
    inputs: Sequence[str] = ()  # of an embedding
    base64: bool = False

    @property
    def prompt_tokens(self) -> int:
        """The size of the prompt, at four characters a token."""
        return max(1, len(self.prompt) // _CHARS_PER_TOKEN)

    def needs(self) -> list[str]:
        """The capability words this request needs, in the order they are refused."""
        found = {
            "vision": self.images,
            "audio": self.audio,
            "json_schema": self.schema is not None,
            "json": self.json,
            "tools": self.tools,
            "parallel_tools": self.parallel and self.tools,
            "reasoning": self.reasoning,
            "system": self.system,
            "streaming": self.stream,
            "embeddings": self.kind == "embedding",
            "text": self.kind != "embedding",
        }
        return [word for word, needed in found.items() if needed]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call the model makes; arguments are JSON text, or what a broken model takes for it."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Answer:
    """What the model says, in no dialect."""

    model: str
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    finish: str = "stop"
    prompt_tokens: int = 1
    id: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def completion_tokens(self) -> int:
        """Tokens produced, reasoning included."""
        return (
            len(self.pieces) + len(self.thoughts) + sum(len(call.arguments) // _CHARS_PER_TOKEN for call in self.calls)
        )


def words(count: int, key: int) -> list[str]:
    """So many words, each with its leading space but the first, chosen by a key."""
    size = len(WORDS)
    step = 1 + key % 7
    made = [" " + WORDS[(key + i * step) % size] for i in range(count)]
    if made:
        made[0] = made[0][1:].capitalize()
    return made


def pieces_of(text: str) -> list[str]:
    """A text as the deltas a stream sends: a word with the white space before it."""
    found: list[str] = []
    start = 0
    for i in range(1, len(text)):
        if text[i].isspace() and not text[i - 1].isspace():
            found.append(text[start:i])
            start = i
    if text:
        found.append(text[start:])
    return found


def wanted_tool(ask: Ask, behaviour: Behaviour) -> Tool | None:
    """The tool a model with this behaviour calls, if it calls one."""
    if not ask.tools or behaviour.tools == "ignore" or ask.choice == "none":
        return None
    if ask.choice == "named":
        return next((tool for tool in ask.tools if tool.name == ask.named), ask.tools[0])
    if ask.choice == "required" or behaviour.tools == "always":
        return ask.tools[0]
    if ask.after_tool:
        return None
    spoken = ask.last.lower()
    for tool in ask.tools:  # auto: call a tool whose name, or a long word of it, the user says
        name = tool.name.lower()
        if name in spoken or any(len(part) > 3 and part in spoken for part in name.replace("-", "_").split("_")):
            return tool
    return None


def make_answer(ask: Ask, behaviour: Behaviour, *, seed: int, n: int) -> Answer:
    """What this model answers to the n-th request."""
    key = crc32(f"{seed}\0{ask.model}\0{ask.prompt}".encode("utf-8", "replace"))
    answer = Answer(model=behaviour.served_as or ask.model, prompt_tokens=ask.prompt_tokens, id=f"sim-{key:08x}{n:06d}")
    answer.thoughts = words(behaviour.reasoning, key >> 3)
    tool = wanted_tool(ask, behaviour)
    if tool is not None:
        answer.calls = [_call(tool, behaviour, key=key, number=i) for i in range(behaviour.tool_calls)]
        answer.finish = "tool_calls"
    elif behaviour.text is not None:
        answer.pieces = pieces_of(behaviour.text)
    elif (ask.json or ask.schema is not None) and behaviour.json != "prose":
        answer.pieces = pieces_of(_json_text(ask, behaviour, key))
    elif behaviour.answer is Answering.BLANK:
        answer.pieces = []
    elif behaviour.answer is Answering.SPACES:
        answer.pieces = ["  ", "\n"]
    else:
        answer.pieces = words(behaviour.tokens, key)
    if ask.max_tokens is not None and not answer.calls and len(answer.pieces) > max(ask.max_tokens, 0):
        answer.pieces = answer.pieces[: max(ask.max_tokens, 0)]
        answer.finish = "length"
    if behaviour.finish_reason is not None:
        answer.finish = behaviour.finish_reason
    return answer


def _call(tool: Tool, behaviour: Behaviour, *, key: int, number: int) -> Call:
    """One tool call, right or wrong as the behaviour says."""
    arguments = orjson.dumps(instance(tool.parameters, number=number)).decode()
    if behaviour.tools == "bad_arguments":
        arguments = "city: Paris, please"
    elif behaviour.tools == "cut_arguments":
        arguments = arguments[:-1] if len(arguments) > 2 else '{"city": "Par'
    ids = {"unique": f"call_{key:08x}{number}", "repeat": f"call_{key:08x}", "empty": "", "missing": ""}
    name = f"not_{tool.name}" if behaviour.tools == "wrong_name" else tool.name
    return Call(ids[behaviour.tool_ids], name, arguments)


def _json_text(ask: Ask, behaviour: Behaviour, key: int) -> str:
    """A JSON answer, right or wrong as the behaviour says."""
    value: object = {"answer": " ".join(words(4, key)), "count": key % 10}
    if ask.schema is not None and behaviour.json != "wrong_schema":
        value = instance(ask.schema)
    elif ask.schema is not None:
        value = {"unexpected": True}
    text = dumps(value)  # with its spaces, so that it has several pieces
    if behaviour.json == "fenced":
        return f"```json\n{text}\n```"
    return text[: max(1, len(text) // 2)] if behaviour.json == "truncated" else text


_FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "someone@example.test",
    "uri": "https://example.test/",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "ipv4": "192.0.2.1",
}


def instance(schema: object, *, root: object = None, depth: int = 0, number: int = 0) -> object:
    """A valid instance of a simple JSON schema; what it does not understand becomes null or an empty value."""
    if not isinstance(schema, Mapping) or depth > _DEPTH:
        return None
    top = schema if root is None else root
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if isinstance(schema.get("$ref"), str):
        return instance(_resolve(top, schema["$ref"]), root=top, depth=depth + _REFERENCE, number=number)
    for word in ("anyOf", "oneOf"):
        options = schema.get(word)
        if isinstance(options, list) and options:
            return instance({**schema, word: None, **_mapping(options[0])}, root=top, depth=depth + 1, number=number)
    if isinstance(schema.get("allOf"), list):
        merged: dict[str, object] = {}
        for part in schema["allOf"]:
            value = instance(part, root=top, depth=depth + 1, number=number)
            if isinstance(value, dict):
                merged.update(value)
        return merged
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or (kind is None and "properties" in schema):
        properties = _mapping(schema.get("properties"))
        return {str(k): instance(v, root=top, depth=depth + 1, number=number) for k, v in properties.items()}
    return _scalar(schema, kind, top=top, depth=depth, number=number)


def _scalar(schema: Mapping[str, object], kind: object, *, top: object, depth: int, number: int) -> object:
    """An instance of an array, string, number, boolean or null schema."""
    if kind == "array":
        count = min(max(int(_number(schema.get("minItems"), 1)), 1), _MOST if depth == 0 else _FEW)
        return [instance(schema.get("items", {}), root=top, depth=depth + 1, number=number) for _ in range(count)]
    if kind == "string":
        text = _FORMATS.get(str(schema.get("format")), f"{WORDS[number % len(WORDS)]} {number + 1}")
        text = text.ljust(min(int(_number(schema.get("minLength"), 0)), _MOST), "x")
        limit = schema.get("maxLength")
        return text[: max(limit, 0)] if isinstance(limit, int) else text
    if kind in {"integer", "number"}:
        low = _number(
            schema.get("minimum"), _number(schema.get("exclusiveMinimum"), 0) + ("exclusiveMinimum" in schema)
        )
        value = min(max(low, 1 + number), _number(schema.get("maximum"), float("inf")))
        step = _number(schema.get("multipleOf"), 0)
        if step:
            value = -(-value // step) * step
        value = min(max(value, -_BIGGEST), _BIGGEST)
        return int(value) if kind == "integer" else float(value)
    return True if kind == "boolean" else None


def _resolve(root: object, reference: str) -> object:
    """The schema behind a local reference, or None."""
    found = root
    for part in reference.removeprefix("#").split("/"):
        if part:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _mapping(value: object) -> Mapping[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _number(value: object, default: float) -> float:
    """The value if it is a number of a usual size, else the default."""
    usual = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _BIGGEST
    return value if usual and isinstance(value, int | float) else default
