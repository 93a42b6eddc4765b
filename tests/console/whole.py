"""A control with something in every view."""

from __future__ import annotations

from tests.console.capability_scene import lab
from tests.console.fake_control import FakeControl
from tests.console.registry_scene import shop


def whole() -> FakeControl:
    """Return the fleet with its requests, its registry, a capability tree and pools."""
    control, tree = shop(), lab()
    control.node_views, control.pool_views = tree.node_views, tree.pool_views
    return control
