"""Price tables in the public formats, and which of the registry's models their rows mean.

LiteLLM's `model_prices_and_context_window.json` and `/model/info`, models.dev's `api.json`, OpenRouter's listing (`GET
/api/v1/models`) and others of OpenAI's shape with prices in them, told apart by shape. What is no price (negative, not
a number, of another unit by its size) is left out, never taken for 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any
from urllib.parse import urlsplit

from routerconsole.domain.registry import Model, Provider, ProviderKind

MOST_USD = 10_000
"""USD per million tokens: a cent a token, ten times what the dearest cost; one per million, read per token, is more."""
LEAST_USD = 0.0001
"""USD per million tokens that is not nothing: one per token, read per million, is less."""
LITELLM, OPENROUTER, MODELS_DEV, LISTING = "litellm", "openrouter", "models.dev", "listing"
_PER_MTOK, _ONE = Decimal(1_000_000), Decimal(1)
_LONGEST = 64
"""Characters of a number."""
Found = tuple[str, str, "Price"]
"""A folded key, its vendor (empty: nobody says) and the price."""
_VENDOR_OF_HOST: Mapping[str, tuple[str, ...]] = {
    "openrouter.ai": ("openrouter",),
    "api.openai.com": ("openai",),
    "api.anthropic.com": ("anthropic",),
    "api.groq.com": ("groq",),
    "api.mistral.ai": ("mistral", "mistralai"),
    "api.deepseek.com": ("deepseek",),
    "api.together.xyz": ("together_ai", "togetherai"),
    "api.fireworks.ai": ("fireworks_ai", "fireworks-ai"),
    "api.deepinfra.com": ("deepinfra",),
    "api.moonshot.ai": ("moonshot", "moonshotai"),
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
    """A document in none of the formats; the text says what is taken."""


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
    entries = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    pricings = [row["pricing"] for row in entries if isinstance(row.get("pricing"), Mapping)]
    if pricings:
        form = OPENROUTER if any("prompt" in each for each in pricings) else LISTING
        return _table(form, len(entries), _listed(entries, form))
    rows = _served(entries) or {k: row for k, row in table.items() if isinstance(row, Mapping) and k != "sample_spec"}
    if any("input_cost_per_token" in row or "litellm_provider" in row for row in rows.values()):
        return _table(LITELLM, len(rows), _litellm(rows))
    named = table.get("providers")
    vendors = named if isinstance(named, Mapping) else rows
    vendors = {
        name: each
        for name, each in vendors.items()
        if isinstance(each, Mapping) and isinstance(each.get("models"), Mapping)
    }
    if vendors:
        return _table(MODELS_DEV, sum(len(each["models"]) for each in vendors.values()), _models_dev(vendors))
    raise NotPrices(
        "This is no price table: LiteLLM's model_prices_and_context_window.json, OpenRouter's model listing"
        " (`GET https://openrouter.ai/api/v1/models`), models.dev's api.json, and model listings with prices are."
    )


def _served(entries: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a LiteLLM server's `/model/info`: its own ids, nobody else's."""
    return {
        row["model_name"]: {**row["model_info"], "litellm_provider": None}
        for row in entries
        if isinstance(row.get("model_name"), str) and isinstance(row.get("model_info"), Mapping)
    }


def _table(form: str, rows: int, found: Iterator[Found]) -> PriceTable:
    prices: dict[str, Price] = {}
    vendors: dict[str, str] = {}
    for key, vendor, price in found:
        prices.setdefault(key, price)
        vendors.setdefault(key, vendor)
    if not prices:
        raise NotPrices(f"None of the {rows} rows of this {form} table has a price per token in and out.")
    return PriceTable(form, prices, vendors, rows)


def _listed(entries: list[Mapping[str, Any]], form: str) -> Iterator[Found]:
    """OpenRouter says `prompt` and `completion`, per token; others `input` and `output`, of which a text is per token.

    A number is per million there (Together).
    """
    names, vendor = (("prompt", "completion"), OPENROUTER) if form == OPENROUTER else (("input", "output"), "")
    for row in entries:
        id_, pricing = row.get("id"), row.get("pricing")
        if not isinstance(id_, str) or not isinstance(pricing, Mapping):
            continue
        said_in, said_out = (pricing.get(name) for name in names)
        unit = _PER_MTOK if form == OPENROUTER or isinstance(said_in, str) else _ONE
        price = _price(said_in, said_out, unit)
        if price is not None:
            yield id_.casefold(), vendor, price


def _litellm(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    for key, row in rows.items():
        output = row.get("output_cost_per_token")
        if output is None and row.get("mode") == "embedding":
            output = 0
        price = _price(row.get("input_cost_per_token"), output, _PER_MTOK)
        vendor = row.get("litellm_provider")
        if price is not None:
            yield key.casefold(), vendor.casefold() if isinstance(vendor, str) else "", price


def _models_dev(vendors: Mapping[str, Mapping[str, Any]]) -> Iterator[Found]:
    """Prices of models.dev are per million; its vendors are objects of models, whose ids are the vendor's own."""
    for name, vendor in vendors.items():
        for id_, row in vendor["models"].items():
            cost = row.get("cost") if isinstance(row, Mapping) else None
            price = _price(cost.get("input"), cost.get("output"), _ONE) if isinstance(cost, Mapping) else None
            if price is not None:
                yield f"{name}/{id_}".casefold(), name.casefold(), price


def _price(price_in: object, price_out: object, unit: Decimal) -> Price | None:
    both = _per_mtok(price_in, unit), _per_mtok(price_out, unit)
    return None if both[0] is None or both[1] is None else Price(both[0], both[1])


def _per_mtok(said: object, unit: Decimal) -> float | None:
    """Return USD per million tokens of a price (number or text) per so many, None where it is none."""
    if isinstance(said, bool) or not isinstance(said, int | float | str) or len(str(said)) > _LONGEST:
        return None
    try:
        price = float(Decimal(str(said)) * unit)
    except (DecimalException, ValueError, OverflowError):
        return None
    return price if price == 0 or LEAST_USD <= price <= MOST_USD else None


def _vendors(provider: Provider) -> tuple[str, ...]:
    host = urlsplit(provider.base_url).hostname or ""
    by_host = next((own for name, own in _VENDOR_OF_HOST.items() if host == name or host.endswith(f".{name}")), None)
    return by_host or _VENDOR_OF_KIND.get(provider.kind) or (provider.name.casefold(),)
