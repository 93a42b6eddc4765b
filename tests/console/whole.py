"""Controls with something, or far too much, in every view."""

from __future__ import annotations

from dataclasses import replace

from tests.console.capability_scene import lab
from tests.console.fake_control import FakeControl, failed, failed_over, request, route
from tests.console.registry_scene import model, shop

from routerconsole.control.registry_views import ModelPage, NodeModel, NodeView


def whole() -> FakeControl:
    """Return the fleet with its requests, its registry, a capability tree and pools."""
    control, tree = shop(), lab()
    control.node_views, control.pool_views = tree.node_views, tree.pool_views
    return control


def enormous(count: int) -> FakeControl:
    """Return one with so many models and routes, 2,000 requests, and a capability 50 levels deep."""
    control = whole()
    models = tuple(model("groq", f"model-{number:05}") for number in range(count))
    control.model_page = ModelPage(models, count)
    said = tuple(NodeModel("groq", each.upstream_id, "yes", "config") for each in models)
    deep = [".".join(f"level-{n}" for n in range(1, depth + 1)) for depth in range(1, 51)]
    control.node_views = (
        *(replace(node, models=said, total=count, routable=count) for node in control.node_views),
        *(NodeView(path, (), True, count, count, said) for path in deep),
    )
    routes = tuple(route("groq", each.upstream_id) for each in models)
    control.now = replace(
        control.now,
        providers=tuple(replace(p, routes=routes) if p.name == "groq" else p for p in control.now.providers),
    )
    for number in range(100, 2100):
        kind = failed_over if number % 7 == 0 else failed if number % 31 == 0 else request
        row = kind(number)
        control.rows[row.id] = row
    return control
