"""get, put, wait, cancel, kill, get_actor, and the decorator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from engine import _notebook, _session
from engine._actor import ActorClass, ActorHandle
from engine._backend import CallFailed, Value
from engine._function import RemoteFunction
from engine._refs import ObjectRef, ObjectRefGenerator
from engine._serialize.values import decode, encode
from engine.exceptions import InvalidArgumentError, of_call

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Decorator(Protocol):
    @overload
    def __call__(self, target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap,unused-ignore]
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


@overload
def remote(target: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap,unused-ignore]
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(*, num_returns: int | str, **options: Any) -> Callable[[Any], Any]: ...
@overload
def remote(**options: Any) -> _Decorator: ...
def remote(*args: Any, **options: Any) -> Any:
    """Makes a function a task, or a class an actor, that runs in sandboxes. With options or without:

        @engine.remote
        def f(): ...

        @engine.remote(num_cpus=2, max_retries=5)
        def g(): ...

        Remote = engine.remote(SomeClass)

    Options: `num_cpus`, `num_gpus`, `resources`, `memory`, `num_returns`, `max_retries`, `retry_exceptions`, `name`,
    `scheduling_strategy`, `runtime_env`, and what a sandbox adds: `deadline`, `cpu_time`, `isolation`, `cache`.
    """
    if args:
        if len(args) != 1 or options:
            raise TypeError("@engine.remote takes options by keyword only: @engine.remote(num_cpus=2)")
        return _make(args[0], {})
    return lambda target: _make(target, options)


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"{target!r} is remote already")
    if inspect.isclass(target):
        return ActorClass(target, options)
    if callable(target):
        if not inspect.isfunction(target):
            raise TypeError(f"@engine.remote takes a function or a class, not a {type(target).__qualname__}")
        return RemoteFunction(target, options)
    raise TypeError(f"@engine.remote takes a function or a class, not {target!r}; options go by keyword")


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a reference, or the values of a list of them in its order; waits for them. Raises what the first
    failed one failed with, or `GetTimeoutError` after `timeout` seconds, which leaves the tasks alone (0 polls).

        total = sum(engine.get([square.remote(i) for i in range(4)]))
    """
    if timeout is not None and timeout < 0:
        if timeout != -1:
            raise InvalidArgumentError(f"a timeout is a number of seconds from 0 up, not {timeout}")
        timeout = None
    try:
        if isinstance(refs, ObjectRef):
            [value] = _values([refs], timeout)
            return decode(value)
        if isinstance(refs, (list, tuple)):
            for ref in refs:
                if not isinstance(ref, ObjectRef):
                    raise _no_ref("get", ref)
            if not refs:
                return []
            return [decode(value) for value in _values(refs, timeout)]
    except CallFailed as failed:
        raise of_call(failed) from None
    if hasattr(refs, "_result_refs"):
        return get(refs._result_refs(), timeout=timeout)
    raise _no_ref("get", refs)


def _values(refs: Sequence[ObjectRef[Any]], timeout: float | None) -> Sequence[Value]:
    if _notebook.is_here():
        return _notebook.get_many(_session.backend(), refs, timeout)
    return _session.backend().get_many([ref._handle for ref in refs], timeout)


def _no_ref(what: str, value: Any) -> Exception:
    hint = ""
    if isinstance(value, ObjectRefGenerator):
        hint = ": iterate over the stream, and get its references one by one"
    return TypeError(f"engine.{what} takes references, not a {type(value).__qualname__}{hint}")


def put(value: T) -> ObjectRef[T]:
    """Stores a value once, for any number of readers.

    ref = engine.put(weights)
    [predict.remote(ref, batch) for batch in batches]
    """
    if isinstance(value, ObjectRef):
        raise TypeError("engine.put takes a value; this is a reference already")
    try:
        return ObjectRef(_session.backend().put(encode(value)))
    except CallFailed as failed:
        raise of_call(failed) from None


def wait(
    refs: Sequence[Any],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Splits references into those that are ready and the others, as soon as `num_returns` are ready (exactly so many
    when more are), or at the timeout. Both lists keep the order. Streams can be waited for too: one is ready
    when its next reference is.

        while refs:
            [done], refs = engine.wait(refs)
            print(engine.get(done))
    """
    if isinstance(refs, (ObjectRef, ObjectRefGenerator)):
        raise TypeError("engine.wait takes a list of references")
    refs = list(refs)
    if not refs:
        return [], []
    if not 0 < num_returns <= len(refs):
        raise InvalidArgumentError(f"num_returns is {num_returns}, and there are {len(refs)} references")
    if timeout is not None and timeout < 0:
        raise InvalidArgumentError(f"a timeout is a number of seconds from 0 up, not {timeout}")
    items: list[Any] = []
    for ref in refs:
        if isinstance(ref, ObjectRef):
            items.append(ref._handle)
        elif isinstance(ref, ObjectRefGenerator):
            items.append(ref._task)
        else:
            raise _no_ref("wait", ref)
    if len(set(map(id, items))) != len(items):
        raise InvalidArgumentError("engine.wait got the same reference twice")
    try:
        ready = _session.backend().wait(items, num_returns, timeout)
    except CallFailed as failed:
        raise of_call(failed) from None
    chosen = set(ready)
    return [refs[index] for index in ready], [ref for index, ref in enumerate(refs) if index not in chosen]


def cancel(ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True) -> None:
    """Cancels the task behind a reference: a pending one never runs, a running one is stopped, a running actor call
    is asked to stop (with `force` its actor ends), a finished one is left alone. Reading its objects
    raises `TaskCancelledError`."""
    if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
        raise _no_ref("cancel", ref)
    if ref._task is None:
        raise InvalidArgumentError(
            "only who made a call can cancel it: this reference was put, or came from elsewhere"
        )
    try:
        ref._task.cancel(force, recursive)
    except CallFailed as failed:
        raise of_call(failed) from None


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """Ends an actor now: calls in flight fail with `ActorDiedError`. With `no_restart=False` it is made anew if its
    `max_restarts` allow."""
    if not isinstance(actor, ActorHandle):
        raise TypeError(f"engine.kill takes an actor's handle, not a {type(actor).__qualname__}; tasks are cancelled")
    try:
        actor._handle.kill(not no_restart)
    except CallFailed as failed:
        raise of_call(failed) from None


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The actor of this name. Raises `NotFoundError` (a ValueError)."""
    try:
        return ActorHandle._of(_session.backend().lookup_actor(name, namespace), None)
    except CallFailed as failed:
        raise of_call(failed) from None


