"""Manners in notebooks: what an outstanding `get` waits for, and what is behind a reference.

In a notebook a `get` that takes more than a second shows how many of its references are ready. The notebook's interrupt
ends it, and cancels the tasks that it waited for: whoever stops a cell stops what it has begun.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from engine._backend import CallFailed, ObjectHandle, Value

# Before that nothing is shown, and then so often.
_SHOWN_AFTER = 1.0
_SHOWN_EVERY = 0.25


def is_here() -> bool:
    """Whether this program is a notebook's kernel."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def get_many(backend: Any, refs: Sequence[Any], timeout: float | None) -> list[Value]:
    """The values of these references, as the backend gives them, with what the notebook's user sees meanwhile."""
    handles: list[ObjectHandle] = [ref._handle for ref in refs]
    began = time.monotonic()
    shown = _Progress(len(handles))
    step = _SHOWN_AFTER
    try:
        while True:
            left = None if timeout is None else timeout - (time.monotonic() - began)
            is_last = left is not None and left <= step
            try:
                values: list[Value] = backend.get_many(handles, left if is_last else step)
                return values
            except CallFailed as failed:
                ready = sum(handle.is_ready() for handle in handles)
                # A task may have failed with that code itself.
                if failed.code != "GET_TIMEOUT" or is_last or ready == len(handles):
                    raise
            shown.show(ready)
            step = _SHOWN_EVERY
    except KeyboardInterrupt:
        _cancel(refs)
        raise
    finally:
        shown.clear()


def _cancel(refs: Sequence[Any]) -> None:
    for ref in refs:
        if ref._task is not None and not ref._handle.is_ready():
            try:
                ref._task.cancel(False, True)
            except CallFailed:
                # It has ended meanwhile.
                pass


class _Progress:
    """A bar below the cell, while there is something to show."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ready = -1
        self._display: Any = None

    def show(self, ready: int) -> None:
        if ready == self._ready:
            return
        self._ready = ready
        self._set(
            f"<progress value='{ready}' max='{self._total}' style='width: 20em'></progress> "
            f"{ready} of {self._total} ready",
            f"{ready} of {self._total} ready",
        )

    def clear(self) -> None:
        if self._display is not None:
            self._set("", "")

    def _set(self, rich: str, plain: str) -> None:
        # Whether it has types depends on its version.
        display: Any = importlib.import_module("IPython.display").display
        data = {"text/html": rich, "text/plain": plain}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)


def rich(name: str, facts: Sequence[tuple[str, str]]) -> str:
    """A line of HTML that says what something is."""
    import html

    said = " · ".join(f"{html.escape(what)} <code>{html.escape(value)}</code>" for what, value in facts)
    return f"<b>{html.escape(name)}</b> {said}"
