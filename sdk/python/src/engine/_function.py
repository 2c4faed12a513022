"""Remote functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, overload



from engine import _options, _session
from engine._backend import CallFailed, Function, TaskOptions
from engine._calls import Shipped, pack
from engine._refs import ObjectRef, ObjectRefGenerator
from engine._shape import Shape, shape_of
from engine.exceptions import of_call

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class RemoteFunction(Generic[P, R]):
    """What `@engine.remote` makes of a function: `f.remote(...)` runs it in a sandbox somewhere.

        @engine.remote
        def square(x: int) -> int:
            return x * x

        ref = square.remote(3)
        assert engine.get(ref) == 9
        square.options(num_cpus=0.5, max_retries=5).remote(4)

    A generator function gives its items as a stream of references:

        @engine.remote
        def numbers(n):
            yield from range(n)

        for ref in numbers.remote(3):
            print(engine.get(ref))
    """

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        self._function = function
        self._given = _options.checked(options, _options.TASK, "a remote function")
        self._shipped = Shipped()
        self._prepare()
        functools.update_wrapper(self, function)

    def _prepare(self) -> None:
        function = self._function
        name = getattr(function, "__qualname__", type(function).__qualname__).replace("<locals>.", "")
        is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self._default_returns = None if is_stream else 1
        self._name = name
        self._options: TaskOptions = _options.task(self._given, name, self._default_returns)
        self._packages = _options.packages(self._given)
        self._shape: Shape = shape_of(function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{self._name} is a remote function: call {self._name}.remote(...), or {self._name}.local(...) to run it "
            "here and now"
        )

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function here and now, as if it were not remote."""
        return self._function(*args, **kwargs)

    @overload
    def remote(
        self: RemoteFunction[Any, Generator[T, Any, Any]], *args: Any, **kwargs: Any
    ) -> ObjectRefGenerator[T]: ...
    @overload
    def remote(
        self: RemoteFunction[Any, AsyncGenerator[T, Any]], *args: Any, **kwargs: Any
    ) -> ObjectRefGenerator[T]: ...
    @overload
    def remote(self: RemoteFunction[Any, Iterator[T]], *args: Any, **kwargs: Any) -> ObjectRefGenerator[T]: ...
    @overload
    def remote(
        self: RemoteFunction[Any, Coroutine[Any, Any, T]], *args: Any, **kwargs: Any
    ) -> ObjectRef[T]: ...
    @overload
    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the function in a sandbox; the reference to its result is there at once. References among the
        arguments arrive as their values, once these exist."""
        return self._spawn(self._options, args, kwargs)

    def _spawn(self, options: TaskOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._shape.check(args, kwargs)
        backend = _session.backend()
        arguments = [self._shipped.handle(self._function, self._packages), *pack(args, kwargs, options.num_returns)]
        try:
            task = backend.spawn(Function(backend.component, self._name), arguments, options)
            return results(task, options.num_returns)
        except CallFailed as failed:
            raise of_call(failed) from None

    @overload
    def options(self, *, num_returns: int | str, **options: Any) -> Any: ...
    @overload
    def options(self, **options: Any) -> BoundOptions[P, R]: ...
    def options(self, **options: Any) -> Any:
        """The function with other options, for `.remote()` and `.bind()`."""
        given = _options.checked(options, _options.TASK, f"{self._name}.options()")
        return BoundOptions(self, {**self._given, **given})

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A node of a lazy graph: `.execute()` runs it and what it depends on."""
        from engine.dag import FunctionNode

        self._shape.check(args, kwargs)
        return FunctionNode(self, None, args, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        given, packages = _options.travelling(self._given)
        return {"packages": packages, "function": self._function, "given": given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._function = state["function"]
        self._given = state["given"]
        self._shipped = Shipped()
        self._is_prepared = False

    def __getattr__(self, name: str) -> Any:
        # One that arrived in a pickle is prepared at its first use: its function may not be whole before.
        if name in _LATE and not self.__dict__.get("_is_prepared", True):
            self._is_prepared = True
            self._prepare()
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<remote function {self._name}>"


_LATE = {"_name", "_options", "_shape", "_default_returns", "_packages"}


class BoundOptions(Generic[P, R]):
    """A remote function with options of its own."""

    def __init__(self, function: RemoteFunction[P, R], given: dict[str, Any]) -> None:
        self._function = function
        self._options = _options.task(given, function._name, function._default_returns)

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef[R]:
        """As `RemoteFunction.remote`."""
        made: ObjectRef[R] = self._function._spawn(self._options, args, kwargs)
        return made

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """As `RemoteFunction.bind`."""
        from engine.dag import FunctionNode

        self._function._shape.check(args, kwargs)
        return FunctionNode(self._function, self._options, args, kwargs)


def results(task: Any, num_returns: int | None) -> Any:
    """What `.remote()` gives for a task: a reference, a list of them, nothing, or a stream."""
    if num_returns is None:
        return ObjectRefGenerator[Any](task)
    outputs = task.outputs()
    if num_returns == 1:
        return ObjectRef[Any](outputs[0], task)
    if num_returns == 0:
        return None
    return [ObjectRef[Any](output, task) for output in outputs]
