"""A pool of actors that work is handed to as they become free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import engine

__all__ = ["ActorPool"]


class ActorPool:
    """Hands work to whichever actor is free.

    pool = ActorPool([Worker.remote() for _ in range(4)])
    results = list(pool.map(lambda actor, x: actor.double.remote(x), range(100)))
    """

    def __init__(self, actors: Iterable[Any]) -> None:
        self._idle = list(actors)
        self._running: dict[Any, tuple[int, Any]] = {}
        self._by_index: dict[int, Any] = {}
        self._next_task = 0
        self._next_return = 0
        self._pending: deque[tuple[Callable[[Any, Any], Any], Any]] = deque()

    def map(self, function: Callable[[Any, Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        """The results of `function(actor, value)` in the order of the values."""
        self._forget()
        for value in values:
            self.submit(function, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, function: Callable[[Any, Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        """The results as they come."""
        self._forget()
        for value in values:
            self.submit(function, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def _forget(self) -> None:
        while self.has_next():
            try:
                self.get_next_unordered(timeout=0)
            except TimeoutError:
                break

    def submit(self, function: Callable[[Any, Any], Any], value: Any) -> None:
        """Gives a value to a free actor, or keeps it until one is free."""
        if not self._idle:
            self._pending.append((function, value))
            return
        actor = self._idle.pop()
        ref = function(actor, value)
        self._running[ref] = self._next_task, actor
        self._by_index[self._next_task] = ref
        self._next_task += 1

    def has_next(self) -> bool:
        """Whether there are results to come."""
        return bool(self._running)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result, in the order of submission."""
        if not self.has_next():
            raise StopIteration("there are no more results")
        while self._next_return not in self._by_index:
            self._next_return += 1
        ref = self._by_index[self._next_return]
        if timeout is not None and not engine.wait([ref], timeout=timeout)[0]:
            if not ignore_if_timedout:
                raise TimeoutError(f"the next result was not there after {timeout} s")
        return self._take(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Whichever result is there first."""
        if not self.has_next():
            raise StopIteration("there are no more results")
        ready, _ = engine.wait(list(self._running), num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                ready = list(self._running)[:1]
            else:
                raise TimeoutError(f"no result was there after {timeout} s")
        return self._take(ready[0])

    def _take(self, ref: Any) -> Any:
        index, actor = self._running.pop(ref)
        del self._by_index[index]
        self._next_return = max(self._next_return, index + 1 if index == self._next_return else 0)
        self._free(actor)
        return engine.get(ref)

    def _free(self, actor: Any) -> None:
        self._idle.append(actor)
        if self._pending:
            self.submit(*self._pending.popleft())

    def has_free(self) -> bool:
        """Whether an actor is idle and nothing waits for one."""
        return bool(self._idle) and not self._pending

    def pop_idle(self) -> Any:
        """Takes an idle actor out of the pool, or gives None."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Adds an actor."""
        if actor in self._idle or any(actor == busy for _, busy in self._running.values()):
            raise ValueError("the actor is in the pool already")
        self._free(actor)
