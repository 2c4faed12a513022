"""What the package asks of the engine, whichever side of the sandbox it runs on.

There are two backends: `_sandbox` speaks through the guest's interface (`wit/compute.wit`), `_client`
through the native module. Handles are opaque: dropping the last Python reference to one is its release.

Times are seconds, amounts of resources are whole ten-thousandths of a unit (`QUANTITY`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Union

QUANTITY = 10_000
"""Ten-thousandths in one CPU, one GPU, one of a custom resource."""


RUNNER = "python"
"""The component that runs Python, as jobs know it."""
CONCURRENT_RUNNER = "python-concurrent"
"""Its other form: an actor of it interleaves its calls."""


class Codec(enum.IntEnum):
    """How the bytes of a value are read; the numbers are those of `codec` in `compute.wit`."""

    RAW = 0
    MSGPACK = 1
    ARROW_IPC = 2
    PYTHON = 3


class ObjectHandle(Protocol):
    """A reference to an immutable object that exists or will."""

    kind: Literal["object"]

    def id(self) -> str: ...
    def is_ready(self) -> bool: ...


class TaskHandle(Protocol):
    """A spawned task or actor call. Dropping it does not cancel."""

    kind: Literal["task"]

    def id(self) -> str: ...

    def outputs(self) -> list[ObjectHandle]:
        """The objects it will make, in order; empty for a streaming one."""
        ...

    def next(self, timeout: float | None) -> ObjectHandle | None:
        """The next object of a stream; None at the end. Raises `CallFailed` (GET_TIMEOUT too)."""
        ...

    def cancel(self, force: bool, recursive: bool) -> None: ...


class ActorHandle(Protocol):
    """An actor, and the queue of the calls made through this handle."""

    kind: Literal["actor"]

    def id(self) -> str: ...

    def call(self, method: str, arguments: Sequence[Argument], options: CallOptions) -> TaskHandle:
        """Queues a call. Every argument is kept or copied before it returns."""
        ...

    def kill(self, restart: bool) -> None: ...


class GroupHandle(Protocol):
    """Resources reserved together."""

    kind: Literal["placement-group"]

    def id(self) -> str: ...
    def ready(self) -> ObjectHandle: ...
    def remove(self) -> None: ...


Handle = Union[ObjectHandle, ActorHandle, GroupHandle]
Buffer = Union[bytes, bytearray, memoryview]

Value = tuple[int, Any, Sequence[Any]]
"""`(codec, data, handles)`: a `Codec` or its number, a `Buffer` of bytes in one piece, and the handles
(`Handle`) that the bytes name by index. A backend gives `bytes`, or a read-only memoryview that keeps
what it shows alive. It takes any buffer, or a list of buffers that it lays end to end (so that large
arrays are copied once, to where they stay)."""

Argument = Union[Value, ObjectHandle]
"""A value now (a tuple), or an object whose value the callee sees once it exists."""


@dataclass(frozen=True)
class Function:
    """What is run: a function (or a class) of a component of the job."""

    component: str | None
    """Name as the job knows it; None: the caller's own component."""
    name: str


@dataclass(frozen=True)
class LabelSelector:
    """A condition on the labels of a node."""

    key: str
    operator: Literal["in", "not-in", "exists", "does-not-exist"]
    values: tuple[str, ...] = ()
    hard: bool = True


@dataclass(frozen=True)
class Strategy:
    """How the node is chosen: `default`, `spread`, `node` (with `node`, `soft`), `placement-group` (with
    `group`, `bundle`, `capture_children`)."""

    kind: Literal["default", "spread", "node", "placement-group"] = "default"
    node: str = ""
    soft: bool = False
    group: Any = None
    bundle: int | None = None
    capture_children: bool = False


@dataclass(frozen=True)
class Placement:
    """What a task or an actor needs, and where it may run."""

    cpus: int | None = None
    gpus: int = 0
    resources: tuple[tuple[str, int], ...] = ()
    memory: int | None = None
    strategy: Strategy = Strategy()
    labels: tuple[LabelSelector, ...] = ()
    priority: int = 0


@dataclass(frozen=True)
class Retries:
    """How often a call is run again; -1: without end."""

    system: int = 3
    application: int = 0
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskOptions:
    """The options of a task."""

    name: str | None = None
    placement: Placement = Placement()
    num_returns: int | None = 1
    """None: a stream of objects."""
    unread_objects_max: int | None = None
    """Of a stream: how far it may be ahead of its reader; None: as memory allows."""
    retries: Retries = Retries()
    deadline: float | None = None
    cpu_time: float | None = None
    env: tuple[tuple[str, str], ...] = ()
    reuse: bool = True
    """Whether warm instances of the job serve it (`reuse: job`), or a fresh one (`never`)."""
    cache: bool = False
    lowered: list[Any] = field(default_factory=list, compare=False, repr=False)
    """For the backend to keep its own form of these options in: one object that is used for many calls."""


@dataclass(frozen=True)
class CallOptions:
    """The options of one actor call."""

    name: str | None = None
    num_returns: int | None = 1
    unread_objects_max: int | None = None
    retries: Retries = Retries(system=0)
    deadline: float | None = None
    concurrency_group: str | None = None
    lowered: list[Any] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True)
class ActorOptions:
    """The options of an actor."""

    name: str | None = None
    namespace: str | None = None
    get_if_exists: bool = False
    detached: bool = False
    placement: Placement = Placement()
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int = 1
    concurrency_groups: tuple[tuple[str, int], ...] = ()
    max_pending_calls: int | None = None
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bundle:
    """Resources of one node."""

    cpus: int = 0
    gpus: int = 0
    resources: tuple[tuple[str, int], ...] = ()
    memory: int | None = None
    labels: tuple[LabelSelector, ...] = ()


GroupStrategy = Literal["pack", "spread", "strict-pack", "strict-spread"]


@dataclass(frozen=True)
class Frame:
    """One step of the path that an error took, innermost first."""

    task: str
    function: str
    node: str
    attempt: int


class CallFailed(Exception):
    """What a backend raises when the engine says no, or when what was asked for has failed.

    `code` is spelled as in the contract (`TASK_FAILED`). `wire` is the backend's own form of the error, if it
    has one, so that it can be passed on whole.
    """

    def __init__(
        self,
        code: str,
        message: str,
        kind: str | None = None,
        path: Sequence[tuple[str, str, str, int]] = (),
        backtrace: str | None = None,
        payload: Value | None = None,
        wire: Any = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.kind = kind
        self.path = [Frame(*step) for step in path]
        self.backtrace = backtrace
        self.payload = payload
        self.wire = wire


@dataclass(frozen=True)
class Context:
    """Who and where this code is. What a client is not (a task, an actor, on a node) is None."""

    job_id: str
    node_id: str | None
    tenant: str
    namespace: str
    task_id: str | None = None
    attempt: int = 0
    actor: Any = None
    """Its own `ActorHandle`."""
    was_restarted: bool = False
    cpus: int = 0
    gpus: tuple[str, ...] = ()
    resources: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Node:
    """A node of the cluster; what it has includes `cpus`, `gpus` and `memory` (in bytes times `QUANTITY`) by
    the names that the engine gives them."""

    id: str
    labels: tuple[tuple[str, str], ...]
    total: tuple[tuple[str, int], ...]
    available: tuple[tuple[str, int], ...]


class Backend(Protocol):
    """The engine, seen from a task or from a client. Everything that fails raises `CallFailed`."""

    is_sandbox: bool
    component: str | None
    """The component that runs Python functions; None: the caller's own."""
    concurrent_component: str | None
    """That of actors whose calls interleave."""

    def put(self, value: Value) -> ObjectHandle: ...

    def get_many(self, objects: Sequence[ObjectHandle], timeout: float | None) -> list[Value]:
        """The values in the order asked (duplicates too), or the first failure in that order."""
        ...

    def wait(
        self, items: Sequence[ObjectHandle | TaskHandle], num_ready: int, timeout: float | None
    ) -> list[int]:
        """Indexes, ascending, of `num_ready` ready items, of fewer at the timeout. A task is ready when its next
        object, its end or its failure is there."""
        ...

    def spawn(self, function: Function, arguments: Sequence[Argument], options: TaskOptions) -> TaskHandle: ...

    def create_actor(
        self, function: Function, arguments: Sequence[Argument], options: ActorOptions
    ) -> ActorHandle: ...

    def lookup_actor(self, name: str, namespace: str | None) -> ActorHandle: ...

    def create_group(
        self, bundles: Sequence[Bundle], strategy: GroupStrategy, name: str | None
    ) -> GroupHandle: ...

    def lookup_group(self, name: str) -> GroupHandle: ...

    def context(self) -> Context: ...

    def nodes(self) -> list[Node]: ...

    def when_ready(self, item: ObjectHandle | TaskHandle, callback: Callable[[], None]) -> None:
        """Calls back once, from any thread, when the item is ready in the sense of `wait` (or the session
        ends). Only of clients."""
        ...

    def close(self) -> None:
        """Ends the session, and with it its job. Repeating it does nothing."""
        ...
