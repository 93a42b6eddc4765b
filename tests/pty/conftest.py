"""Processes and upstreams as tests/process has them, here with a terminal."""

from __future__ import annotations

from tests.process.conftest import bench, upstreams

__all__ = ["bench", "upstreams"]
