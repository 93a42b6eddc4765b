"""The dialect of weights: what is carried, what is not, and what the worker's process is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routerconsole.domain.capability import Word
from routerconsole.domain.request import Endpoint
from routerconsole.providers.airllm import AirllmDialect
from routerconsole.providers.dialect import Unsupported
from routerconsole.providers.weights_worker import Until
from routerconsole.providers.worker import environment

from . import asks

SAY: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def sent(body: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT) -> Any:
    """What the door reads of a request."""
    return asks.sent(AirllmDialect(), asks.ask(endpoint, **body))


def test_only_what_the_worker_reads_is_carried() -> None:
    """Texts are joined, one stop word is a list of one, the newer name of the limit wins, the rest stays behind."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {
        "messages": [{"role": "system", "content": parts}, *SAY],
        "max_tokens": 3,
        "max_completion_tokens": 5,
        "stop": "x",
        "temperature": 0,
        "seed": 7,
        "user": "u",
    }
    assert sent(body) == {
        "model": "m:1",
        "stream": False,
        "messages": [{"role": "system", "content": "ab"}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "stop": ["x"],
        "temperature": 0,
        "seed": 7,
    }
    assert sent({"prompt": "go"}, Endpoint.COMPLETIONS)["prompt"] == "go"


@pytest.mark.parametrize(
    ("body", "endpoint", "word"),
    [
        ({"messages": SAY, "tools": [{"type": "function"}]}, Endpoint.CHAT, Word.TOOLS),
        ({"messages": SAY, "response_format": {"type": "json_object"}}, Endpoint.CHAT, Word.JSON),
        ({"messages": SAY, "response_format": {"type": "json_schema"}}, Endpoint.CHAT, Word.JSON_SCHEMA),
        (
            {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "https://h/i.png"}}]}]},
            Endpoint.CHAT,
            Word.VISION,
        ),
        ({"messages": [{"content": [{"type": "input_audio"}]}]}, Endpoint.CHAT, Word.AUDIO),
        ({"messages": SAY, "n": 2}, Endpoint.CHAT, Word.TEXT),
        ({"messages": [*SAY, {"role": "tool", "content": "x"}]}, Endpoint.CHAT, Word.TOOLS),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]}, Endpoint.CHAT, Word.TOOLS),
        ({"input": "x"}, Endpoint.EMBEDDINGS, Word.EMBEDDINGS),
        ({"prompt": ["a", "b"]}, Endpoint.COMPLETIONS, Word.TEXT),
    ],
)
def test_what_weights_alone_cannot_do_is_not_carried(body: dict[str, Any], endpoint: Endpoint, word: Word) -> None:
    """The route is skipped with the capability it lacks."""
    with pytest.raises(Unsupported) as refused:
        sent(body, endpoint)
    assert refused.value.word is word


def test_a_stop_word_is_found_across_pieces_and_never_shown() -> None:
    """What may be its beginning is held back until it is known."""
    until = Until(["###", "END"])
    assert [until.more(piece) for piece in ("a#", "b##", "c E", "ND x")] == ["a", "#b", "##c ", ""]
    assert until.ended
    assert until.rest() == ""
    held = Until(["###"])
    assert (held.more("a##"), held.rest(), held.ended) == ("a", "##", False)


def test_the_worker_gets_no_keys_and_stays_offline() -> None:
    """It runs other people's weights: of the environment it gets where things are, nothing that opens anything."""
    given = environment(
        {"PATH": "/bin", "OPENAI_API_KEY": "sk-canary", "HTTPS_PROXY": "http://u:canary@p", "HOME": "/h"}
    )
    assert (given["PATH"], given["HOME"], given["HF_HUB_OFFLINE"]) == ("/bin", "/h", "1")
    assert "canary" not in str(given)
    with pytest.raises(NotADirectoryError):  # what a checkpoint brings along is copied there before it is run
        Path(given["HF_MODULES_CACHE"]).mkdir(parents=True, exist_ok=True)
    assert given["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
