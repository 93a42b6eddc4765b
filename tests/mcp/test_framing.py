"""Lines of stdin: what is no message is answered under its own id, and what is nearly one is read."""

from __future__ import annotations

import pytest
from mcp_types import INVALID_REQUEST, PARSE_ERROR

from routerconsole.mcp.framing import read_line

PING = b'{"jsonrpc":"2.0","id":%s,"method":"ping"}'


@pytest.mark.parametrize(
    ("line", "code", "of"),
    [
        (b"not json", PARSE_ERROR, None),
        (b'{"jsonrpc":"2.0","id":1', PARSE_ERROR, None),
        (b"[" * 100_000, PARSE_ERROR, None),
        (b"null", INVALID_REQUEST, None),
        (b"[]", INVALID_REQUEST, None),
        (b'{"jsonrpc":"2.0","id":5}', INVALID_REQUEST, 5),
        (b'{"jsonrpc":"1.0","id":"a","method":"ping"}', INVALID_REQUEST, "a"),
        (b'{"jsonrpc":"2.0","id":6,"method":"ping","params":[1]}', INVALID_REQUEST, 6),
        (PING % b"7.5", INVALID_REQUEST, None),
        (PING % b"null", INVALID_REQUEST, None),
        (PING % b"true", INVALID_REQUEST, None),
        (PING % b"{}", INVALID_REQUEST, None),
    ],
)
def test_what_is_no_message_is_answered(line: bytes, code: int, of: int | str | None) -> None:
    """Who sent it learns so at once, under the request's own id where there is one."""
    messages, (refused,) = read_line(line)
    assert (messages, refused.error.code, refused.id) == ([], code, of)


@pytest.mark.parametrize(
    "line", [b"", b"  \r", b'{"jsonrpc":"2.0","id":7,"result":5}', b'{"jsonrpc":"1.0","error":{}}']
)
def test_nothing_and_broken_answers_are_not_answered(line: bytes) -> None:
    """An answer to an answer would never end."""
    assert read_line(line) == ([], [])


def test_half_a_character_and_wrong_bytes_cost_one_character_not_the_call() -> None:
    """Clients cut texts in the middle of an emoji; a call that is dropped for that is waited for to its deadline."""
    line = b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\\ud83d y","b":"\xff","c":"\\ud83d\\ude00"}}\r'
    (message,), refusals = read_line(line)
    assert message.params == {"a": "x\ufffd y", "b": "\ufffd", "c": "\U0001f600"}  # type: ignore[union-attr]  # a request
    assert refusals == []


def test_a_batch_is_taken_apart() -> None:
    """The protocol of 2025-03-26 has them: every part is answered for itself."""
    messages, refusals = read_line(b"[" + PING % b"1" + b"," + PING % b'"b"' + b',3,{"id":4}]')
    assert [message.id for message in messages] == [1, "b"]  # type: ignore[union-attr]  # requests
    assert [refused.id for refused in refusals] == [None, 4]
