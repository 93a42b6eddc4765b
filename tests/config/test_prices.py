"""Price tables in the public formats: told apart by shape, checked, and matched to models without guessing."""

from __future__ import annotations

from typing import Any

import pytest

from routerconsole.config.prices import (
    LISTING,
    LITELLM,
    MODELS_DEV,
    OPENROUTER,
    NotPrices,
    Price,
    PriceTable,
    read_prices,
)
from routerconsole.domain.registry import Model, Provider, ProviderKind

LITELLM_TABLE: dict[str, Any] = {
    "sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "litellm_provider": "one of https://…"},
    "gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "litellm_provider": "openai"},
    "text-embedding-3-small": {"input_cost_per_token": 2e-08, "litellm_provider": "openai", "mode": "embedding"},
    "groq/llama-3": {"input_cost_per_token": 5.9e-07, "output_cost_per_token": "7.9e-07", "litellm_provider": "groq"},
    "openrouter/openai/gpt-4o": {
        "input_cost_per_token": 3e-06, "output_cost_per_token": 1.2e-05, "litellm_provider": "openrouter",
    },
    "negative": {"input_cost_per_token": -1, "output_cost_per_token": 1e-06, "litellm_provider": "openai"},
    "half": {"input_cost_per_token": 1e-06, "litellm_provider": "openai"},
    "per-thousand": {"input_cost_per_token": 2.5, "output_cost_per_token": 10, "litellm_provider": "openai"},
    "words": {"input_cost_per_token": "cheap", "output_cost_per_token": None, "litellm_provider": "openai"},
    "truth": {"input_cost_per_token": True, "output_cost_per_token": True, "litellm_provider": "openai"},
    "not-a-row": 7,
}  # fmt: skip
MODELS_DEV_TABLE: dict[str, Any] = {
    "openai": {
        "id": "openai",
        "models": {
            "gpt-4o": {"id": "gpt-4o", "cost": {"input": 2.5, "output": 10, "cache_read": 1.25}},
            "per-token": {"id": "per-token", "cost": {"input": 2.5e-06, "output": 1e-05}},
            "unpriced": {"id": "unpriced"},
            "odd": 7,
        },
    },
    "togetherai": {"models": {"meta-llama/Llama-3": {"cost": {"input": "0.2", "output": 0.2}}}},
    "empty": {"models": []},
}
TOGETHER_TABLE: dict[str, Any] = {
    "data": [
        {"id": "meta-llama/Llama-3", "pricing": {"input": 0.2, "output": 0.2}},
        {"id": "openai/gpt-4o", "pricing": {"input": "0.0000025", "output": "0.00001"}},
        {"id": "mixed", "pricing": {"input": None, "output": 1}},
    ]
}
LITELLM_INFO: dict[str, Any] = {
    "data": [
        {"model_name": "fast", "model_info": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
                                              "litellm_provider": "openai"}},
        {"model_name": 7},
    ]
}  # fmt: skip
OPENROUTER_TABLE: dict[str, Any] = {
    "data": [
        {"id": "openai/gpt-4o", "pricing": {"prompt": "0.0000025", "completion": "0.00001", "image": "0.003613"}},
        {"id": "meta-llama/llama-3:free", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "no-price"},
        {"pricing": {"prompt": "1", "completion": "1"}},
        "nothing",
    ]
}


def provider(kind: str, base_url: str, name: str = "p") -> Provider:
    """A provider somewhere."""
    return Provider(name, ProviderKind(kind), base_url)


OPENAI = provider("openai", "https://api.openai.com/v1")
GROQ = provider("openai_compatible", "https://api.groq.com/openai/v1")
NAMED_GROQ = provider("openai_compatible", "https://x.example/v1", "groq")
ROUTER = provider("openai_compatible", "https://openrouter.ai/api/v1")
FALSE_ROUTER = provider("openai_compatible", "https://evil.example/openrouter.ai/")
TOGETHER = provider("openai_compatible", "https://api.together.xyz/v1")
OWN = provider("openai_compatible", "http://127.0.0.1:8000/v1")
OLLAMA = provider("ollama", "http://127.0.0.1:11434")


def test_the_formats_are_told_apart_by_shape() -> None:
    """Nobody names a format; rows that are no price are left out, not taken for 0."""
    lite, router = read_prices(LITELLM_TABLE), read_prices(OPENROUTER_TABLE)
    assert (lite.form, router.form) == (LITELLM, OPENROUTER)
    assert set(lite.prices) == {
        "gpt-4o",
        "text-embedding-3-small",
        "groq/llama-3",
        "openrouter/openai/gpt-4o",
    }
    assert lite.prices["groq/llama-3"] == Price(0.59, 0.79), "exact, no binary dust"
    assert lite.prices["text-embedding-3-small"] == Price(0.02, 0.0)
    assert router.prices == {
        "openai/gpt-4o": Price(2.5, 10.0),
        "meta-llama/llama-3:free": Price(0.0, 0.0),
    }


def test_prices_per_million_are_told_from_prices_per_token() -> None:
    """models.dev counts per million, listings with numbers too, with texts per token; another unit is left out."""
    dev, listed = read_prices(MODELS_DEV_TABLE), read_prices(TOGETHER_TABLE)
    assert (dev.form, dev.rows, listed.form) == (MODELS_DEV, 5, LISTING)
    assert dev.prices == {"openai/gpt-4o": Price(2.5, 10.0), "togetherai/meta-llama/llama-3": Price(0.2, 0.2)}
    assert read_prices({"models": {}, "providers": MODELS_DEV_TABLE}).prices == dev.prices
    assert listed.prices == {"meta-llama/llama-3": Price(0.2, 0.2), "openai/gpt-4o": Price(2.5, 10.0)}
    assert read_prices(LITELLM_INFO).prices == {"fast": Price(1.0, 2.0)}


@pytest.mark.parametrize(
    "odd",
    [
        "NaN",
        "-NaN",
        "sNaN",
        "Infinity",
        "-1",
        "9e999999",
        "9e99999999999999999999",
        "1" * 100_000,
        "",
        " ",
        "1,5",
        [],
        {},
    ],
)
def test_what_is_no_price_is_left_out_whatever_it_is(odd: object) -> None:
    """No text of any length or size stops an import, and none is taken for 0."""
    rows = {
        name: {"input_cost_per_token": said, "output_cost_per_token": 1e-06, "litellm_provider": "openai"}
        for name, said in (("odd", odd), ("good", 1e-06))
    }
    assert set(read_prices(rows).prices) == {"good"}


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"data": []},
        {"data": [{"id": "x"}]},
        {"data": {"id": "x"}},
        {"gpt-4o": {"price": 1}},
        {"models": [1]},
        {"gpt-4o": {"litellm_provider": "openai"}},
        {"data": [{"id": "x", "pricing": {"prompt": "-1", "completion": "-1"}}]},
        {"data": [{"id": 7, "pricing": None}]},
    ],
)
def test_anything_else_is_refused(table: dict[str, Any]) -> None:
    """A document of another shape, or without a single usable price, is no table."""
    with pytest.raises(NotPrices):
        read_prices(table)


@pytest.mark.parametrize(
    ("table", "where", "id_", "expected"),
    [
        (LITELLM_TABLE, OPENAI, "gpt-4o", Price(2.5, 10.0)),
        (LITELLM_TABLE, OPENAI, "GPT-4o", Price(2.5, 10.0)),
        (LITELLM_TABLE, GROQ, "llama-3", Price(0.59, 0.79)),
        (LITELLM_TABLE, NAMED_GROQ, "llama-3", Price(0.59, 0.79)),
        (LITELLM_TABLE, ROUTER, "openai/gpt-4o", Price(3.0, 12.0)),
        (OPENROUTER_TABLE, ROUTER, "openai/gpt-4o", Price(2.5, 10.0)),
        (OPENROUTER_TABLE, OPENAI, "gpt-4o", Price(2.5, 10.0)),
        (LITELLM_TABLE, OWN, "gpt-4o", None),
        (LITELLM_TABLE, OLLAMA, "gpt-4o", None),
        (LITELLM_TABLE, FALSE_ROUTER, "openai/gpt-4o", None),
        (OPENROUTER_TABLE, OWN, "meta-llama/llama-3:free", None),
        (MODELS_DEV_TABLE, OPENAI, "gpt-4o", Price(2.5, 10.0)),
        (MODELS_DEV_TABLE, TOGETHER, "meta-llama/Llama-3", Price(0.2, 0.2)),
        (MODELS_DEV_TABLE, OWN, "gpt-4o", None),
        (TOGETHER_TABLE, OWN, "meta-llama/Llama-3", None),
        (LITELLM_INFO, OPENAI, "fast", None),
    ],
)
def test_a_row_means_a_model_at_its_own_vendor_only(
    table: dict[str, Any], where: Provider, id_: str, expected: Price | None
) -> None:
    """The same id on somebody's own server is another thing at another price; `:free` owns its row."""
    assert read_prices(table).of(Model("p", id_), where) == expected


def test_a_named_provider_owns_the_ids() -> None:
    """Who says whose table it is needs no vendor to be known."""
    table: PriceTable = read_prices(LITELLM_TABLE)
    where = provider("openai_compatible", "http://127.0.0.1:8000/v1")
    assert table.of(Model("p", "gpt-4o"), where, named=True) == Price(2.5, 10.0)
    assert table.of(Model("p", "unheard-of"), where, named=True) is None
