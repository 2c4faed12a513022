"""The rows of the comparison: one program, whose `ray` is Ray's module or the engine's (`import engine as ray`).

Every function gives figures by name; rates are per second, times in seconds, memory in bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

BATCH = 1000
"""Calls in flight of the asynchronous rows."""
ACTORS = 100
ACTORS_SECONDS_MAX = 30.0
"""How long they have to come up."""
ARRAY_BYTES = 1 << 30
SETTLE_SECONDS = 1.0
"""Between the last call and a measurement of memory."""


def first_result(ray: ModuleType) -> dict[str, float]:
    """From before `init()` to the result of the first task. The session stays."""
    start = time.perf_counter()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    square = remote_square(ray)
    assert ray.get(square.remote(7)) == 49
    return {"init": time.perf_counter() - start}


def remote_square(ray: ModuleType, **options: Any) -> Any:
    """The task of all rows."""

    def square(x: int) -> int:
        return x * x

    return ray.remote(**options)(square) if options else ray.remote(square)


def remote_counter(ray: ModuleType) -> Any:
    """The actor of all rows. It takes no CPU, so that any number of them has a place."""

    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, by: int) -> int:
            self.count += by
            return self.count

    return ray.remote(num_cpus=0)(Counter)


def per_second(work: Callable[[], Any], calls: int, seconds: float) -> float:
    """How often `work`, which makes so many calls, makes one; the first time is a warm-up."""
    work()
    rounds = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        rounds += 1
    return rounds * calls / (time.perf_counter() - start)


def tasks(ray: ModuleType, seconds: float, **options: Any) -> dict[str, float]:
    """Tasks: one at a time, and many in flight."""
    square = remote_square(ray, **options)

    def one_at_a_time() -> None:
        for i in range(10):
            assert ray.get(square.remote(i)) == i * i

    def in_flight() -> None:
        assert ray.get([square.remote(i) for i in range(BATCH)])[-1] == (BATCH - 1) ** 2

    # Every CPU has an interpreter before anything is measured.
    in_flight()
    return {
        "tasks_sync": per_second(one_at_a_time, 10, seconds),
        "tasks_async": per_second(in_flight, BATCH, seconds),
    }


def objects(ray: ModuleType, seconds: float) -> dict[str, float]:
    """Small objects, got and put."""
    ref = ray.put(0)

    def get() -> None:
        for _ in range(100):
            ray.get(ref)

    def put() -> None:
        for i in range(100):
            ray.put(i)

    return {"gets": per_second(get, 100, seconds), "puts": per_second(put, 100, seconds)}


def actor_calls(ray: ModuleType, seconds: float) -> dict[str, float]:
    """Calls of one actor: one at a time, and many in flight."""
    counter = remote_counter(ray).remote()

    def one_at_a_time() -> None:
        for _ in range(10):
            ray.get(counter.add.remote(1))

    def in_flight() -> None:
        ray.get([counter.add.remote(1) for _ in range(BATCH)])

    return {
        "actor_sync": per_second(one_at_a_time, 10, seconds),
        "actor_async": per_second(in_flight, BATCH, seconds),
    }


def large_array(ray: ModuleType) -> dict[str, float]:
    """An array of 1 GiB, put and got; the middle of three times each. Its last element is looked at."""
    import numpy

    array = numpy.arange(ARRAY_BYTES // 8)
    puts, gets = [], []
    for _ in range(3):
        start = time.perf_counter()
        ref = ray.put(array)
        puts.append(time.perf_counter() - start)
        start = time.perf_counter()
        back = ray.get(ref)
        assert back[-1] == array[-1]
        gets.append(time.perf_counter() - start)
        # Given back before the next one is put.
        del back, ref
        time.sleep(0.2)
    return {"array_put": sorted(puts)[1], "array_get": sorted(gets)[1]}


def idle_actors(ray: ModuleType, count: int) -> dict[str, float]:
    """Memory of the side's processes, shared pages counted in part, per actor that has answered and waits."""
    counter = remote_counter(ray)
    first = counter.remote()
    ray.get(first.add.remote(1))
    time.sleep(SETTLE_SECONDS)
    before = resident_bytes()
    actors = [counter.remote() for _ in range(count)]
    ray.get([actor.add.remote(1) for actor in actors])
    time.sleep(SETTLE_SECONDS)
    return {"idle_actor": (resident_bytes() - before) / count}


def start_actors(ray: ModuleType) -> dict[str, float]:
    """Until each of the actors has answered; or how many have when the time is over."""
    counter = remote_counter(ray)
    start = time.perf_counter()
    actors = [counter.remote() for _ in range(ACTORS)]
    refs = [actor.add.remote(1) for actor in actors]
    ready, _ = ray.wait(refs, num_returns=ACTORS, timeout=ACTORS_SECONDS_MAX)
    return {"actors_start": time.perf_counter() - start, "actors_started": len(ready)}


def resident_bytes() -> int:
    """Of this process and all that come from it: their own pages, and their parts of those that are shared."""
    return sum(_proportional_bytes(pid) for pid in descendants(os.getpid()))


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        # It has ended meanwhile.
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def descendants(root: int) -> list[int]:
    """The process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found
