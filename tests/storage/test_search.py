"""The filter language over SQLite finds what it finds in memory."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st
from tests.domain.test_query import Row

from routerconsole.domain.query import FilterError, inverted, parse_filter
from routerconsole.storage.search import where

_names = st.sampled_from([None, "groq", "Ollama", "llama3.1:8b", "gpt-4o"])
_counts = st.none() | st.integers(0, 5000)
_rows = st.builds(
    Row,
    id=st.sampled_from(["abc-1", "abd-2"]),
    status=st.sampled_from(["ok", "failed", "cancelled", "truncated"]),
    origin=st.sampled_from(["http", "console"]),
    model=_names,
    provider=_names,
    served_model=_names,
    chain=st.sampled_from(["ollama✓ 4ms", "groq✗429 › ollama✓ 9ms", "Ollama✗503 › groq✗TMO", "no_routable_candidate"]),
    agent=_names,
    needed=st.sampled_from([(), ("tools",), ("tools", "vision")]),
    http_status=st.sampled_from([None, 200, 429, 502]),
    error_code=st.sampled_from([None, "all_candidates_failed"]),
    attempts=st.integers(0, 4),
    total_ms=st.none() | st.floats(0, 5000),
    ttft_ms=st.none() | st.floats(0, 5000),
    prompt_tokens=_counts,
    completion_tokens=_counts,
    cost_usd=st.none() | st.floats(0, 1),
)
_terms = st.sampled_from(
    [
        "fo",
        "err",
        "cap:tools",
        "prov:groq",
        "prov:OLLAMA",
        "model:llama",
        "agent:groq",
        "code:429",
        "code:5xx",
        "code:tmo",
        "status:ok",
        "code:all_candidates_failed",
        "origin:console",
        "lat>2s",
        "ttft<=1s",
        "hops>=2",
        "hops=0",
        "tok>100",
        "cost>0.1",
        "last:5m",
        "abc",
        "GROQ",
    ]
)
_filters = st.lists(st.tuples(st.booleans(), _terms), max_size=4)


@given(st.lists(_rows, min_size=1, max_size=8), _filters, st.booleans(), st.integers(0, 900))
def test_sql_and_memory_agree(rows: list[Row], terms: list[tuple[bool, str]], inverse: bool, age_s: int) -> None:
    """Whatever rows and terms, the same rows pass in both."""
    text = " ".join(("-" if negated else "") + term for negated, term in terms)
    wanted = parse_filter(inverted(text) if inverse else text)
    conn = sqlite3.connect(":memory:")
    conn.execute("CREATE TABLE requests (seq, id, at, status, provider, model, origin, error_code, chain, row BLOB)")
    for seq, row in enumerate(rows):
        data = json.dumps(asdict(row)).encode()
        conn.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq,
                row.id,
                10_000 - age_s,
                row.status,
                row.provider,
                row.model,
                row.origin,
                row.error_code,
                row.chain,
                data,
            ),
        )
    clauses, values = where(wanted, now=10_000)
    condition = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    found = [seq for (seq,) in conn.execute(f"SELECT seq FROM requests{condition} ORDER BY seq", values)]
    conn.close()
    assert found == [seq for seq, row in enumerate(rows) if wanted.matches(row, age_s=age_s)]


@given(st.text(max_size=40))
def test_no_text_breaks_the_statement(text: str) -> None:
    """Values are bound, never written into the SQL."""
    try:
        clauses, values = where(parse_filter(text), now=0.0)
    except FilterError:
        return
    assert sum(clause.count("?") for clause in clauses) == len(values)
