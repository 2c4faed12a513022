"""Clusters of processes for users' own tests: nodes that are killed, frozen, cut off and restarted."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from conftest import until

import engine
from engine.cluster_utils import Cluster


@engine.remote
def where() -> str:
    return str(engine.get_runtime_context().get_node_id())


@engine.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Place:
    def where(self) -> str:
        return str(engine.get_runtime_context().get_node_id())


def dead(cluster: Cluster, node_id: str | None) -> Callable[[], bool]:
    return lambda: any(
        node["node_id"] == node_id and node["state"] == "DEAD" for node in cluster.list_all_nodes()
    )


def test_nodes_come_and_go() -> None:
    with Cluster(head_node_args={"num_cpus": 1}) as cluster:
        with engine.init(cluster.address) as session:
            assert cluster.address in session.address
            special = cluster.add_node(num_cpus=1, resources={"special": 1}, labels={"zone": "b"})
            until(lambda: len(engine.nodes()) == 2)
            there = special.node_id
            on_special = where.options(resources={"special": 1})
            assert engine.get(on_special.remote()) == there
            # Killed: what wants its resource waits for another one that has it.
            special.kill()
            assert not cluster.remaining_processes_alive()
            waits = on_special.remote()
            special.restart()
            cluster.wait_for_nodes()
            assert engine.get(waits, timeout=60) == special.node_id != there
            assert cluster.remaining_processes_alive()
            cluster.remove_node(special)
            until(lambda: len([node for node in engine.nodes() if node["Alive"]]) == 1)
            with pytest.raises(ValueError, match="is no node of this cluster"):
                cluster.remove_node(special)


@pytest.mark.parametrize("how", ["freeze", "cut_off"])
def test_a_node_that_is_not_heard_is_dead_and_starts_afresh(how: str) -> None:
    with Cluster(head_node_args={"num_cpus": 1}, connect=True) as cluster:
        other = cluster.add_node(num_cpus=1, resources={"home": 1})
        actor = Place.options(resources={"home": 0.5}).remote()
        before = engine.get(actor.where.remote(), timeout=60)
        assert before == other.node_id
        cluster.add_node(num_cpus=1, resources={"home": 1})
        getattr(other, how)()
        until(dead(cluster, before))
        assert engine.get(actor.where.remote(), timeout=60) != before
        other.thaw()
        other.heal()
        cluster.wait_for_nodes()
        assert other.node_id not in (None, before)


def test_the_head_comes_back_and_work_goes_on() -> None:
    with Cluster(head_node_args={"num_cpus": 1}, connect=True) as cluster:
        home = engine.get(where.remote())
        cluster.kill_head()
        assert engine.get(where.remote(), timeout=60) == home
        cluster.start_head()
        cluster.wait_for_nodes()
        assert engine.get(where.remote(), timeout=60) == home
    assert not engine.is_initialized()


def test_what_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="num_gpus"), Cluster(initialize_head=False) as cluster:
        cluster.add_node(num_gpus=1)
    with pytest.raises(RuntimeError, match="has ended"), Cluster(initialize_head=False) as cluster:
        cluster.add_node(resources={"": 1})
    monkeypatch.delenv("ENGINE_BIN")
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(FileNotFoundError, match="ENGINE_BIN"):
        Cluster()
