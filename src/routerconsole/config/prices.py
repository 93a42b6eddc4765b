"""Price tables in the public formats, and which of the registry's models their rows mean.

LiteLLM's `model_prices_and_context_window.json` and OpenRouter's listing (`GET /api/v1/models`), told apart by shape.
What is no price (negative, not a number, beyond the ceiling of the configuration) is left out, never taken for 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from routerconsole.domain.registry import Model, Provider, ProviderKind

MOST_USD = 100_000
"""USD per million tokens; as in the configuration, the ceiling catches another unit."""
LITELLM, OPENROUTER = "litellm", "openrouter"
_PER_MTOK = Decimal(1_000_000)
_VENDOR_OF_HOST: Mapping[str, tuple[str, ...]] = {
    "openrouter.ai": ("openrouter",),
    "api.openai.com": ("openai",),
    "api.anthropic.com": ("anthropic",),
    "api.groq.com": ("groq",),
    "api.mistral.ai": ("mistral", "mistralai"),
    "api.deepseek.com": ("deepseek",),
    "api.together.xyz": ("together_ai",),
    "api.fireworks.ai": ("fireworks_ai",),
    "api.x.ai": ("xai", "x-ai"),
    "api.perplexity.ai": ("perplexity",),
    "api.cerebras.ai": ("cerebras",),
    "generativelanguage.googleapis.com": ("gemini", "google"),
}
_VENDOR_OF_KIND: Mapping[ProviderKind, tuple[str, ...]] = {
    ProviderKind.OPENAI: ("openai",),
    ProviderKind.ANTHROPIC: ("anthropic",),
    ProviderKind.OLLAMA: ("ollama",),
}


class NotPrices(ValueError):
    """A document in neither format; the text says what is taken."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    per_mtok_in: float
    per_mtok_out: float


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The usable rows by folded key, with the vendor of each; `form` is the format, `rows` how many there were."""

    form: str
    prices: Mapping[str, Price]
    vendors: Mapping[str, str]
    rows: int

    def of(self, model: Model, provider: Provider, *, named: bool = False) -> Price | None:
        """Return what a model costs, None where the table does not say.

        A row means a model by `vendor/id`, or by its own id at its own vendor's: by the provider's kind, host or name.
        With `named` the ids are the provider's own, whoever that is.
        """
        id_ = model.upstream_id.casefold()
        own = _vendors(provider)
        keys = [f"{vendor}/{id_}" for vendor in own]
        if named or self.vendors.get(id_) in own:
            keys.append(id_)
        return next((self.prices[key] for key in keys if key in self.prices), None)


def read_prices(table: Mapping[str, Any]) -> PriceTable:
    """Return the table of a parsed JSON document; raise NotPrices."""
    listed = table.get("data")
    if isinstance(listed, list) and any(isinstance(row, Mapping) and "pricing" in row for row in listed):
        return _table(OPENROUTER, len(listed), _openrouter(listed))
    rows = {key: row for key, row in table.items() if isinstance(row, Mapping) and key != "sample_spec"}
    if any("input_cost_per_token" in row or "litellm_provider" in row for row in rows.values()):
        return _table(LITELLM, len(rows), _litellm(rows))
    raise NotPrices(
        "This is no price table: LiteLLM's model_prices_and_context_window.json and OpenRouter's model listing"
        " (`GET https://openrouter.ai/api/v1/models`) are."
    )


def _table(form: str, rows: int, found: Iterator[tuple[str, str, Price]]) -> PriceTable:
    prices: dict[str, Price] = {}
    vendors: dict[str, str] = {}
    for key, vendor, price in found:
        prices.setdefault(key, price)
        vendors.setdefault(key, vendor)
    if not prices:
        raise NotPrices(f"None of the {rows} rows of this {form} table has a price per token in and out.")
    return PriceTable(form, prices, vendors, rows)


def _openrouter(listed: list[Any]) -> Iterator[tuple[str, str, Price]]:
    for row in listed:
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            continue
        pricing = row.get("pricing")
        price = _price(pricing.get("prompt"), pricing.get("completion")) if isinstance(pricing, Mapping) else None
        if price is not None:
            yield row["id"].casefold(), OPENROUTER, price


def _litellm(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Price]]:
    for key, row in rows.items():
        output = row.get("output_cost_per_token")
        if output is None and row.get("mode") == "embedding":
            output = 0
        price = _price(row.get("input_cost_per_token"), output)
        vendor = row.get("litellm_provider")
        if price is not None:
            yield key.casefold(), vendor.casefold() if isinstance(vendor, str) else "", price


def _price(per_token_in: object, per_token_out: object) -> Price | None:
    both = _per_mtok(per_token_in), _per_mtok(per_token_out)
    return None if both[0] is None or both[1] is None else Price(both[0], both[1])


def _per_mtok(per_token: object) -> float | None:
    """Return USD per million tokens of a price per token (number or text), None where it is none."""
    if isinstance(per_token, bool) or not isinstance(per_token, int | float | str):
        return None
    try:
        price = float(Decimal(str(per_token)) * _PER_MTOK)
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return price if 0 <= price <= MOST_USD else None


def _vendors(provider: Provider) -> tuple[str, ...]:
    host = urlsplit(provider.base_url).hostname or ""
    by_host = next((own for name, own in _VENDOR_OF_HOST.items() if host == name or host.endswith(f".{name}")), None)
    return by_host or _VENDOR_OF_KIND.get(provider.kind) or (provider.name.casefold(),)
