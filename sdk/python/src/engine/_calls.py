"""How a call of a Python function travels.

Arguments of a task or a constructor: the function or class (an object, put once per job), the packed call, and one
argument for each reference among the call's own (the engine waits for these, and they arrive as values). Those of a
method: the same without the first. The packed call is `(num_returns, args, kwargs, places)`; `places` tells
where the values of the references belong: a position or a name each.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from engine import _session
from engine._backend import Argument, Codec, Value
from engine._refs import ObjectRef
from engine._serialize import arrow
from engine._serialize.modules import With
from engine._serialize.values import _PLAIN, PROTOCOL, decode, encode


def pack(args: tuple[Any, ...], kwargs: dict[str, Any], num_returns: int | None) -> list[Argument]:
    """The packed call and its references."""
    references: list[Argument] = []
    places: list[int | str] = []
    is_plain = True
    for index, value in enumerate(args):
        if type(value) not in _PLAIN:
            is_plain = False
            if isinstance(value, ObjectRef):
                references.append(value._handle)
                places.append(index)
            elif (table := _table(value)) is not None:
                references.append(table)
                places.append(index)
    for name, value in kwargs.items():
        if type(value) not in _PLAIN:
            is_plain = False
            if isinstance(value, ObjectRef):
                references.append(value._handle)
                places.append(name)
            elif (table := _table(value)) is not None:
                references.append(table)
                places.append(name)
    if places:
        taken = set(places)
        args = tuple(None if index in taken else value for index, value in enumerate(args))
        kwargs = {name: None if name in taken else value for name, value in kwargs.items()}
    call = num_returns, args, kwargs, places
    if is_plain:
        return [(Codec.PYTHON, pickle.dumps(call, PROTOCOL), ())]
    return [encode(call), *references]


def _table(value: Any) -> Value | None:
    """A table is an argument of its own, which is read where it lies."""
    return arrow.encode(value) if arrow.is_table(value) else None


def unpack(arguments: Sequence[Value]) -> tuple[int | None, Sequence[Any], dict[str, Any]]:
    """The other side of `pack`: how many results, and the arguments with the values in their places."""
    num_returns, args, kwargs, places = decode(arguments[0])
    if places:
        args = list(args)
        for place, value in zip(places, arguments[1:]):
            if isinstance(place, int):
                args[place] = decode(value)
            else:
                kwargs[place] = decode(value)
    return num_returns, args, kwargs


class Shipped:
    """A function or class that is put once per job."""

    __slots__ = ("_generation", "_handle")

    def __init__(self) -> None:
        self._generation = -1
        self._handle: Any = None

    def handle(self, what: Any, packages: Sequence[str] = ()) -> Any:
        """The object's handle in the session of now; `packages` are brought along."""
        backend = _session.backend()
        if self._generation != _session.generation():
            packages = [*_session.packages, *packages]
            self._handle = backend.put(encode(With(what, packages) if packages else what))
            self._generation = _session.generation()
        return self._handle
