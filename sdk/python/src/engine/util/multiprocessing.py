"""A `multiprocessing.Pool` whose workers are sandboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import engine

__all__ = ["AsyncResult", "Pool", "TimeoutError"]

TimeoutError = engine.exceptions.GetTimeoutError
_CHUNKS_PER_CPU = 4
_initialized: set[Any] = set()


def _chunk(function: Any, items: list[Any], is_star: bool, initializer: Any) -> list[Any]:
    if initializer is not None:
        key, setup, arguments = initializer
        if key not in _initialized:
            setup(*arguments)
            _initialized.add(key)
    return [function(*item) if is_star else function(item) for item in items]


def _apply(function: Any, args: Any, kwargs: Any, initializer: Any) -> Any:
    if initializer is not None:
        _chunk(None, [], False, initializer)
    return function(*args, **kwargs)


class AsyncResult:
    """A result that is to come."""

    def __init__(self, refs: list[Any], gather: Callable[[list[Any]], Any], callback: Any, on_error: Any) -> None:
        self._refs = refs
        self._gather = gather
        self._callback = callback
        self._on_error = on_error
        self._is_told = False

    def get(self, timeout: float | None = None) -> Any:
        """Waits for it."""
        try:
            result = self._gather(engine.get(self._refs, timeout=timeout))
        except engine.exceptions.GetTimeoutError:
            raise
        except Exception as error:
            self._tell(self._on_error, error)
            raise
        self._tell(self._callback, result)
        return result

    def _tell(self, callback: Any, value: Any) -> None:
        if callback is not None and not self._is_told:
            self._is_told = True
            callback(value)

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it is there, or the timeout."""
        if self._refs:
            engine.wait(self._refs, num_returns=len(self._refs), timeout=timeout)

    def ready(self) -> bool:
        """Whether it is there."""
        return all(ref.is_ready() for ref in self._refs)

    def successful(self) -> bool:
        """Whether it is a value; raises ValueError when it is not there yet."""
        if not self.ready():
            raise ValueError("the result is not there yet")
        try:
            engine.get(self._refs)
        except engine.exceptions.EngineError:
            return False
        return True


class Pool:
    """As `multiprocessing.Pool`; calls run as tasks, so there is no fixed number of workers.

    with Pool() as pool:
        print(pool.map(square, range(10)))
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("a pool has at least one process")
        if not engine.is_initialized():
            engine.init(ray_address)
        self._processes = processes or max(1, int(engine.cluster_resources().get("CPU", 1)))
        options = dict(ray_remote_args or {})
        if maxtasksperchild == 1:
            options["isolation"] = "task"
        self._run = engine.remote(_chunk).options(**options)
        self._call = engine.remote(_apply).options(**options)
        self._initializer = engine.put((id(self), initializer, tuple(initargs))) if initializer else None
        self._refs: list[Any] = []
        self._is_closed = False

    def _check(self) -> None:
        if self._is_closed:
            raise ValueError("Pool not running")

    def _started(self, function: Any, items: list[Any], chunksize: int | None, is_star: bool) -> list[Any]:
        self._check()
        if chunksize is None:
            chunksize = -(-len(items) // (self._processes * _CHUNKS_PER_CPU)) or 1
        shared = engine.put(function)
        refs = [
            self._run.remote(shared, items[at : at + chunksize], is_star, self._initializer)
            for at in range(0, len(items), chunksize)
        ]
        self._refs = [ref for ref in self._refs if not ref.is_ready()] + refs
        return refs

    def apply(self, func: Callable[..., Any], args: Any = (), kwds: Any = None) -> Any:
        """Calls the function and waits."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self, func: Callable[..., Any], args: Any = (), kwds: Any = None, callback: Any = None, error_callback: Any = None
    ) -> AsyncResult:
        """Calls the function."""
        self._check()
        ref = self._call.remote(func, tuple(args), dict(kwds or {}), self._initializer)
        self._refs.append(ref)
        return AsyncResult([ref], lambda values: values[0], callback, error_callback)

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """The results for all items, in order."""
        result: list[Any] = self.map_async(func, iterable, chunksize).get()
        return result

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Any = None,
        error_callback: Any = None,
    ) -> AsyncResult:
        """The same, later."""
        refs = self._started(func, list(iterable), chunksize, False)
        return AsyncResult(refs, _flat, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """As map, with the items unpacked as arguments."""
        result: list[Any] = self.starmap_async(func, iterable, chunksize).get()
        return result

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Any = None,
        error_callback: Any = None,
    ) -> AsyncResult:
        """The same, later."""
        refs = self._started(func, list(iterable), chunksize, True)
        return AsyncResult(refs, _flat, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1) -> Iterator[Any]:
        """The results one by one, in order."""
        refs = self._started(func, list(iterable), chunksize, False)
        return (value for ref in refs for value in engine.get(ref))

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> Iterator[Any]:
        """The results as they come."""
        refs = self._started(func, list(iterable), chunksize, False)

        def results() -> Iterator[Any]:
            left = refs
            while left:
                [done], left = engine.wait(left)
                yield from engine.get(done)

        return results()

    def close(self) -> None:
        """No more calls."""
        self._is_closed = True

    def terminate(self) -> None:
        """Cancels what runs."""
        self._is_closed = True
        for ref in self._refs:
            engine.cancel(ref)

    def join(self) -> None:
        """Waits for everything, after `close` or `terminate`."""
        if not self._is_closed:
            raise ValueError("Pool is still running")
        if self._refs:
            engine.wait(self._refs, num_returns=len(self._refs))

    def __enter__(self) -> Pool:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()


def _flat(parts: list[list[Any]]) -> list[Any]:
    return [value for part in parts for value in part]
