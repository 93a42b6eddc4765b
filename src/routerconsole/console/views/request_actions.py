"""What can be done with one request, or with the rows shown: cancel, replay, dry run, copy, export, saved filters."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from routerconsole.console.actions import Context
from routerconsole.console.mark_picker import MarkPicker
from routerconsole.console.picker import Entry, Picker
from routerconsole.console.prompt import Prompt
from routerconsole.console.render import quantity
from routerconsole.console.render.requests import client, short_id
from routerconsole.console.render.why_now import why_now
from routerconsole.console.request_text import as_curl, as_json, as_text, same_again
from routerconsole.console.safe_text import visible
from routerconsole.console.saved import FiltersNotSavedError, SavedFilters, name_problem
from routerconsole.console.sending import Proposal
from routerconsole.console.state import in_flight
from routerconsole.control.commands import CancelRequest, ReplayRequest
from routerconsole.control.port import ControlError
from routerconsole.control.row_text import csv_text, jsonl
from routerconsole.domain.counted import counted

from .new_file import ask_new_file
from .panes import TextPane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from routerconsole.control.commands import Receipt
    from routerconsole.control.views import RequestDetail, RequestRow

    from .base import Host

OWN_MODEL = "(as-it-was-asked)"


def cancel(host: Host, row: RequestRow) -> None:
    """Ask whether to stop a request that is in flight."""
    if not in_flight(row):
        host.tell(f"{short_id(row.id)} is over already; nothing to cancel", ok=False)
        return
    host.propose(
        Proposal(
            CancelRequest(row.id),
            f"request {short_id(row.id)}",
            title=f"Cancel request {short_id(row.id)}?",
            paragraphs=(
                ("does", "stops it at the provider; the client gets an error, or its stream is cut"),
                (
                    "touches",
                    f"this one request of {client(row)}, running for {quantity.ms(host.state.elapsed_ms(row))}:"
                    f" {visible(row.chain, 200)}",
                ),
            ),
        )
    )


def replay(host: Host, row: RequestRow, follow: Callable[[tuple[str, ...]], None]) -> None:
    """Let the operator pick where a request is sent again; `follow` gets the ids of the new ones."""

    def done(receipt: Receipt) -> None:
        ids = receipt.after.get("requests")
        follow(tuple(map(str, ids)) if isinstance(ids, (list, tuple)) else ())

    def take(chosen: tuple[str, ...]) -> None:
        models = tuple(each for each in chosen if each != OWN_MODEL) if set(chosen) != {OWN_MODEL} else ()
        if OWN_MODEL in chosen and models:
            models = (row.model or "auto", *models)
        times = max(1, len(models))
        to = ", ".join(visible(model, 60) for model in models[:6]) or visible(row.model or "auto", 60)
        host.propose(
            Proposal(
                ReplayRequest(row.id, models),
                f"request {short_id(row.id)}",
                title=f"Send request {short_id(row.id)} again, {times} time{'' if times == 1 else 's'}?",
                paragraphs=(
                    ("does", f"sends its kept body to {to}{' and more' if len(models) > 6 else ''}; no client waits"),
                    ("touches", f"{times} more request{'' if times == 1 else 's'}; it cost {_cost(row)}"),
                ),
                done=done,
            )
        )

    picker = MarkPicker(f"Replay {short_id(row.id)} to", take)
    picker.offer([(OWN_MODEL, f"model {visible(row.model or 'auto', 60)}"), *_routes(host)])
    host.pick(picker)
    host.spawn(_offer_pools(host, picker))


def _cost(row: RequestRow) -> str:
    used = f"{quantity.count(row.prompt_tokens)} tokens in and {quantity.count(row.completion_tokens)} out"
    return f"{quantity.cost(row.cost_usd)} ({used}) then"


def _routes(host: Host) -> list[tuple[str, str]]:
    status = host.state.status
    routes = [route for provider in status.providers for route in provider.routes] if status is not None else []
    names = {f"{route.provider}/{route.model}": route.status.replace("_", " ") for route in routes}
    return [(name, state) for name, state in names.items() if " " not in name]


async def _offer_pools(host: Host, picker: MarkPicker) -> None:
    """Add the pools once the engine has named them."""
    try:
        pools = await host.control.pools()
    except ControlError as error:
        host.tell(f"pools are not listed: {error.message}", ok=False)
        return
    picker.offer([(pool.id, f"pool, {pool.routable} of {pool.total} routable") for pool in pools if " " not in pool.id])
    host.redraw()


async def open_why_now(host: Host, request_id: str) -> None:
    """Open the page with a dry run of a request like this one."""
    detail = await _detail(host, request_id)
    if detail is None:
        return
    row = detail.row
    if row.endpoint not in {"chat", "completions"}:
        host.tell(f"a dry run is of chat requests; this one is {visible(row.endpoint, 20)}", ok=False)
        return
    body, headers = same_again(row, estimate_tokens=detail.estimate_tokens)
    try:
        explanation = await host.control.explain(body, headers)
    except ControlError as error:
        host.tell(f"no dry run: {error.message}", ok=False)
        return
    title = f"Why, and where it would go now: request {short_id(row.id)}"
    draw = partial(why_now, detail, explanation)
    host.open_page(TextPane(title, (Context.NOTE,), draw=draw, prefix="note"))
    host.redraw()


async def copy_whole(host: Host, request_id: str, *, as_: str) -> None:
    """Copy a request as it is drawn, or as JSON."""
    detail = await _detail(host, request_id)
    if detail is not None:
        host.copy(as_json(detail) if as_ == "JSON" else as_text(detail), f"{short_id(request_id)} as {as_}")
        host.redraw()


def copy_curl(host: Host, row: RequestRow) -> None:
    """Copy a shell line that asks for the same."""
    status = host.state.status
    endpoint = status.endpoint if status is not None and status.endpoint else "http://127.0.0.1:8808/v1"
    host.copy(as_curl(row, endpoint), f"{short_id(row.id)} as curl")


async def _detail(host: Host, request_id: str) -> RequestDetail | None:
    """Return a request in full, from the engine where it was not read or still runs; tell where there is none."""
    known = host.state.details.get(request_id)
    if known is not None and not in_flight(known.row):
        return known
    try:
        found = await host.control.request(request_id)
    except ControlError as error:
        host.tell(error.message, ok=False)
        return known
    if found is None:
        host.tell(f"{short_id(request_id)} is no longer in the log", ok=False)
    return found


# -- files ---------------------------------------------------------------------------------------------------------


def export(host: Host, rows: Sequence[RequestRow], filter_text: str) -> None:
    """Ask for a path and write the shown rows there, newest first."""
    if not rows:
        host.tell("nothing shown, nothing to write", ok=False)
        return
    kept = sorted(rows, key=lambda row: (row.at, row.id), reverse=True)

    async def made(form: str) -> str:
        return await asyncio.to_thread(csv_text if form == "csv" else jsonl, kept)

    def said(path: Path) -> str:
        more = f" --filter '{filter_text}'" if filter_text and "'" not in filter_text else ""
        return f"{counted(len(kept), 'row')} written to {path}; the whole log: routerconsole requests export{more}"

    name = f"requests-{host.state.now.astimezone():%Y%m%d-%H%M%S}.jsonl"
    ask_new_file(host, counted(len(kept), "row"), name, forms=("jsonl", "csv"), made=made, said=said)


def saved_filters(host: Host, saved: SavedFilters, current: str, use: Callable[[str], None]) -> None:
    """Open the page of saved filters: take one, save the current one, forget one."""
    entries = [Entry(name, partial(use, text), note=text) for name, text in saved.filters.items()]
    if current:
        entries.append(Entry("save the filter in force…", partial(_ask_name, host, saved, current), note=current))
    entries += [
        Entry(f"forget {name}", partial(_change, host, partial(saved.forget, name), f"filter {name!r} forgotten"))
        for name in saved.filters
    ]
    if saved.problems:
        host.tell(saved.problems[0], ok=False)
    host.pick(Picker("Saved filters", entries, empty="none saved: set a filter with / first, then F saves it"))


def _ask_name(host: Host, saved: SavedFilters, text: str) -> None:
    def accept(name: str) -> None:
        _change(host, partial(saved.save, name.strip(), text), f"filter saved as {name.strip()!r}; F takes it")

    host.ask_text(Prompt("save this filter as ", accept, problem=name_problem, complete=lambda _: list(saved.filters)))


def _change(host: Host, change: Callable[[], None], told: str) -> None:
    async def work() -> None:
        try:
            await asyncio.to_thread(change)
        except FiltersNotSavedError as error:
            host.tell(f"not saved: {error}", ok=False)
        else:
            host.tell(told, ok=True)
        host.redraw()

    host.spawn(work())
