"""Functions and actors of components that are written in another language.

    engine.init(components={"texts": "texts.wasm"})
    words = engine.cross_language.function("texts", "count_words")
    print(engine.get(words.remote("a b c")))

Arguments and results are MessagePack: None, bool, int, float, str, bytes, lists, dicts and references. What a Rust
struct is, is a dict here. Tables (pyarrow's, and DataFrames) are Arrow streams, both ways.
"""

from __future__ import annotations

from typing import Any

from engine import _options, _session
from engine._actor import ActorHandle
from engine._backend import Argument, CallFailed, Codec, Function, Value
from engine._function import results
from engine._refs import ObjectRef
from engine._serialize import arrow, msgpack
from engine.exceptions import of_call

__all__ = ["ForeignActor", "ForeignClass", "ForeignFunction", "actor_class", "function", "get_actor"]


def function(component: str | None, name: str, **options: Any) -> ForeignFunction:
    """A function of a component of the job, by the names that the job and the component know."""
    return ForeignFunction(component, name, _options.checked(options, _options.TASK, "a function"))


def actor_class(component: str | None, name: str, **options: Any) -> ForeignClass:
    """A class of actors of a component of the job."""
    return ForeignClass(component, name, _options.checked(options, _options.ACTOR, "a class"))


def get_actor(name: str, namespace: str | None = None) -> ForeignActor:
    """The actor of this name, whose methods take MessagePack."""
    try:
        return ForeignActor(_session.backend().lookup_actor(name, namespace))
    except CallFailed as failed:
        raise of_call(failed) from None


def arguments(args: tuple[Any, ...]) -> list[Argument]:
    """Arguments as other languages read them."""
    out: list[Argument] = []
    for value in args:
        if isinstance(value, ObjectRef):
            out.append(value._handle)
            continue
        if arrow.is_table(value):
            out.append(_table(value))
            continue
        handles: list[Any] = []
        out.append((Codec.MSGPACK, msgpack.dumps(value, handles), handles))
    return out


def _table(value: Any) -> Value:
    table = arrow.encode(value)
    if table is None:
        raise TypeError(
            f"a {type(value).__qualname__} goes to another language as an Arrow table, which needs pyarrow, columns of "
            "one type each, and no name twice: make a pyarrow.Table of it"
        )
    return table


class ForeignFunction:
    """A function of another component."""

    def __init__(self, component: str | None, name: str, given: dict[str, Any]) -> None:
        self._function = Function(component, name)
        self._given = given
        # A compiled component starts in microseconds: each task has an instance of its own, as in its language.
        made = _options.task({"isolation": "task", **given}, name, 1)
        self._options = _without_memory(made, given)

    def remote(self, *args: Any) -> Any:
        """Runs it; gives the reference to its result."""
        try:
            task = _session.backend().spawn(self._function, arguments(args), self._options)
            return results(task, self._options.num_returns)
        except CallFailed as failed:
            raise of_call(failed) from None

    def options(self, **options: Any) -> ForeignFunction:
        """The function with other options."""
        given = _options.checked(options, _options.TASK, f"{self._function.name}.options()")
        return ForeignFunction(self._function.component, self._function.name, {**self._given, **given})


class ForeignClass:
    """A class of actors of another component."""

    def __init__(self, component: str | None, name: str, given: dict[str, Any]) -> None:
        self._function = Function(component, name)
        self._given = given
        self._options = _without_memory(_options.actor(given), given)

    def remote(self, *args: Any) -> ForeignActor:
        """Makes an actor."""
        try:
            backend = _session.backend()
            return ForeignActor(backend.create_actor(self._function, arguments(args), self._options))
        except CallFailed as failed:
            raise of_call(failed) from None

    def options(self, **options: Any) -> ForeignClass:
        """The class with other options."""
        given = _options.checked(options, _options.ACTOR, f"{self._function.name}.options()")
        return ForeignClass(self._function.component, self._function.name, {**self._given, **given})


class ForeignActor(ActorHandle):
    """An actor whose methods take MessagePack."""

    def __init__(self, handle: Any) -> None:
        self.__dict__["_handle"] = handle
        self.__dict__["_class_info"] = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _ForeignMethod(self._handle, name, {})


class _ForeignMethod:
    def __init__(self, handle: Any, name: str, given: dict[str, Any]) -> None:
        self._handle = handle
        self._name = name
        self._options = _options.call(given, 1)

    def remote(self, *args: Any) -> Any:
        """Queues a call."""
        try:
            task = self._handle.call(self._name, arguments(args), self._options)
            return results(task, self._options.num_returns)
        except CallFailed as failed:
            raise of_call(failed) from None

    def options(self, **options: Any) -> _ForeignMethod:
        """The method with other options."""
        given = _options.checked(options, _options.METHOD, f"{self._name}.options()")
        return _ForeignMethod(self._handle, self._name, given)


def _without_memory(made: Any, given: dict[str, Any]) -> Any:
    """Compiled components take what the job gives them, not what an interpreter needs."""
    import dataclasses

    if given.get("memory"):
        return made
    return dataclasses.replace(made, placement=dataclasses.replace(made.placement, memory=None))
