"""The session that the process has: in a sandbox always, on a client after `init`."""

from __future__ import annotations

import threading
from typing import Any

from engine._backend import Backend

_lock = threading.RLock()
_current: Any = None
_generation = 0
packages: list[str] = []
"""Modules that the job's runtime_env brings."""


def backend() -> Backend:
    """The session's backend; starts one on a client that has none, as Ray does."""
    if _current is None:
        from engine._init import init

        init()
    current: Backend = _current
    return current


def current() -> Backend | None:
    """The session's backend, if there is one."""
    session: Backend | None = _current
    return session


def generation() -> int:
    """Changes with every session: what was shipped in another one is not there."""
    return _generation


def install(backend: Any) -> None:
    """Makes it the process's session, or none."""
    global _current, _generation
    with _lock:
        _current = backend
        _generation += 1
