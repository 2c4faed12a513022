"""Exceptions of a guest as failures: kind, message, traceback with source lines, and the exception itself."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

from wit_world.imports import types as wit  # type: ignore[import-not-found,unused-ignore]

from engine._backend import CallFailed
from engine._sandbox import owned
from engine._serialize.values import encode
from engine.exceptions import EngineError

_BACKTRACE_MAX = 64 * 1024
_FRAMES_MAX = 100


def failure_of(error: BaseException) -> Any:
    """How the guest says that its call failed with this exception."""
    cause = None
    if isinstance(error, EngineError):
        failed = getattr(error, "_failed", None)
        cause = None if failed is None else failed.wire
    elif isinstance(error, CallFailed):
        cause = error.wire
    message, kind = _message(error), type(error).__name__
    if isinstance(error, SystemExit):
        kind = "SystemExit"
        message = (
            f"the code called sys.exit({error.code!r}): a task ends by returning, and a program fails with a status "
            "other than 0"
        )
    elif isinstance(error, RecursionError):
        message = f"{message}: the function calls itself without end, or too deeply for a sandbox"
    elif isinstance(error, MemoryError) and not isinstance(error, EngineError):
        message = "the interpreter was refused more memory: raise the `memory` option of the task or actor"
        cause = wit.Error(wit.ErrorCode.OUT_OF_MEMORY, kind, message, [], _backtrace(error), None)
    elif isinstance(error, asyncio.CancelledError):
        message = "the call was cancelled while it waited"
        cause = wit.Error(wit.ErrorCode.TASK_CANCELLED, kind, message, [], _backtrace(error), None)
    payload = None
    if cause is None:
        payload = _payload(error)
    return wit.Failure(kind, message, _backtrace(error), payload, cause)


def _message(error: BaseException) -> str:
    try:
        return error.message if isinstance(error, EngineError) else str(error)
    except Exception as problem:  # noqa: BLE001 - its own __str__
        return f"(its text could not be had: {problem!r})"


def _payload(error: BaseException) -> Any:
    if not isinstance(error, Exception):
        return None
    context = error.__cause__, error.__context__, error.__traceback__
    error.__cause__ = error.__context__ = None
    error.__traceback__ = None
    try:
        encoded = encode(error)
        _, data, _ = encoded
        return owned(encoded) if isinstance(data, list) or len(data) <= 1 << 20 else None
    except Exception:  # noqa: BLE001 - whatever its pickling raises
        return None
    finally:
        error.__cause__, error.__context__, error.__traceback__ = context


def _backtrace(error: BaseException) -> str | None:
    try:
        shown = traceback.TracebackException.from_exception(error, limit=-_FRAMES_MAX, compact=True)
        _strip(shown)
        text = "".join(shown.format())
    except Exception:  # noqa: BLE001 - the exception's own methods
        return None
    if len(text) > _BACKTRACE_MAX:
        half = _BACKTRACE_MAX // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return text


def _strip(shown: Any) -> None:
    """Leaves out the runner's own frames."""
    while shown is not None:
        frames = [frame for frame in shown.stack if not _is_own(frame.filename)]
        shown.stack = traceback.StackSummary.from_list(frames)
        if shown.__cause__ is not None:
            _strip(shown.__cause__)
        shown = shown.__context__


_OWN = (
    "/engine/_guest.py",
    "/engine/_guest_concurrent.py",
    "/engine/_asyncio.py",
    "/engine/_calls.py",
    "/program.py",
)


def _is_own(filename: str) -> bool:
    return filename.endswith(_OWN)
