"""Helpers on top of tasks and actors."""

from __future__ import annotations

from typing import Any

from engine.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)

__all__ = [
    "ActorPool",
    "PlacementGroup",
    "get_node_ip_address",
    "get_placement_group",
    "placement_group",
    "remove_placement_group",
]


def get_node_ip_address() -> str:
    """A sandbox has no network, so there is no address of its own."""
    return "127.0.0.1"


def __getattr__(name: str) -> Any:
    if name == "ActorPool":
        from engine.util.actor_pool import ActorPool

        return ActorPool
    raise AttributeError(f"module 'engine.util' has no attribute {name!r}")
