"""Actors: classes whose instances live in sandboxes of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from engine import _notebook, _options, _session
from engine._backend import CallFailed, CallOptions, Function
from engine._calls import Shipped, pack
from engine._function import results
from engine._serialize.values import read_handle, write_handle
from engine._shape import Shape, shape_of
from engine.exceptions import of_call

T = TypeVar("T")
_METHOD_OPTIONS = "__engine_method_options__"


def method(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that a method of an actor always has.

        @engine.remote
        class Splitter:
            @engine.method(num_returns=2)
            def halves(self, items):
                middle = len(items) // 2
                return items[:middle], items[middle:]

        first, second = Splitter.remote().halves.remote([1, 2, 3])
    """
    checked = _options.checked(options, _options.METHOD, "engine.method()")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _METHOD_OPTIONS, checked)
        return function

    return decorate


@dataclass(frozen=True)
class MethodInfo:
    """What a handle knows of a method."""

    shape: Shape
    is_stream: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassInfo:
    """What a handle knows of its class."""

    name: str
    methods: Mapping[str, MethodInfo]
    is_async: bool = False
    """Whether there are async methods: the calls of its actors interleave."""


def _info(cls: type) -> ClassInfo:
    methods: dict[str, MethodInfo] = {}
    is_async = False
    for name in dir(cls):
        if name.startswith("__") and name != "__call__":
            continue
        raw = inspect.getattr_static(cls, name)
        value = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
        if not inspect.isfunction(value):
            continue
        given = getattr(value, _METHOD_OPTIONS, {})
        shape = shape_of(value, f"{cls.__name__}.{name}", skip_self=not isinstance(raw, staticmethod))
        is_stream = inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value)
        methods[name] = MethodInfo(shape, is_stream, given)
        is_async = is_async or inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)
    return ClassInfo(cls.__name__, methods, is_async)


def _asks_to_interleave(given: Mapping[str, Any]) -> bool:
    """Whether the options say that calls interleave; async methods alone do where that is possible."""
    return (given.get("max_concurrency") or 1) > 1 or bool(given.get("concurrency_groups"))


class ActorClass(Generic[T]):
    """What `@engine.remote` makes of a class: `C.remote(...)` makes an actor.

        @engine.remote
        class Counter:
            def __init__(self, start=0):
                self.count = start

            def add(self, n):
                self.count += n
                return self.count

        counter = Counter.remote()
        assert engine.get(counter.add.remote(5)) == 5
        Counter.options(name="hits", lifetime="detached").remote(10)
    """

    def __init__(self, cls: type[T], options: dict[str, Any]) -> None:
        self._cls = cls
        self._given = _options.checked(options, _options.ACTOR, "a remote class")
        self._shipped = Shipped()
        self._prepare()
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__

    def _prepare(self) -> None:
        cls = self._cls
        self._class_info = _info(cls)
        init = cls.__init__
        own = inspect.isfunction(init)
        self._shape = (
            shape_of(init, cls.__name__, skip_self=True)
            if own
            else Shape(cls.__name__, has_rest=False, has_more_keywords=False)
        )
        if self._given:
            _options.actor(self._given)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._cls.__name__
        raise TypeError(f"{name} is a remote class: make an actor with {name}.remote(...)")

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Makes an actor. The handle is there at once; calls wait until the actor is."""
        return self._create(self._given, args, kwargs)

    def options(self, **options: Any) -> ActorOptionsBound[T]:
        """The class with other options, for `.remote()` and `.bind()`."""
        given = _options.checked(options, _options.ACTOR, f"{self._cls.__name__}.options()")
        return ActorOptionsBound(self, {**self._given, **given})

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """An actor in a lazy graph, made when the graph is executed."""
        from engine.dag import ClassNode

        self._shape.check(args, kwargs)
        return ClassNode(self, self._given, args, kwargs)

    def _create(self, given: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        self._shape.check(args, kwargs)
        backend = _session.backend()
        options = _options.actor(given, self._class_info.is_async)
        arguments = [self._shipped.handle(self._cls, _options.packages(given)), *pack(args, kwargs, 0)]
        interleaves = options.max_concurrency > 1 or bool(options.concurrency_groups)
        component = backend.concurrent_component if interleaves else backend.component
        try:
            try:
                handle = backend.create_actor(Function(component, self._cls.__name__), arguments, options)
            except CallFailed as failed:
                # A job that was not begun by the Python SDK has one form of the runner.
                if not interleaves or failed.code != "NOT_FOUND" or _asks_to_interleave(given):
                    raise
                options = _options.actor({**given, "max_concurrency": 1})
                handle = backend.create_actor(
                    Function(backend.component, self._cls.__name__), arguments, options
                )
        except CallFailed as failed:
            raise of_call(failed) from None
        return ActorHandle._of(handle, self._class_info)

    def __getstate__(self) -> dict[str, Any]:
        given, packages = _options.travelling(self._given)
        return {"packages": packages, "cls": self._cls, "given": given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._cls = state["cls"]
        self._given = state["given"]
        self._shipped = Shipped()

    def __getattr__(self, name: str) -> Any:
        if name in ("_class_info", "_shape") and "_cls" in self.__dict__:
            self._prepare()
            return self.__dict__[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}: methods are called on an actor, which "
            ".remote() makes"
        )

    def __repr__(self) -> str:
        return f"<remote class {self._cls.__name__}>"


class ActorOptionsBound(Generic[T]):
    """A remote class with options of its own."""

    def __init__(self, cls: ActorClass[T], given: dict[str, Any]) -> None:
        _options.actor(given)
        self._cls = cls
        self._given = given

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """As `ActorClass.remote`."""
        return self._cls._create(self._given, args, kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """As `ActorClass.bind`."""
        from engine.dag import ClassNode

        self._cls._shape.check(args, kwargs)
        return ClassNode(self._cls, self._given, args, kwargs)


class ActorHandle:
    """An actor. `handle.method.remote(...)` calls a method; calls through one handle run in the order in which they
    were made. Handles may be passed to tasks and other actors, and keep the actor alive."""

    _handle: Any
    _class_info: ClassInfo | None

    @classmethod
    def _of(cls, handle: Any, info: ClassInfo | None) -> ActorHandle:
        made = cls.__new__(cls)
        made.__dict__["_handle"] = handle
        made.__dict__["_class_info"] = info
        return made

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("__") and name not in ("__call__", "__ray_terminate__", "__ray_ready__"):
            raise AttributeError(name)
        info = self._class_info
        known: MethodInfo | None = None
        if info is not None and not name.startswith("__ray_"):
            known = info.methods.get(name)
            if known is None:
                raise AttributeError(f"{info.name} has no method {name!r}")
        made = ActorMethod(self, name, known, {})
        # Kept, so that the next access costs nothing.
        self.__dict__[name] = made
        return made

    def _id(self) -> str:
        text: str = self._handle.id()
        return text

    @property
    def _actor_id(self) -> str:
        return self._id()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._id() == other._id()

    def __hash__(self) -> int:
        return hash(self._id())

    def __repr__(self) -> str:
        info = self._class_info
        return f"Actor({info.name if info else 'actor'}, {self._id()})"

    def _repr_html_(self) -> str:
        info = self._class_info
        methods = ", ".join(name for name in info.methods if not name.startswith("_")) if info else ""
        facts = [("actor", self._id())] + ([("methods", methods)] if methods else [])
        return _notebook.rich(info.name if info else "Actor", facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_actor, (write_handle(self._handle), self._class_info)


def _read_actor(index: int, info: ClassInfo | None) -> ActorHandle:
    return ActorHandle._of(read_handle(index), info)


class ActorMethod:
    """A method of an actor: `.remote(...)` queues a call."""

    __slots__ = ("_actor", "_handle", "_info", "_name", "_options")

    def __init__(
        self, actor: ActorHandle, name: str, info: MethodInfo | None, given: dict[str, Any]
    ) -> None:
        import weakref

        # The method is kept by its handle: no cycle, so that dropping the handle is the release. A method that
        # outlives it holds the backend's handle.
        self._actor = weakref.ref(actor)
        self._handle = actor._handle
        self._name = name
        self._info = info
        if info is not None:
            given = {**info.given, **given}
        self._options: CallOptions = _options.call(given, None if info and info.is_stream else 1)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self._name} is a method of an actor: call {self._name}.remote(...)")

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Queues a call; the reference to its result is there at once."""
        if self._info is not None:
            self._info.shape.check(args, kwargs)
        options = self._options
        try:
            task = self._handle.call(self._name, pack(args, kwargs, options.num_returns), options)
            return results(task, options.num_returns)
        except CallFailed as failed:
            raise of_call(failed) from None

    def options(self, **options: Any) -> ActorMethod:
        """The method with other options (`num_returns`, `name`, `deadline`, `concurrency_group`, …)."""
        checked = _options.checked(options, _options.METHOD, f"{self._name}.options()")
        actor = self._actor()
        if actor is None:
            actor = ActorHandle._of(self._handle, None)
        return ActorMethod(actor, self._name, self._info, checked)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A call in a lazy graph."""
        from engine.dag import MethodNode

        actor = self._actor()
        assert actor is not None
        return MethodNode(actor, self._name, {}, args, kwargs)
