"""A queue that tasks, actors and clients share; an actor keeps its items."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import engine

__all__ = ["Empty", "Full", "Queue"]

_PAUSE = 0.001
_PAUSE_MAX = 0.05


class Empty(queue.Empty):
    """Nothing is in the queue."""


class Full(queue.Full):
    """The queue has no room."""


class _Items:
    """The items. It never waits: who waits asks again."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.items: deque[Any] = deque()

    def size(self) -> int:
        return len(self.items)

    def put(self, items: list[Any]) -> bool:
        """All of them, or none when there is no room."""
        if self.maxsize > 0 and len(self.items) + len(items) > self.maxsize:
            return False
        self.items.extend(items)
        return True

    def get(self, count: int) -> list[Any] | None:
        """So many, or none when there are fewer."""
        if len(self.items) < count:
            return None
        return [self.items.popleft() for _ in range(count)]


class Queue:
    """First in, first out; passed to tasks and actors like any value.

    queue = Queue(maxsize=100)
    producer.remote(queue)
    item = queue.get(timeout=5)
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        options = {"num_cpus": 0, **(actor_options or {})}
        self.actor = engine.remote(_Items).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items are in it."""
        return int(engine.get(self.actor.size.remote()))

    def qsize(self) -> int:
        """How many items are in it."""
        return self.size()

    def empty(self) -> bool:
        """Whether nothing is in it."""
        return self.size() == 0

    def full(self) -> bool:
        """Whether it has no room."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Adds an item; waits for room, or raises `Full`."""
        self._until(lambda: engine.get(self.actor.put.remote([item])) or None, block, timeout, Full)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Takes the oldest item; waits for one, or raises `Empty`."""
        return self._until(lambda: engine.get(self.actor.get.remote(1)), block, timeout, Empty)[0]

    def put_nowait(self, item: Any) -> None:
        """Adds an item, or raises `Full`."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Takes the oldest item, or raises `Empty`."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Adds all of these, or raises `Full` and adds none."""
        many = list(items)
        if not engine.get(self.actor.put.remote(many)):
            raise Full(f"{len(many)} items have no room")

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Takes so many, or raises `Empty` and takes none."""
        taken: list[Any] | None = engine.get(self.actor.get.remote(num_items))
        if taken is None:
            raise Empty(f"fewer than {num_items} items are there")
        return taken

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """Ends its actor, and forgets the items."""
        engine.kill(self.actor)

    def _until(self, attempt: Any, block: bool, timeout: float | None, error: type[Exception]) -> Any:
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout is a number of seconds from 0 up")
        end = None if timeout is None else time.monotonic() + timeout
        pause = _PAUSE
        while True:
            result = attempt()
            if result is not None:
                return result
            if not block or (end is not None and time.monotonic() >= end):
                raise error
            time.sleep(pause if end is None else max(0.0, min(pause, end - time.monotonic())))
            pause = min(pause * 2, _PAUSE_MAX)
