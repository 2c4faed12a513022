"""What an actor can do with itself."""

from __future__ import annotations

from typing import NoReturn

from engine import _session
from engine.exceptions import AsyncioActorExit

__all__ = ["exit_actor"]


def exit_actor() -> NoReturn:
    """Ends the actor that calls it."""
    actor = _session.backend().context().actor
    if actor is None:
        raise RuntimeError("this code does not run in an actor")
    actor.kill(False)
    raise AsyncioActorExit("the actor has ended itself")
