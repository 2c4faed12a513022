"""Lazy graphs: `.bind()` makes nodes, `.execute()` runs a node and what it depends on.

    with InputNode() as x:
        graph = add.bind(square.bind(x), 1)
    print(engine.get(graph.execute(3)))
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from engine._actor import ActorClass, ActorHandle
from engine._backend import TaskOptions
from engine._function import RemoteFunction

__all__ = ["ClassNode", "DAGNode", "FunctionNode", "InputNode", "MethodNode", "MultiOutputNode"]


class DAGNode:
    """Something that is run when the graph is."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._args = args
        self._kwargs = kwargs

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the graph with these inputs. A node that several others use runs once."""
        return self._run({}, (args, kwargs))

    def _run(self, done: dict[int, Any], given: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        if id(self) not in done:
            args = tuple(_resolved(one, done, given) for one in self._args)
            kwargs = {name: _resolved(one, done, given) for name, one in self._kwargs.items()}
            done[id(self)] = self._start(args, kwargs, done, given)
        return done[id(self)]

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        raise NotImplementedError


def _resolved(value: Any, done: dict[int, Any], given: Any) -> Any:
    if isinstance(value, DAGNode):
        return value._run(done, given)
    if isinstance(value, (list, tuple)) and any(isinstance(one, DAGNode) for one in value):
        return type(value)(_resolved(one, done, given) for one in value)
    if isinstance(value, dict) and any(isinstance(one, DAGNode) for one in value.values()):
        return {key: _resolved(one, done, given) for key, one in value.items()}
    return value


class FunctionNode(DAGNode):
    """A task to be."""

    def __init__(
        self, function: RemoteFunction[Any, Any], options: TaskOptions | None, args: Any, kwargs: Any
    ) -> None:
        super().__init__(args, kwargs)
        self._function = function
        self._options = options

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        return self._function._spawn(self._options or self._function._options, args, kwargs)


class ClassNode(DAGNode):
    """An actor to be: made at the first execution, and the same in all."""

    def __init__(self, cls: ActorClass[Any], given: dict[str, Any], args: Any, kwargs: Any) -> None:
        super().__init__(args, kwargs)
        self._class = cls
        self._given = given
        self._actor: ActorHandle | None = None

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        if self._actor is None:
            self._actor = self._class._create(self._given, args, kwargs)
        return self._actor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._class._class_info.methods:
            raise AttributeError(f"{self._class!r} has no method {name!r}")
        return _Method(self, name)


class _Method:
    def __init__(self, actor: Any, name: str) -> None:
        self._actor = actor
        self._name = name
        self._given: dict[str, Any] = {}

    def options(self, **options: Any) -> _Method:
        """Other options for the call."""
        made = _Method(self._actor, self._name)
        made._given = options
        return made

    def bind(self, *args: Any, **kwargs: Any) -> MethodNode:
        """The call as a node."""
        return MethodNode(self._actor, self._name, self._given, args, kwargs)


class MethodNode(DAGNode):
    """A call of an actor, to be."""

    def __init__(self, actor: Any, name: str, given: dict[str, Any], args: Any, kwargs: Any) -> None:
        super().__init__(args, kwargs)
        self._actor = actor
        self._name = name
        self._given = given

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        actor = _resolved(self._actor, done, given)
        method = getattr(actor, self._name)
        if self._given:
            method = method.options(**self._given)
        return method.remote(*args, **kwargs)


class InputNode(DAGNode):
    """What `execute` is given. `x[0]`, `x["name"]` and `x.name` are parts of it when there are several."""

    def __init__(self) -> None:
        super().__init__((), {})

    def __enter__(self) -> InputNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def __getitem__(self, key: Any) -> DAGNode:
        return _Part(key)

    def __getattr__(self, name: str) -> DAGNode:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Part(name)

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        inputs, named = given
        if len(inputs) == 1 and not named:
            return inputs[0]
        raise TypeError(
            f"the graph takes one input, and execute() got {len(inputs) + len(named)}; name parts of several with "
            "InputNode's [0] or .name"
        )


class _Part(DAGNode):
    def __init__(self, key: Any) -> None:
        super().__init__((), {})
        self._key = key

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        inputs, named = given
        if isinstance(self._key, str) and self._key in named:
            return named[self._key]
        if isinstance(self._key, int) and 0 <= self._key < len(inputs):
            return inputs[self._key]
        if len(inputs) == 1:
            whole = inputs[0]
            if isinstance(self._key, str) and not isinstance(whole, dict):
                return getattr(whole, self._key)
            return whole[self._key]
        raise TypeError(f"execute() was given no input {self._key!r}")


class MultiOutputNode(DAGNode):
    """Several nodes whose results are wanted."""

    def __init__(self, nodes: list[DAGNode]) -> None:
        super().__init__(tuple(nodes), {})

    def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], done: dict[int, Any], given: Any) -> Any:
        return list(args)
