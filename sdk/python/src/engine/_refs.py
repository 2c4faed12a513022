"""References to objects, and streams of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from engine import _notebook, _session
from engine._backend import CallFailed, ObjectHandle, TaskHandle
from engine._serialize.values import decode, read_handle, write_handle
from engine.exceptions import of_call

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ObjectRef(Awaitable[T_co], Generic[T_co]):
    """A reference to a value that exists or will: what `.remote()` and `put` give.

    Dropping the last reference frees the value. `engine.get(ref)` waits for it, and so does `await ref`.

        ref = square.remote(3)
        assert engine.get(ref) == 9
    """

    __slots__ = ("_handle", "_task", "__weakref__")

    def __init__(self, handle: ObjectHandle, task: TaskHandle | None = None) -> None:
        self._handle = handle
        self._task = task

    def hex(self) -> str:
        """The object's id, for logs and listings."""
        return self._handle.id()

    def task_id(self) -> str | None:
        """The id of the task that makes it, where that is known."""
        return None if self._task is None else self._task.id()

    def is_ready(self) -> bool:
        """Whether the value, or the failure in its place, is there."""
        return self._handle.is_ready()

    def future(self) -> Any:
        """A `concurrent.futures.Future` of the value (of clients)."""
        import concurrent.futures

        made: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def done() -> None:
            if not made.set_running_or_notify_cancel():
                return
            try:
                made.set_result(self._value())
            except BaseException as error:  # noqa: BLE001 - handed on
                made.set_exception(error)

        _session.backend().when_ready(self._handle, done)
        return made

    def _value(self, timeout: float | None = None) -> T_co:
        try:
            [value] = _session.backend().get_many([self._handle], timeout)
        except CallFailed as failed:
            raise of_call(failed) from None
        result: T_co = decode(value)
        return result

    def __await__(self) -> Generator[Any, None, T_co]:
        from engine._asyncio import value

        try:
            got = yield from value(self._handle)
        except CallFailed as failed:
            raise of_call(failed) from None
        result: T_co = decode(got)
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self.hex() == other.hex()

    def __hash__(self) -> int:
        return hash(self.hex())

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def _repr_html_(self) -> str:
        state = "ready" if self.is_ready() else "not ready yet"
        task = self.task_id()
        return _notebook.rich("ObjectRef", [(state, self.hex())] + ([] if task is None else [("of", task)]))

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return _read_object, (write_handle(self._handle),)


def _read_object(index: int) -> ObjectRef[Any]:
    return ObjectRef(read_handle(index))


def of_handle(handle: Any) -> Any:
    """What a program sees for a handle of a value."""
    if handle.kind == "object":
        return ObjectRef(handle)
    if handle.kind == "actor":
        from engine._actor import ActorHandle

        return ActorHandle._of(handle, None)
    from engine.util.placement_group import PlacementGroup

    return PlacementGroup._of(handle, (), "pack")


class ObjectRefGenerator(Iterator["ObjectRef[T]"], Generic[T]):
    """The references of a streaming task, each as soon as the task has yielded it. Async too.

        for ref in numbers.remote(10):
            print(engine.get(ref))

    A task that fails in the middle: those before stay readable, the next step raises, and the stream has ended.
    """

    def __init__(self, task: TaskHandle) -> None:
        self._task = task
        self._has_ended = False

    def __iter__(self) -> ObjectRefGenerator[T]:
        return self

    def __next__(self) -> ObjectRef[T]:
        return self._next(None)

    def _next(self, timeout: float | None) -> ObjectRef[T]:
        if self._has_ended:
            raise StopIteration
        try:
            handle = self._task.next(timeout)
        except CallFailed as failed:
            self._has_ended = failed.code != "GET_TIMEOUT"
            raise of_call(failed) from None
        if handle is None:
            self._has_ended = True
            raise StopIteration
        return ObjectRef(handle, self._task)

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return _Async(self)

    def task_id(self) -> str:
        """The id of the task, for logs and listings."""
        return self._task.id()

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._task.id()})"


class _Async(AsyncIterator["ObjectRef[T]"]):
    def __init__(self, generator: ObjectRefGenerator[T]) -> None:
        self._generator = generator

    async def __anext__(self) -> ObjectRef[T]:
        await _Ready(self._generator._task)
        try:
            return self._generator._next(None)
        except StopIteration:
            raise StopAsyncIteration from None


class _Ready:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __await__(self) -> Generator[Any, None, None]:
        from engine._asyncio import ready

        yield from ready(self._handle)
