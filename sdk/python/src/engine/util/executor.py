"""A `concurrent.futures.Executor` whose workers are sandboxes."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import engine
from engine import _session

__all__ = ["Executor"]


def _call(function: Any, args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


class Executor(concurrent.futures.Executor):
    """Submits calls as tasks.

    with Executor(num_cpus=1) as executor:
        futures = [executor.submit(square, i) for i in range(4)]
        print([future.result() for future in futures])
    """

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        self._run = engine.remote(_call).options(**options)
        self._refs: list[Any] = []
        self._is_shut_down = False
        self._shared: dict[Any, Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Runs a call as a task."""
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        shared = self._shared.get(fn)
        if shared is None:
            shared = self._shared[fn] = engine.put(fn)
        ref = self._run.remote(shared, args, kwargs)
        self._refs = [one for one in self._refs if not one.is_ready()]
        self._refs.append(ref)
        return _Lazy(ref) if _session.backend().is_sandbox else ref.future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more calls; waits for those that run, or cancels them."""
        self._is_shut_down = True
        if cancel_futures:
            for ref in self._refs:
                engine.cancel(ref)
        if wait and self._refs:
            engine.wait(self._refs, num_returns=len(self._refs))


class _Lazy(concurrent.futures.Future[Any]):
    """In a sandbox, where nobody sets it from outside: it asks when it is asked."""

    def __init__(self, ref: Any) -> None:
        super().__init__()
        self._ref = ref

    def _settle(self, timeout: float | None) -> None:
        if super().done():
            return
        try:
            value = engine.get(self._ref, timeout=timeout)
        except engine.exceptions.GetTimeoutError as error:
            raise concurrent.futures.TimeoutError(str(error)) from None
        except Exception as error:  # noqa: BLE001 - handed on
            self.set_exception(error)
        else:
            self.set_result(value)

    def done(self) -> bool:
        if not super().done() and self._ref.is_ready():
            self._settle(None)
        return super().done()

    def result(self, timeout: float | None = None) -> Any:
        self._settle(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._settle(timeout)
        return super().exception(0)

    def cancel(self) -> bool:
        if self.done():
            return False
        engine.cancel(self._ref)
        return super().cancel()
