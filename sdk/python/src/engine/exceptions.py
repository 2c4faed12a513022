"""What can go wrong, one class per code of the engine's taxonomy (`engine error CODE` explains each).

Every class is an `EngineError`; Ray's names are aliases, so `except engine.exceptions.RayTaskError` works. A task that
raised gives its reader a `TaskError` that is an instance of the task's own exception class too:

    @engine.remote
    def divide(a, b):
        return a / b

    try:
        engine.get(divide.remote(1, 0))
    except ZeroDivisionError as error:
        print(error)        # with the remote traceback
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from engine._backend import CallFailed, Frame

__all__ = [
    "ActorDiedError",
    "ActorUnavailableError",
    "AlreadyExistsError",
    "CrossLanguageError",
    "DeadlineExceededError",
    "EngineError",
    "Frame",
    "GetTimeoutError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidComponentError",
    "LimitExceededError",
    "NodeDiedError",
    "NotFoundError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectStoreFullError",
    "OutOfDiskError",
    "OutOfFuelError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PermissionDeniedError",
    "PlacementGroupRemovedError",
    "QuotaExceededError",
    "RayActorError",
    "RayError",
    "RayTaskError",
    "RaySystemError",
    "ReconstructionFailedError",
    "TaskCancelledError",
    "TaskError",
    "TrappedError",
    "UnauthenticatedError",
    "UnschedulableError",
    "UnsupportedError",
    "WorkerCrashedError",
]


class EngineError(Exception):
    """Any failure that the engine reports.

    `code` is the contract's (`TASK_FAILED`), `kind` the failing program's own name for it, `path` the tasks that it
    came through, innermost first, `backtrace` where in the remote code it happened.
    """

    code: str = "INTERNAL"
    message: str
    kind: str | None
    path: Sequence[Frame]
    backtrace: str | None
    cause: BaseException | None
    """The remote exception itself, where it could be rebuilt."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        # Not super's: an error that is its cause's class too has that one's constructor next.
        Exception.__init__(self, message)
        self.message = message
        self.kind = facts.get("kind")
        self.path = facts.get("path", ())
        self.backtrace = facts.get("backtrace")
        self.cause = facts.get("cause")
        code = facts.get("code")
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        parts = [self.message or self.code]
        if self.kind and self.code == "TASK_FAILED":
            parts = [f"{self.kind}: {self.message}" if self.message else self.kind]
        if self.path:
            steps = ", then ".join(
                f"{step.function} ({step.task}, attempt {step.attempt}, on {step.node})" for step in self.path
            )
            parts.append(f"in {steps}")
        if self.backtrace:
            parts.append(self.backtrace.rstrip("\n"))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        import html

        return f"<b>{html.escape(type(self).__name__)}</b> <pre>{html.escape(str(self))}</pre>"

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {
            "code": self.code,
            "kind": self.kind,
            "path": list(self.path),
            "backtrace": self.backtrace,
            "cause": self.cause,
        }
        return _rebuild, (_plain_class(type(self)), self.message, facts)


class TaskError(EngineError):
    """A task or an actor's method raised: TASK_FAILED. Also an instance of what it raised."""

    code = "TASK_FAILED"


class TrappedError(EngineError):
    """The sandbox stopped the code: a trap, an exhausted stack, `os._exit`."""

    code = "TRAPPED"


class TaskCancelledError(EngineError):
    """The task was cancelled before it ended."""

    code = "TASK_CANCELLED"


class DeadlineExceededError(EngineError):
    """The task's `deadline` passed, or its `cpu_time` is used up."""

    code = "DEADLINE_EXCEEDED"


class OutOfMemoryError(EngineError, MemoryError):
    """The task used all of the memory that it may use."""

    code = "OUT_OF_MEMORY"


class OutOfFuelError(EngineError):
    """The task used up its budget of instructions."""

    code = "OUT_OF_FUEL"


class OutOfDiskError(EngineError):
    """The disk that objects are spilled to is full."""

    code = "OUT_OF_DISK"


class ObjectStoreFullError(EngineError):
    """The value has no room in the object store."""

    code = "STORE_FULL"


class WorkerCrashedError(EngineError):
    """What ran the task ended unexpectedly."""

    code = "WORKER_DIED"


class NodeDiedError(EngineError):
    """The node that ran the task was lost."""

    code = "NODE_DIED"


class OwnerDiedError(EngineError):
    """Who made the object is gone, and the object with it."""

    code = "OWNER_DIED"


class ObjectLostError(EngineError):
    """All copies of the object are lost, and it cannot be made again."""

    code = "OBJECT_LOST"


class ObjectFreedError(ObjectLostError):
    """The object was freed."""

    code = "OBJECT_FREED"


class ReconstructionFailedError(ObjectLostError):
    """The object was lost, and making it again failed."""

    code = "RECONSTRUCTION_FAILED"


class ActorError(EngineError):
    """Something is wrong with an actor."""

    code = "ACTOR_DIED"


class ActorDiedError(ActorError):
    """The actor has ended: killed, its constructor failed, its node was lost."""

    code = "ACTOR_DIED"


class ActorUnavailableError(ActorError):
    """The actor cannot be reached now, and may come back."""

    code = "ACTOR_UNAVAILABLE"


class PendingCallsLimitExceeded(EngineError):
    """`max_pending_calls` calls of this handle wait already."""

    code = "PENDING_CALLS_EXCEEDED"


class PlacementGroupRemovedError(EngineError):
    """The placement group that it ran in was removed."""

    code = "PLACEMENT_GROUP_REMOVED"


class UnschedulableError(EngineError):
    """No node can ever have what was asked for; the message names what is missing."""

    code = "UNSCHEDULABLE"


class QuotaExceededError(EngineError):
    """A quota of the tenant is used up."""

    code = "QUOTA_EXCEEDED"


class LimitExceededError(EngineError):
    """A limit of the engine or of the job; the message names it."""

    code = "LIMIT_EXCEEDED"


class PermissionDeniedError(EngineError):
    """Not allowed."""

    code = "PERMISSION_DENIED"


class UnauthenticatedError(EngineError):
    """The engine does not know who is asking."""

    code = "UNAUTHENTICATED"


class NotFoundError(EngineError, ValueError):
    """There is nothing of this name. (A ValueError, as in Ray.)"""

    code = "NOT_FOUND"


class AlreadyExistsError(EngineError, ValueError):
    """The name is taken. (A ValueError, as in Ray.)"""

    code = "ALREADY_EXISTS"


class InvalidComponentError(EngineError):
    """The component cannot do what it was asked for."""

    code = "INVALID_COMPONENT"


class InvalidArgumentError(EngineError, ValueError):
    """An argument is wrong; the message says which."""

    code = "INVALID_ARGUMENT"


class UnsupportedError(EngineError):
    """Not to be had here."""

    code = "UNSUPPORTED"


class GetTimeoutError(EngineError, TimeoutError):
    """The value was not there within the timeout; the task goes on."""

    code = "GET_TIMEOUT"


class InternalError(EngineError):
    """A bug of the engine; the message says how to report it."""

    code = "INTERNAL"


class CrossLanguageError(TaskError):
    """A task of another language failed."""


class AsyncioActorExit(EngineError):
    """Raised by `engine.actor.exit_actor()`."""


RayError = EngineError
RayTaskError = TaskError
RayActorError = ActorError
RaySystemError = InternalError
ActorUnschedulableError = UnschedulableError
TaskUnschedulableError = UnschedulableError
TaskPlacementGroupRemoved = PlacementGroupRemovedError
ActorPlacementGroupRemoved = PlacementGroupRemovedError
LocalRayletDiedError = NodeDiedError
ObjectFetchTimedOutError = ObjectLostError
ObjectReconstructionFailedError = ReconstructionFailedError


def _classes() -> dict[str, type[EngineError]]:
    classes: dict[str, type[EngineError]] = {}
    for cls in list(globals().values()):
        if isinstance(cls, type) and issubclass(cls, EngineError) and "code" in cls.__dict__:
            classes[cls.code] = cls
    classes["ACTOR_DIED"] = ActorDiedError
    return classes


_BY_CODE: dict[str, type[EngineError]] = _classes()


def _plain_class(cls: type) -> type[EngineError]:
    for one in cls.__mro__:
        if issubclass(one, EngineError) and not issubclass(one, _Both):
            return one
    return EngineError


def _rebuild(cls: type[EngineError], message: str, facts: dict[str, Any]) -> EngineError:
    return _with_cause(cls, message, facts)


class _Both:
    """Marks classes made by `_with_cause`."""

    __slots__ = ()
    _cause_class: ClassVar[type]


_both: dict[tuple[type, type], type] = {}


def _with_cause(cls: type[EngineError], message: str, facts: dict[str, Any]) -> EngineError:
    """An error of this class that is an instance of its cause's class too, if the two go together."""
    cause = facts.get("cause")
    if isinstance(cause, BaseException) and not isinstance(cause, EngineError):
        made = _both.get((cls, type(cause)))
        if made is None:
            made = _make_both(cls, type(cause))
            _both[cls, type(cause)] = made
        if made is not cls:
            error: Any = made.__new__(made, message)
            EngineError.__init__(error, message, **facts)
            for name, value in getattr(cause, "__dict__", {}).items():
                if name not in error.__dict__:
                    try:
                        setattr(error, name, value)
                    except Exception:  # noqa: BLE001 - the cause's own properties
                        continue
            try:
                error.args = cause.args
            except Exception:  # noqa: BLE001
                pass
            whole: EngineError = error
            return whole
    return cls(message, **facts)


def _make_both(cls: type[EngineError], cause: type[BaseException]) -> type:
    if issubclass(cls, cause):
        return cls
    try:
        made = type(
            f"{cls.__name__}({cause.__name__})",
            (_Both, cls, cause),
            {"__module__": cls.__module__, "__qualname__": f"{cls.__name__}({cause.__name__})", "__slots__": ()},
        )
        made._cause_class = cause  # type: ignore[attr-defined]
        made.__new__(made, "")
    except Exception:  # noqa: BLE001 - layouts conflict, or its own __new__ wants more
        return cls
    return made


def of_call(failed: CallFailed) -> EngineError:
    """The exception that a program sees for what a backend reports."""
    facts: dict[str, Any] = {
        "code": failed.code,
        "kind": failed.kind,
        "path": failed.path,
        "backtrace": failed.backtrace,
    }
    cls = _BY_CODE.get(failed.code, EngineError)
    if failed.payload is not None:
        from engine._serialize import decode

        try:
            facts["cause"] = decode(failed.payload)
        except Exception as problem:  # noqa: BLE001 - whatever rebuilding the exception raises
            facts["note"] = f"(the exception itself could not be rebuilt here: {problem!r})"
    message = failed.message
    if "note" in facts:
        message = f"{message} {facts['note']}"
    error = _with_cause(cls, message, facts)
    error._failed = failed  # type: ignore[attr-defined]
    return error
