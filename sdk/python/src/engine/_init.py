"""Starting and ending a client's session."""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from engine import _session
from engine._backend import CallFailed
from engine.exceptions import of_call


class Session:
    """What `init` gives: usable in a `with` statement, which ends the session."""

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def address_info(self) -> dict[str, str]:
        """As Ray's."""
        return {"address": self.address}

    def disconnect(self) -> None:
        """Ends the session."""
        shutdown()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutdown()

    def __repr__(self) -> str:
        return f"Session({self.address})"


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    memory: int | str | None = None,
    object_store_memory: int | str | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    job_name: str | None = None,
    credentials: str | None = None,
    token: str | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool = True,
    logging_level: Any = None,
    include_dashboard: bool | None = None,
    configure_logging: bool = True,
    task_memory: int | str | None = None,
    components: Mapping[str, str] | None = None,
) -> Session:
    """Starts the session: an engine inside this process, or with an address (or `$ENGINE_ADDRESS`) a job of a running
    engine. `auto` joins the one of this machine. The first `.remote()` does it by itself.

        engine.init(num_cpus=4)
        with engine.init(namespace="training"): ...
        engine.init("127.0.0.1:7420")

    Inside a task or a submitted program there is a session already, and nothing happens.
    """
    known = _session.current()
    if known is not None:
        if known.is_sandbox or ignore_reinit_error:
            return Session("sandbox" if known.is_sandbox else getattr(known, "address", ""))
        raise RuntimeError(
            "engine.init() was called twice; call engine.shutdown() before, or pass ignore_reinit_error=True"
        )
    from engine import _client, _options

    runtime = dict(runtime_env or {})
    env = dict(_options.environment({"runtime_env": runtime}))
    try:
        made = _client.start(
            address,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=resources,
            memory=None if memory is None else _options.size(memory, "memory"),
            store_memory=None
            if object_store_memory is None
            else _options.size(object_store_memory, "object_store_memory"),
            namespace=namespace,
            name=job_name,
            env=env,
            credentials=credentials,
            token=token,
            show_logs=log_to_driver,
            task_memory=None if task_memory is None else _options.size(task_memory, "task_memory"),
            components=dict(components or {}),
        )
    except CallFailed as failed:
        raise of_call(failed) from None
    _session.install(made)
    _session.packages[:] = _options.packages({"runtime_env": runtime})
    atexit.register(shutdown)
    return Session(made.address)


def shutdown(_exiting_interpreter: bool = False) -> None:
    """Ends the session: its tasks are cancelled and its actors end. Without one it does nothing."""
    known = _session.current()
    if known is None or known.is_sandbox:
        return
    _session.install(None)
    atexit.unregister(shutdown)
    known.close()


def is_initialized() -> bool:
    """Whether there is a session."""
    return _session.current() is not None
