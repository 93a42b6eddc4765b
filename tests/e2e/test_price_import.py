"""Prices taken from a table over every face: a dry run, one change in force at once, its source shown, undone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import MakeStand
from tests.e2e.stand import Stand

from routerconsole.control.port import ControlError
from routerconsole.control.registry_commands import ImportPrices, Undo, UpdateModel

TABLE: Mapping[str, Any] = {
    "m": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "litellm_provider": "a"},
    "n": {"input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06, "litellm_provider": "a"},
}


async def prices(stand: Stand, model: str) -> tuple[float | None, float | None, str | None]:
    """What the registry says a model costs, and where that is from."""
    found = await stand.node.control.registry_model("a", model)
    assert found is not None
    return found.usd_per_mtok_in, found.usd_per_mtok_out, found.price_source


async def test_prices_are_imported_shown_with_their_source_and_undone(make: MakeStand, tmp_path: Path) -> None:
    """What somebody wrote down stays; costs are known from then on, survive a restart, and one undo takes all back."""
    written = {"id": "n", "usd_per_mtok_in": 9, "usd_per_mtok_out": 9}
    stand = await make("a", models={"a": ["m", written]})
    control = stand.node.control
    command = ImportPrices(TABLE, "prices.json\x1b[31m")
    dry = await control.do(command, dry_run=True)
    assert dry.after["a/m"]["usd_per_mtok_in"] == 1
    assert "a/n" not in dry.after
    assert await prices(stand, "m") == (None, None, None)
    answer = await stand.post("/api/v1/models/prices", {"table": TABLE, "origin": "prices.json"}, admin=True)
    assert answer.status == 200
    assert await prices(stand, "m") == (1.0, 2.0, "litellm: prices.json")
    assert await prices(stand, "n") == (9.0, 9.0, "configuration")
    row = (await stand.detail(await stand.chat("a/m"))).row
    assert row.cost_usd == pytest.approx(((row.prompt_tokens or 0) + 2 * (row.completion_tokens or 0)) / 1e6)
    with pytest.raises(ControlError, match="Nothing to change"):
        await control.do(ImportPrices(TABLE))
    await stand.restart()
    control = stand.node.control
    assert await prices(stand, "m") == (1.0, 2.0, "litellm: prices.json")
    assert (await control.audit(1))[0].command == "import_prices"
    over = await control.do(ImportPrices(TABLE, overwrite=True))
    assert await prices(stand, "n") == (3.0, 4.0, "litellm")
    await control.do(UpdateModel("a", "n", {"usd_per_mtok_in": 5}))
    assert await prices(stand, "n") == (5.0, 4.0, "operator")
    with pytest.raises(ControlError, match="changed again"):
        await control.do(Undo(over.audit_id or 0))
    await control.do(Undo(answer.json["audit_id"]))
    assert await prices(stand, "m") == (None, None, None)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"table": {"x": 1}}, 400, "no price table"),
        ({"table": {"zz": TABLE["m"]}}, 400, "means a model"),
        ({"table": TABLE, "provider": "nobody"}, 404, "nobody"),
        ({"table": []}, 400, "table"),
        ({}, 400, "table"),
    ],
)
async def test_what_is_no_table_changes_nothing(make: MakeStand, body: Any, status: int, told: str) -> None:
    """Each refusal names what is wrong."""
    stand = await make("a")
    answer = await stand.post("/api/v1/models/prices", body, admin=True)
    assert answer.status == status
    assert told in answer.error["message"] or told in str(answer.error["param"])
    assert await prices(stand, "m") == (None, None, None)
