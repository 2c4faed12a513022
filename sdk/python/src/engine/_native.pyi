"""The Rust client as a module: one `Session` is one job whose root task is this process.

Whatever blocks releases the interpreter lock and looks at least every 50 ms for signals (Ctrl-C raises
KeyboardInterrupt and leaves what was waited for alone). Failures are raised as `engine._backend.CallFailed`.
A Session may be used by many threads; after `close` every call raises CallFailed with code OWNER_DIED.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, final

from engine import _backend as b

LogLine = tuple[str, str, str, str]
"""`(stream, function, task id, text)`: stream is `stdout`, `stderr`, or a level of the log (`info`, …)."""

@final
class Object:
    kind: Literal["object"]
    def id(self) -> str: ...
    def is_ready(self) -> bool: ...

@final
class Task:
    kind: Literal["task"]
    def id(self) -> str: ...
    def outputs(self) -> list[b.ObjectHandle]: ...
    def next(self, timeout: float | None) -> b.ObjectHandle | None: ...
    def cancel(self, force: bool, recursive: bool) -> None: ...

@final
class Actor:
    kind: Literal["actor"]
    def id(self) -> str: ...
    def call(self, method: str, arguments: Sequence[b.Argument], options: b.CallOptions) -> b.TaskHandle: ...
    def kill(self, restart: bool) -> None: ...

@final
class PlacementGroup:
    kind: Literal["placement-group"]
    def id(self) -> str: ...
    def ready(self) -> b.ObjectHandle: ...
    def remove(self) -> None: ...

@final
class Session:
    is_sandbox: bool  # False
    component: str | None  # "python", set by the package
    concurrent_component: str | None  # "python-concurrent"
    address: str  # of the engine: `embedded`, or as connected

    @staticmethod
    def embedded(
        components: Mapping[str, str],
        *,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        resources: Mapping[str, float] | None = None,
        memory: int | None = None,
        store_memory: int | None = None,
        spill_dir: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        task_memory: int | None = None,
        on_log: Callable[[list[LogLine]], None] | None = None,
        on_demand: Sequence[str] = (),
    ) -> Session:
        """An engine in this process. `components`: path by name; compiled ones are kept in the user's cache, those
        named by `on_demand` when they are first used.
        `on_log` is called from a thread of the session's, with what came since the last call."""

    @staticmethod
    def connect(
        components: Mapping[str, str],
        address: str | None = None,
        *,
        credentials: str | None = None,
        token: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        task_memory: int | None = None,
        reconnect_max: float = 30.0,
        on_log: Callable[[list[LogLine]], None] | None = None,
        on_demand: Sequence[str] = (),
    ) -> Session:
        """A job of the engine at this address; None: the one that `$ENGINE_ADDRESS` names, else this machine's.
        Raises CallFailed: NOT_FOUND when there is none, UNAUTHENTICATED when it wants credentials or a token,
        UNSUPPORTED when it is of another version. A component is uploaded when the engine has none of its digest. When the connection
        breaks others are tried for `reconnect_max` seconds; then the session has ended."""

    def put(self, value: b.Value) -> b.ObjectHandle: ...
    def get_many(self, objects: Sequence[b.ObjectHandle], timeout: float | None) -> list[b.Value]:
        """The data of each value is a read-only memoryview over the engine's own memory where that is possible,
        aligned to 64 bytes, else bytes."""
    def wait(
        self, items: Sequence[b.ObjectHandle | b.TaskHandle], num_ready: int, timeout: float | None
    ) -> list[int]: ...
    def spawn(
        self, function: b.Function, arguments: Sequence[b.Argument], options: b.TaskOptions
    ) -> b.TaskHandle: ...
    def create_actor(
        self, function: b.Function, arguments: Sequence[b.Argument], options: b.ActorOptions
    ) -> b.ActorHandle: ...
    def lookup_actor(self, name: str, namespace: str | None) -> b.ActorHandle: ...
    def create_group(
        self, bundles: Sequence[b.Bundle], strategy: b.GroupStrategy, name: str | None
    ) -> b.GroupHandle: ...
    def lookup_group(self, name: str) -> b.GroupHandle: ...
    def context(self) -> b.Context: ...
    def nodes(self) -> list[b.Node]: ...
    def when_ready(self, item: b.ObjectHandle | b.TaskHandle, callback: Callable[[], None]) -> None: ...
    def close(self) -> None: ...
