"""Resources that are reserved together, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import _session
from engine._backend import Bundle, CallFailed, GroupStrategy
from engine._refs import ObjectRef
from engine._serialize.values import read_handle, write_handle
from engine.exceptions import GetTimeoutError, InvalidArgumentError, of_call

__all__ = ["PlacementGroup", "get_placement_group", "placement_group", "remove_placement_group"]


class PlacementGroup:
    """A group of bundles. `ready()` is a reference that `engine.get` and `engine.wait` take."""

    _handle: Any
    bundle_specs: list[dict[str, float]]

    @classmethod
    def _of(cls, handle: Any, bundles: Sequence[Mapping[str, float]], strategy: str) -> PlacementGroup:
        made = cls.__new__(cls)
        made._handle = handle
        made.bundle_specs = [dict(bundle) for bundle in bundles]
        made._kind = strategy
        return made

    _kind: str

    @property
    def id(self) -> str:
        """Its id, for logs and listings."""
        text: str = self._handle.id()
        return text

    @property
    def bundle_count(self) -> int:
        """How many bundles it has; 0 when it was looked up."""
        return len(self.bundle_specs)

    def ready(self) -> ObjectRef[None]:
        """A reference that is ready when every bundle is reserved."""
        return ObjectRef(self._handle.ready())

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Whether it is reserved within the time."""
        try:
            [handle] = [self._handle.ready()]
            return bool(_session.backend().wait([handle], 1, timeout_seconds))
        except GetTimeoutError:
            return False
        except CallFailed as failed:
            raise of_call(failed) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_group, (write_handle(self._handle), self.bundle_specs, self._kind)


def _read_group(index: int, bundles: list[dict[str, float]], strategy: str) -> PlacementGroup:
    return PlacementGroup._of(read_handle(index), bundles, strategy)


def placement_group(
    bundles: Sequence[Mapping[str, float]],
    strategy: str = "PACK",
    name: str = "",
    lifetime: str | None = None,
    bundle_label_selector: Sequence[Mapping[str, Any]] | None = None,
    **_: Any,
) -> PlacementGroup:
    """Asks for bundles of resources; `ready()` tells when they are reserved.

    group = placement_group([{"CPU": 1}, {"CPU": 1, "GPU": 0.5}], strategy="PACK")
    engine.get(group.ready())
    f.options(placement_group=group).remote()
    """
    from engine import _options

    if lifetime not in (None, "job"):
        raise InvalidArgumentError("a placement group goes with its job, or when it is removed")
    if not bundles:
        raise InvalidArgumentError("a placement group has at least one bundle")
    selectors = list(bundle_label_selector or [])
    if selectors and len(selectors) != len(bundles):
        raise InvalidArgumentError(
            f"{len(selectors)} label selectors for {len(bundles)} bundles: give one per bundle"
        )
    made = []
    for index, bundle in enumerate(bundles):
        cpus = bundle.get("CPU", bundle.get("cpus", 0))
        gpus = bundle.get("GPU", bundle.get("gpus", 0))
        memory = bundle.get("memory")
        others = {
            key: value for key, value in bundle.items() if key not in ("CPU", "GPU", "cpus", "gpus", "memory")
        }
        if not any(bundle.values()):
            raise InvalidArgumentError(f"bundle {index} asks for nothing: {dict(bundle)!r}")
        made.append(
            Bundle(
                cpus=_options.quantity(cpus, "CPU"),
                gpus=_options.quantity(gpus, "GPU"),
                resources=tuple(
                    sorted((key, _options.quantity(value, f"resource {key!r}")) for key, value in others.items())
                ),
                memory=None if memory is None else _options.size(memory, "memory"),
                labels=_options.labels(selectors[index]) if selectors else (),
            )
        )
    how = strategy.lower().replace("_", "-")
    kinds: dict[str, GroupStrategy] = {
        "pack": "pack",
        "spread": "spread",
        "strict-pack": "strict-pack",
        "strict-spread": "strict-spread",
    }
    if how not in kinds:
        raise InvalidArgumentError(
            f"the strategy is PACK, SPREAD, STRICT_PACK or STRICT_SPREAD, not {strategy!r}"
        )
    try:
        handle = _session.backend().create_group(made, kinds[how], name or None)
    except CallFailed as failed:
        raise of_call(failed) from None
    return PlacementGroup._of(handle, bundles, how)


def get_placement_group(name: str) -> PlacementGroup:
    """The group of this name. Raises `NotFoundError`."""
    try:
        return PlacementGroup._of(_session.backend().lookup_group(name), (), "pack")
    except CallFailed as failed:
        raise of_call(failed) from None


def remove_placement_group(group: PlacementGroup) -> None:
    """Gives everything back and ends what runs in it; repeating it does nothing."""
    try:
        group._handle.remove()
    except CallFailed as failed:
        raise of_call(failed) from None
