"""An actor whose calls interleave: what the runner of the concurrent world does with the calls of its host, and the
event loop in which it does so.

Each call is a task of its own to the host, which componentize-py polls when something is there for it. So every call
has its own queue of what is ready, and the loop puts a handle into the queue of the call whose context it has: what a
call spawns and prints is then its own. Where one call makes another go on (an `asyncio.Event`), the other's task is
woken by a `sleep` of no time on its behalf. What a call leaves behind when it has returned (background tasks, waits
that were given up) goes over to the task of the constructor, which lives as long as the actor, and has the timers.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import time
from collections.abc import Coroutine
from typing import Any

import componentize_py_async_support as support  # type: ignore[import-not-found,unused-ignore]
import componentize_py_runtime as runtime  # type: ignore[import-not-found,unused-ignore]
from componentize_py_types import Err  # type: ignore[import-not-found,unused-ignore]
from wit_world.imports import (  # type: ignore[import-not-found,unused-ignore]
    objects,
    objects_async,
)

from engine import _guest
from engine._asyncio import ThreadlessLoop
from engine._backend import RUNNER
from engine._sandbox import Sandbox, failed, lowered, raised
from engine._trouble import failure_of

_ROUNDS_MAX = 16
"""So often a call goes on before others have their turn."""
_EXIT, _YIELD, _WAIT = 0, 1, 2
"""What a poll says to the host."""
_CANCELLED_TIMERS_MAX = 100


class _Futures(dict[int, Any]):
    """The futures of a call, one of which componentize-py takes out and sets when the host polls the call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def pop(self, waitable: int) -> Any:  # type: ignore[override]
        self._call.sleeps = False
        return super().pop(waitable)


class Call:
    """One call inside. componentize-py's own functions know the first four."""

    def __init__(self) -> None:
        self.waitable_set: int | None = None
        self.futures = _Futures(self)
        """Whose wait in the host is over sets the future of its number."""
        self.handles: list[asyncio.Handle] = []
        self.pending_count = 1
        """The call has ended when there are none."""
        self.context = contextvars.Context()
        self.invocation: Any = None
        """None once it has returned."""
        self.body: asyncio.Task[Any] | None = None
        self.sleeps = False
        """Nothing polls it unless it is woken."""
        self.successor: Call | None = None
        """Who has taken over what it left behind."""


class ConcurrentLoop(ThreadlessLoop):
    """An event loop that is polled by the host, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.exception: Any = None
        self.home: Call | None = None
        """The constructor's call."""
        self._alarm: float | None = None
        self._cancelled_timers = 0

    # What asyncio asks.

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """It would call, before there is a call."""

    def close(self) -> None:
        """It is closed with its sandbox."""

    def run_until_complete(self, future: Any) -> Any:
        raise RuntimeError("the calls of this actor interleave in one event loop, which runs: await it")

    def run_forever(self) -> None:
        raise RuntimeError("the calls of this actor interleave in one event loop, which runs")

    def call_soon(  # type: ignore[override,unused-ignore]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        context = context or contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle, context)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment,unused-ignore]

    def call_at(  # type: ignore[override,unused-ignore]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or contextvars.copy_context()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        self._arm()
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled_timers += 1
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if self._cancelled_timers > max(_CANCELLED_TIMERS_MAX, len(timers) // 2):
            timers[:] = [timer for timer in timers if not timer.cancelled()]
            heapq.heapify(timers)
            self._cancelled_timers = 0

    # What `engine._asyncio` asks.

    async def fetch(self, handle: Any) -> Any:
        """The value of an object, once it is there."""
        try:
            return raised(await self._in_host(objects_async.get(handle, None)))
        except Err as error:
            raise failed(error.value) from None

    async def wait_for_handle(self, handle: Any) -> None:
        """Until an object, or the next of a stream, is there."""
        item = objects.Waitable_NextOf(handle.wire) if handle.kind == "task" else objects.Waitable_Object(handle)
        try:
            await self._in_host(objects_async.wait([item], 1, None))
        except Err as error:
            raise failed(error.value) from None

    async def emit(self, invocation: Any, item: Any) -> None:
        """Yields an item of a stream."""
        try:
            await self._in_host(objects_async.emit(invocation, item))
        except Err as error:
            raise failed(error.value) from None

    async def _in_host(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Whoever gives up waiting does not end the wait in the host, to which what it names is lent."""
        task = asyncio.Task(call, loop=self, eager_start=True)  # type: ignore[call-arg,unused-ignore]
        if task.done():
            return task.result()
        task.add_done_callback(_look)
        return await asyncio.shield(task)

    # The queues.

    def _enqueue(self, handle: asyncio.Handle, context: contextvars.Context) -> None:
        call = context.get(support._future_state) or self.home
        assert call is not None
        while call.successor is not None:
            call = call.successor
        call.handles.append(handle)
        if call.sleeps:
            call.sleeps = False
            self._on_behalf(call, objects_async.sleep(0))

    def _on_behalf(self, call: Call, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begins a wait of another call, which is polled when it is over."""
        asyncio.Task(coroutine, loop=self, context=call.context.copy(), eager_start=True)  # type: ignore[call-arg,unused-ignore]

    def _arm(self) -> None:
        """Sees to it that the next timer is not missed."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0].cancelled():
            heapq.heappop(timers)
            self._cancelled_timers = max(self._cancelled_timers - 1, 0)
        if not timers:
            return
        when = timers[0].when()
        if self._alarm is None or when < self._alarm:
            self._alarm = when
            call = self.home or support._future_state.get()
            self._on_behalf(call, self._ring(when))

    async def _ring(self, when: float) -> None:
        await objects_async.sleep(max(int((when - self.time()) * 1e9), 0))
        # An earlier one may have been set meanwhile, and rung.
        if self._alarm == when:
            self._alarm = None
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        now = self.time()
        while timers and timers[0].when() <= now:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            if not timer.cancelled():
                self._enqueue(timer, timer._context)  # type: ignore[attr-defined]
        self._arm()

    def time(self) -> float:
        return time.monotonic()

    def poll(self, call: Call) -> int:
        """Lets a call go on, and says what it waits for."""
        call.sleeps = False
        if call.invocation is not None and call.invocation.is_cancelled() and call.body is not None:
            body, call.body = call.body, None
            body.cancel()
        for _ in range(_ROUNDS_MAX):
            handles, call.handles = call.handles, []
            for handle in handles:
                if not handle.cancelled():
                    handle._run()
            if not call.handles:
                break
        _guest.flush()
        if self.exception is not None:
            raise self.exception
        if call.pending_count == 0:
            self._leave(call)
            return _EXIT
        if call.handles:
            runtime.context_set(call)
            return _YIELD
        if call.waitable_set is None:
            call.waitable_set = runtime.waitable_set_new()
        runtime.context_set(call)
        call.sleeps = True
        code: int = _WAIT | (call.waitable_set << 4)
        return code

    def _leave(self, call: Call) -> None:
        """What a call leaves behind goes home."""
        home = self.home
        if home is not None and (call.futures or call.handles):
            if home.waitable_set is None:
                home.waitable_set = runtime.waitable_set_new()
            home.futures.update(call.futures)
        for waitable in call.futures:
            runtime.waitable_join(waitable, 0 if home is None else home.waitable_set)
        call.successor = home
        left, call.handles = call.handles, []
        for handle in left:
            self._enqueue(handle, handle._context)  # type: ignore[attr-defined]
        if call.waitable_set is not None:
            runtime.waitable_set_drop(call.waitable_set)


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _first_poll(export_index: int, borrows: int, coroutine: Any) -> int:
    call = Call()
    call.context.run(support._set_future_state, call)
    coroutine = support._return_result(export_index, borrows, coroutine)
    asyncio.Task(coroutine, loop=_loop, context=call.context)  # type: ignore[call-arg,unused-ignore]
    return _loop.poll(call)


class ConcurrentSandbox(Sandbox):
    """The backend, where several calls are served."""

    # Tasks begin sooner in the other form.
    component = RUNNER
    concurrent_component = None

    @property
    def invocation(self) -> Any:  # type: ignore[override,unused-ignore]
        """Of the call whose code runs; None in what it has left behind."""
        call = support._future_state.get(None)
        return None if call is None else call.invocation

    @invocation.setter
    def invocation(self, invocation: Any) -> None:
        pass


async def _serving(invocation: Any, serve: Coroutine[Any, Any, Any]) -> Any:
    call = support._future_state.get()
    call.invocation = invocation
    call.body = asyncio.current_task()
    invocation.is_cancelled()
    try:
        return await serve
    except Err:
        raise
    except BaseException as error:  # noqa: BLE001 - what leaves an export is a trap
        raise Err(failure_of(error)) from None
    finally:
        call.body = None
        _guest.flush()
        call.invocation = None


async def run(invocation: Any, function: str, arguments: list[Any]) -> list[Any]:
    """One task."""
    return list(await _serving(invocation, _settled(invocation, _guest.run_called, function, arguments)))


async def call(invocation: Any, method: str, arguments: list[Any]) -> list[Any]:
    """One call of the actor."""
    return list(await _serving(invocation, _settled(invocation, _guest.method_called, method, arguments)))


async def _settled(invocation: Any, begin: Any, name: str, arguments: list[Any]) -> Any:
    called = begin(name, arguments)
    if called.is_async_stream:
        async for item in called.result:
            await _loop.emit(invocation, lowered(called.encoded(item)))
        return ()
    if called.is_awaited:
        called.result = await called.result
    return _guest.results(invocation, called)


async def create(invocation: Any, class_: str, arguments: list[Any]) -> None:
    """Makes the actor. The call stays after it has returned: it is where the others' leftovers go."""
    home = support._future_state.get()
    home.pending_count += 1
    _loop.home = home

    async def make() -> None:
        _guest.make_actor(class_, arguments)

    await _serving(invocation, make())


async def main(invocation: Any, arguments: list[str]) -> Any:
    """This form of the runner has no programs."""
    raise Err(failure_of(TypeError("programs run in the other form of the runner, python.wasm")))


_loop = ConcurrentLoop()


def install() -> None:
    """Once, while the component is made: puts the loop into the place of componentize-py's."""
    _guest.use(ConcurrentSandbox())
    asyncio.set_event_loop(_loop)
    asyncio.events._set_running_loop(_loop)
    support._loop = _loop
    support.first_poll = _first_poll
    support._poll = _loop.poll
