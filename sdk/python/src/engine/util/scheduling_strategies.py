"""How the node of a task or an actor is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine._backend import LabelSelector, Strategy

if TYPE_CHECKING:
    from engine.util.placement_group import PlacementGroup

__all__ = [
    "DoesNotExist",
    "Exists",
    "In",
    "NodeAffinitySchedulingStrategy",
    "NodeLabelSchedulingStrategy",
    "NotIn",
    "PlacementGroupSchedulingStrategy",
]


class PlacementGroupSchedulingStrategy:
    """In a bundle of a placement group; -1: in any of them."""

    def __init__(
        self,
        placement_group: PlacementGroup,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks
        bundles = placement_group.bundle_count
        if bundles and not -1 <= placement_group_bundle_index < bundles:
            raise ValueError(f"bundle {placement_group_bundle_index} of a placement group that has {bundles}")

    def _strategy(self) -> Strategy:
        index = self.placement_group_bundle_index
        return Strategy(
            "placement-group",
            group=self.placement_group._handle,
            bundle=None if index is None or index < 0 else index,
            capture_children=bool(self.placement_group_capture_child_tasks),
        )


class NodeAffinitySchedulingStrategy:
    """On this node; with `soft` on another when it cannot."""

    def __init__(self, node_id: str, soft: bool, **_: Any) -> None:
        self.node_id = node_id
        self.soft = soft

    def _strategy(self) -> Strategy:
        return Strategy("node", node=self.node_id, soft=self.soft)


class In:
    """The label has one of these values."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def _selector(self) -> tuple[str, tuple[str, ...]]:
        return "in", self.values


class NotIn:
    """The label has none of these values."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def _selector(self) -> tuple[str, tuple[str, ...]]:
        return "not-in", self.values


class Exists:
    """The node has the label."""

    def _selector(self) -> tuple[str, tuple[str, ...]]:
        return "exists", ()


class DoesNotExist:
    """The node does not have the label."""

    def _selector(self) -> tuple[str, tuple[str, ...]]:
        return "does-not-exist", ()


class NodeLabelSchedulingStrategy:
    """By labels of nodes: what is hard is required, what is soft is preferred.

    NodeLabelSchedulingStrategy(hard={"zone": In("a", "b")}, soft={"ssd": Exists()})
    """

    def __init__(self, hard: dict[str, Any], *, soft: dict[str, Any] | None = None) -> None:
        self.hard = hard
        self.soft = soft or {}
        self._labels()

    def _strategy(self) -> Strategy:
        return Strategy()

    def _labels(self) -> tuple[LabelSelector, ...]:
        from engine._options import labels

        return labels(self.hard) + labels(self.soft, hard=False)
