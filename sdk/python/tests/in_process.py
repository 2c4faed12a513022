"""A backend whose tasks are threads of this process: for tests of what the package does on a client."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from engine import _backend as b
from engine._calls import unpack
from engine._serialize import decode, encode


class Object:
    kind = "object"
    ids = itertools.count()

    def __init__(self) -> None:
        self.name = f"object-{next(self.ids)}"
        self.done = threading.Event()
        self.value: Any = None
        self.callbacks: list[Callable[[], None]] = []

    def id(self) -> str:
        return self.name

    def is_ready(self) -> bool:
        return self.done.is_set()

    def set(self, value: Any) -> Object:
        if not isinstance(value, b.CallFailed):
            codec, data, handles = value
            data = b"".join(data) if isinstance(data, list) else bytes(data)
            value = codec, data, list(handles)
        self.value = value
        self.done.set()
        for callback in self.callbacks:
            callback()
        return self

    def get(self, timeout: float | None) -> Any:
        if not self.done.wait(timeout):
            raise b.CallFailed("GET_TIMEOUT", "not there")
        if isinstance(self.value, b.CallFailed):
            raise self.value
        return self.value


class Task:
    kind = "task"

    def __init__(self, outputs: list[Object]) -> None:
        self.made = outputs
        self.cancelled = False

    def id(self) -> str:
        return "task"

    def outputs(self) -> list[Object]:
        return self.made

    def cancel(self, force: bool, recursive: bool) -> None:
        self.cancelled = True
        for output in self.made:
            if not output.is_ready():
                output.set(b.CallFailed("TASK_CANCELLED", "cancelled"))


class InProcess:
    """`Backend`, as far as the tests need it."""

    is_sandbox = False
    component = "python"
    concurrent_component = "python-concurrent"
    address = "in-process"

    def __init__(self) -> None:
        self.puts = 0
        self.options: list[b.TaskOptions] = []
        self.is_closed = False

    def put(self, value: Any) -> Object:
        self.puts += 1
        return Object().set(value)

    def get_many(self, objects: Sequence[Any], timeout: float | None) -> list[Any]:
        return [one.get(timeout) for one in objects]

    def wait(self, items: Sequence[Any], num_ready: int, timeout: float | None) -> list[int]:
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            ready = [index for index, one in enumerate(items) if one.is_ready()]
            if len(ready) >= num_ready or (end is not None and time.monotonic() >= end):
                return ready[:num_ready]
            time.sleep(0.001)

    def spawn(self, function: b.Function, arguments: Sequence[Any], options: b.TaskOptions) -> Task:
        self.options.append(options)
        outputs = [Object() for _ in range(options.num_returns or 0)]
        task = Task(outputs)

        def run() -> None:
            values = []
            for one in arguments:
                if isinstance(one, tuple):
                    codec, data, handles = one
                    values.append((codec, b"".join(data) if isinstance(data, list) else bytes(data), handles))
                else:
                    values.append(one.get(None))
            try:
                num_returns, args, kwargs = unpack(values[1:])
                result = decode(values[0])(*args, **kwargs)
                parts = [result] if num_returns == 1 else list(result)
                for output, part in zip(outputs, parts):
                    if not output.is_ready():
                        output.set(encode(part))
            except Exception as error:  # noqa: BLE001
                failed = b.CallFailed(
                    "TASK_FAILED",
                    str(error),
                    type(error).__name__,
                    [("task-1", function.name, "node-1", 0)],
                    "Traceback: …",
                    encode(error),
                )
                for output in outputs:
                    output.set(failed)

        threading.Thread(target=run, daemon=True).start()
        return task

    def when_ready(self, item: Any, callback: Callable[[], None]) -> None:
        item.callbacks.append(callback)
        if item.is_ready():
            callback()

    def context(self) -> b.Context:
        return b.Context("job-1", None, "tenant", "space")

    def nodes(self) -> list[b.Node]:
        return [b.Node("node-1", (("zone", "a"),), (("cpus", 20_000),), (("cpus", 5_000),))]

    def close(self) -> None:
        self.is_closed = True
