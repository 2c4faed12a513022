"""The backend inside a sandbox: the guest's interface by componentize-py's bindings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from componentize_py_types import Err  # type: ignore[import-not-found,unused-ignore]
from wit_world.imports import (  # type: ignore[import-not-found,unused-ignore]
    actors,
    context,
    objects,
    placement_groups,
    tasks,
    types,
)

from engine import _backend as b

# An object's own methods are those of the protocol.
types.Object.kind = "object"
types.PlacementGroup.kind = "placement-group"

_CODECS = (types.Codec.RAW, types.Codec.MSGPACK, types.Codec.ARROW_IPC, types.Codec.PYTHON)
_EMPTY: list[Any] = []


def nanoseconds(seconds: float | None) -> int | None:
    """A time as the interface has it."""
    if seconds is None:
        return None
    return min(max(int(seconds * 1e9), 0), (1 << 64) - 1)


def failed(error: Any) -> b.CallFailed:
    """The protocol's form of an error."""
    path = [(step.task, step.function, step.node, step.attempt) for step in error.path]
    payload = None if error.payload is None else raised(error.payload)
    code = error.code.name
    return b.CallFailed(code, error.message, error.kind, path, error.backtrace, payload, error)


def raised(value: Any) -> b.Value:
    """A value that the host gave, as the protocol has it."""
    handles = [_raised_handle(handle) for handle in value.handles] if value.handles else _EMPTY
    return value.codec.value, value.bytes, handles


def _raised_handle(handle: Any) -> Any:
    if isinstance(handle, types.Handle_Actor):
        return Actor(handle.value)
    return handle.value


def lowered(value: b.Value) -> Any:
    """A value of the protocol, as the host takes it (lent)."""
    codec, data, handles = value
    return types.ValueView(_CODECS[codec], _bytes(data), [_lent(handle) for handle in handles])


def owned(value: b.Value) -> Any:
    """A value of the protocol, given away with duplicates of its handles."""
    codec, data, handles = value
    return types.Value(_CODECS[codec], _bytes(data), [_given(handle) for handle in handles])


def _bytes(data: Any) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, list):
        return bytes().join(data)
    return bytes(data)


def _lent(handle: Any) -> Any:
    kind = handle.kind
    if kind == "object":
        return types.HandleView_Object(handle)
    if kind == "actor":
        return types.HandleView_Actor(handle.wire)
    return types.HandleView_PlacementGroup(handle)


def _given(handle: Any) -> Any:
    kind = handle.kind
    if kind == "object":
        return types.Handle_Object(handle.duplicate())
    if kind == "actor":
        return types.Handle_Actor(handle.wire.duplicate())
    return types.Handle_PlacementGroup(handle.duplicate())


def _arguments(arguments: Sequence[b.Argument]) -> list[Any]:
    return [
        types.Argument_Value(lowered(one)) if type(one) is tuple else types.Argument_Object(one)
        for one in arguments
    ]


def _returns(num: int | None, unread: int | None) -> Any:
    return types.Returns_Streaming(unread) if num is None else types.Returns_Fixed(num)


def _retries(retries: b.Retries) -> Any:
    return types.Retries(retries.system, retries.application, list(retries.kinds))


def _labels(labels: Sequence[b.LabelSelector]) -> list[Any]:
    return [
        tasks.LabelSelector(
            one.key,
            tasks.LabelOperator[one.operator.upper().replace("-", "_")],
            list(one.values),
            one.hard,
        )
        for one in labels
    ]


def _placement(placement: b.Placement) -> Any:
    how = placement.strategy
    strategy: Any
    if how.kind == "default":
        strategy = tasks.Strategy_Default()
    elif how.kind == "spread":
        strategy = tasks.Strategy_Spread()
    elif how.kind == "node":
        strategy = tasks.Strategy_Node((how.node, how.soft))
    else:
        strategy = tasks.Strategy_PlacementGroup(
            tasks.BundleSlot(how.group, how.bundle, how.capture_children)
        )
    return tasks.Placement(
        placement.cpus,
        placement.gpus,
        list(placement.resources),
        placement.memory,
        strategy,
        _labels(placement.labels),
        placement.priority,
    )


def _task_options(options: b.TaskOptions) -> Any:
    if options.lowered:
        return options.lowered[0]
    made = tasks.TaskOptions(
        options.name,
        _placement(options.placement),
        _returns(options.num_returns, options.unread_objects_max),
        _retries(options.retries),
        nanoseconds(options.deadline),
        nanoseconds(options.cpu_time),
        list(options.env),
        tasks.Reuse.JOB if options.reuse else tasks.Reuse.NEVER,
        options.cache,
    )
    options.lowered.append(made)
    return made


def _call_options(options: b.CallOptions) -> Any:
    if options.lowered:
        return options.lowered[0]
    made = types.CallOptions(
        options.name,
        _returns(options.num_returns, options.unread_objects_max),
        _retries(options.retries),
        nanoseconds(options.deadline),
        options.concurrency_group,
    )
    options.lowered.append(made)
    return made


class Task:
    """A spawned task."""

    __slots__ = ("wire",)
    kind: Literal["task"] = "task"

    def __init__(self, wire: Any) -> None:
        self.wire = wire

    def id(self) -> str:
        text: str = self.wire.id()
        return text

    def outputs(self) -> list[Any]:
        return list(self.wire.outputs())

    def next(self, timeout: float | None) -> Any:
        try:
            return self.wire.next(nanoseconds(timeout))
        except Err as error:
            raise failed(error.value) from None

    def cancel(self, force: bool, recursive: bool) -> None:
        try:
            self.wire.cancel(force, recursive)
        except Err as error:
            raise failed(error.value) from None


class Actor:
    """An actor, and the queue of calls through it."""

    __slots__ = ("wire",)
    kind: Literal["actor"] = "actor"

    def __init__(self, wire: Any) -> None:
        self.wire = wire

    def id(self) -> str:
        text: str = self.wire.id()
        return text

    def call(self, method: str, arguments: Sequence[b.Argument], options: b.CallOptions) -> Task:
        try:
            return Task(self.wire.call(method, _arguments(arguments), _call_options(options)))
        except Err as error:
            raise failed(error.value) from None

    def kill(self, restart: bool) -> None:
        try:
            self.wire.kill(restart)
        except Err as error:
            raise failed(error.value) from None


class Sandbox:
    """`Backend` of the sandbox that this interpreter runs in."""

    is_sandbox = True
    component: str | None = None
    concurrent_component: str | None = b.CONCURRENT_RUNNER

    def __init__(self) -> None:
        self.invocation: Any = None
        """The call that is being served."""

    def put(self, value: b.Value) -> Any:
        try:
            return objects.put(lowered(value))
        except Err as error:
            raise failed(error.value) from None

    def get_many(self, objects_asked: Sequence[Any], timeout: float | None) -> list[b.Value]:
        try:
            if len(objects_asked) == 1:
                return [raised(objects_asked[0].get(nanoseconds(timeout)))]
            values = objects.get_all(list(objects_asked), nanoseconds(timeout))
        except Err as error:
            raise failed(error.value) from None
        return [raised(value) for value in values]

    def wait(self, items: Sequence[Any], num_ready: int, timeout: float | None) -> list[int]:
        waited = [
            objects.Waitable_NextOf(one.wire) if one.kind == "task" else objects.Waitable_Object(one)
            for one in items
        ]
        try:
            return list(objects.wait(waited, num_ready, nanoseconds(timeout)))
        except Err as error:
            raise failed(error.value) from None

    def spawn(self, function: b.Function, arguments: Sequence[b.Argument], options: b.TaskOptions) -> Task:
        try:
            return Task(
                tasks.spawn(
                    tasks.Function(function.component, function.name),
                    _arguments(arguments),
                    _task_options(options),
                )
            )
        except Err as error:
            raise failed(error.value) from None

    def create_actor(
        self, function: b.Function, arguments: Sequence[b.Argument], options: b.ActorOptions
    ) -> Actor:
        made = actors.ActorOptions(
            options.name,
            options.namespace,
            options.get_if_exists,
            actors.Lifetime.DETACHED if options.detached else actors.Lifetime.JOB,
            _placement(options.placement),
            options.max_restarts,
            options.max_task_retries,
            options.max_concurrency,
            [actors.ConcurrencyGroup(name, limit) for name, limit in options.concurrency_groups],
            options.max_pending_calls,
            list(options.env),
        )
        try:
            return Actor(
                actors.create(
                    tasks.Function(function.component, function.name), _arguments(arguments), made
                )
            )
        except Err as error:
            raise failed(error.value) from None

    def lookup_actor(self, name: str, namespace: str | None) -> Actor:
        try:
            return Actor(actors.lookup(name, namespace))
        except Err as error:
            raise failed(error.value) from None

    def create_group(self, bundles: Sequence[b.Bundle], strategy: b.GroupStrategy, name: str | None) -> Any:
        made = [
            placement_groups.Bundle(
                one.cpus, one.gpus, list(one.resources), one.memory, _labels(one.labels)
            )
            for one in bundles
        ]
        how = placement_groups.GroupStrategy[strategy.upper().replace("-", "_")]
        try:
            return placement_groups.create(made, how, name)
        except Err as error:
            raise failed(error.value) from None

    def lookup_group(self, name: str) -> Any:
        try:
            return placement_groups.lookup(name)
        except Err as error:
            raise failed(error.value) from None

    def context(self) -> b.Context:
        assigned = context.resources()
        actor = context.current_actor()
        invocation = self.invocation
        return b.Context(
            job_id=context.job_id(),
            node_id=context.node_id(),
            tenant=context.tenant(),
            namespace=context.namespace(),
            task_id=None if invocation is None else invocation.task_id(),
            attempt=0 if invocation is None else invocation.attempt(),
            actor=None if actor is None else Actor(actor),
            was_restarted=context.was_restarted(),
            cpus=assigned.cpus,
            gpus=tuple(assigned.gpus),
            resources=tuple(assigned.resources),
        )

    def nodes(self) -> list[b.Node]:
        try:
            found = context.nodes()
        except Err as error:
            raise failed(error.value) from None
        return [
            b.Node(one.id, tuple(one.labels), tuple(one.total), tuple(one.available)) for one in found
        ]

    def when_ready(self, item: Any, callback: Callable[[], None]) -> None:
        raise b.CallFailed(
            "UNSUPPORTED", "a sandbox has no threads to call back from: await the reference, or use engine.wait"
        )

    def close(self) -> None:
        """The sandbox's session is the sandbox's life."""
