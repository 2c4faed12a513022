"""`await ref`: on a client by a callback into the running loop, in a sandbox by a loop of our own, which has
neither threads nor sockets and sleeps until a reference is ready."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from engine import _session
from engine._backend import Value

T = TypeVar("T")


def ready(handle: Any) -> Generator[Any, None, None]:
    """Waits in async code until a handle is ready in the sense of `wait`."""
    backend = _session.backend()
    loop = asyncio.get_running_loop()
    wait = getattr(loop, "wait_for_handle", None)
    if wait is not None:
        # The loop of an actor whose calls interleave (`_guest_concurrent`).
        yield from wait(handle).__await__()
        return
    future: asyncio.Future[None] = loop.create_future()
    if isinstance(loop, SandboxLoop):
        loop.watch(handle, future)
    else:

        def done() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(done)
            except RuntimeError:
                # The loop was closed meanwhile.
                pass

        backend.when_ready(handle, wake)
    yield from future


def value(handle: Any) -> Generator[Any, None, Value]:
    """Waits in async code for the value of an object."""
    fetch = getattr(asyncio.get_running_loop(), "fetch", None)
    if fetch is not None:
        got: Value = yield from fetch(handle).__await__()
        return got
    yield from ready(handle)
    return _session.backend().get_many([handle], None)[0]


class _Selector:
    """What the loop's base calls to sleep."""

    def __init__(self) -> None:
        self.watched: list[tuple[Any, asyncio.Future[None]]] = []

    def select(self, timeout: float | None) -> list[asyncio.Future[None]]:
        self.watched = [pair for pair in self.watched if not pair[1].done()]
        if not self.watched:
            if timeout is None:
                raise RuntimeError("nothing is left to wait for: the coroutine waits for a future that nobody sets")
            if timeout > 0:
                time.sleep(timeout)
            return []
        indexes = _session.backend().wait([handle for handle, _ in self.watched], 1, timeout)
        fired = [self.watched[index][1] for index in indexes]
        self.watched = [pair for index, pair in enumerate(self.watched) if index not in set(indexes)]
        return fired

    def close(self) -> None:
        self.watched.clear()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ThreadlessLoop(asyncio.BaseEventLoop):
    """What the event loops of sandboxes have in common."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override,unused-ignore]
        """There are no threads: it runs now."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on
            future.set_exception(error)
        return future


class SandboxLoop(ThreadlessLoop):
    """An event loop for a sandbox: timers and references."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()

    def watch(self, handle: Any, future: asyncio.Future[None]) -> None:
        """Sets the future once the handle is ready."""
        # A handle twice would be refused: the later one waits with the first.
        for known, first in self._selector.watched:
            if known is handle and not first.done():
                first.add_done_callback(lambda _: _set(future))
                return
        self._selector.watched.append((handle, future))

    def _process_events(self, event_list: list[asyncio.Future[None]]) -> None:
        for future in event_list:
            _set(future)

    def _write_to_self(self) -> None:
        pass

    def close(self) -> None:
        self._selector.close()
        super().close()


class SandboxPolicy(asyncio.AbstractEventLoopPolicy):
    """So that `asyncio.run` works in a sandbox."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop.is_closed():
            self._loop = self.new_event_loop()
        return self._loop

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return SandboxLoop()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs async code of a task or of an actor's method to its end."""
    if sys.version_info < (3, 11):
        raise RuntimeError("async code of tasks runs in the sandbox, whose Python is a newer one")
    with asyncio.Runner(loop_factory=SandboxLoop) as runner:
        return runner.run(coroutine)


