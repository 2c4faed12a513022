"""Who and where this code is, and what there is around it."""

from __future__ import annotations

from typing import Any

from engine import _session
from engine._actor import ActorHandle
from engine._backend import QUANTITY, CallFailed
from engine._backend import Context as Facts
from engine.exceptions import of_call


class RuntimeContext:
    """The job, the task, the actor and the node that this code runs in; what a client is not is None."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def get_job_id(self) -> str:
        """The job that this is part of."""
        return self._facts.job_id

    def get_task_id(self) -> str | None:
        """The task that is running."""
        return self._facts.task_id

    def get_node_id(self) -> str | None:
        """The node that it runs on."""
        return self._facts.node_id

    def get_actor_id(self) -> str | None:
        """The actor that this is."""
        return None if self._facts.actor is None else self._facts.actor.id()

    def get_attempt(self) -> int:
        """Which attempt of the task this is, from 0."""
        return self._facts.attempt

    @property
    def job_id(self) -> str:
        """The job that this is part of."""
        return self._facts.job_id

    @property
    def task_id(self) -> str | None:
        """The task that is running."""
        return self._facts.task_id

    @property
    def node_id(self) -> str | None:
        """The node that it runs on."""
        return self._facts.node_id

    @property
    def namespace(self) -> str:
        """Where names of actors are found."""
        return self._facts.namespace

    @property
    def tenant(self) -> str:
        """Whose job this is."""
        return self._facts.tenant

    @property
    def current_actor(self) -> ActorHandle:
        """A handle of the actor that this is."""
        if self._facts.actor is None:
            raise RuntimeError("this code does not run in an actor")
        return ActorHandle._of(self._facts.actor, None)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor was made anew after a failure."""
        return self._facts.was_restarted

    def get_assigned_resources(self) -> dict[str, float]:
        """What the task or actor was given, by Ray's names."""
        out: dict[str, float] = {}
        if self._facts.cpus:
            out["CPU"] = self._facts.cpus / QUANTITY
        if self._facts.gpus:
            out["GPU"] = float(len(self._facts.gpus))
        out.update((name, amount / QUANTITY) for name, amount in self._facts.resources)
        return out

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The GPUs that were assigned."""
        return {"GPU": list(self._facts.gpus)}

    def get(self) -> dict[str, Any]:
        """All of it."""
        return {
            "job_id": self.job_id,
            "node_id": self.node_id,
            "task_id": self.task_id,
            "actor_id": self.get_actor_id(),
            "namespace": self.namespace,
        }


def get_runtime_context() -> RuntimeContext:
    """Who and where this code is."""
    try:
        return RuntimeContext(_session.backend().context())
    except CallFailed as failed:
        raise of_call(failed) from None


_NAMES = {"cpus": "CPU", "gpus": "GPU", "cpu": "CPU", "gpu": "GPU"}


def _amounts(pairs: tuple[tuple[str, int], ...]) -> dict[str, float]:
    return {_NAMES.get(name, name): amount / QUANTITY for name, amount in pairs}


def nodes() -> list[dict[str, Any]]:
    """The nodes of the cluster, with the keys that Ray gives them."""
    try:
        found = _session.backend().nodes()
    except CallFailed as failed:
        raise of_call(failed) from None
    return [
        {
            "NodeID": node.id,
            "Alive": True,
            "Resources": _amounts(node.total),
            "Available": _amounts(node.available),
            "Labels": dict(node.labels),
        }
        for node in found
    ]


def _sum(key: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for node in nodes():
        for name, amount in node[key].items():
            total[name] = total.get(name, 0.0) + amount
    return total


def cluster_resources() -> dict[str, float]:
    """What all nodes have together."""
    return _sum("Resources")


def available_resources() -> dict[str, float]:
    """What is free of it now."""
    return _sum("Available")
