"""Values: a codec, bytes, and the handles inside.

A pickle without out-of-band buffers is the value's bytes. One with buffers (numpy arrays, `PickleBuffer`) begins
with `EPB1`: count of buffers and length of the pickle (u64, little end first), offset and length of each buffer,
the pickle, and the buffers, each at a multiple of 64 bytes: a reader sees them in the value itself. Tables are
Arrow streams (`arrow`).
"""

from __future__ import annotations

import io
import pickle
import struct
import threading
from typing import Any

from engine import _session
from engine._backend import Codec, Value
from engine._serialize import arrow, msgpack
from engine._serialize.pickler import Pickler
from engine._serialize.source import SourceError

_MAGIC = b"EPB1\0\0\0\0"
_ALIGN = 64
_PLAIN = frozenset({int, float, str, bool, type(None)})
PROTOCOL = 5


class Unpicklable(TypeError):
    """A value that cannot travel; the message names the way to the part that cannot."""


class _Handles(threading.local):
    """Handles of the values that this thread is writing or reading, innermost last."""

    def __init__(self) -> None:
        self.writing: list[list[Any]] = []
        self.reading: list[Any] = []


_handles = _Handles()


def write_handle(handle: Any) -> int:
    """From the `__reduce__` of what holds a handle: its index in the value that is being written."""
    if not _handles.writing:
        raise pickle.PicklingError(
            "references, actors and placement groups travel only in values of the engine (put, arguments, results), "
            "not by pickle on its own: nothing would keep alive what they name"
        )
    inside = _handles.writing[-1]
    for index, known in enumerate(inside):
        if known is handle:
            return index
    inside.append(handle)
    return len(inside) - 1


def read_handle(index: int) -> Any:
    """The other side of `write_handle`."""
    return _handles.reading[-1][index]


def encode(value: Any) -> Value:
    """A value as it travels. Raises `Unpicklable`."""
    kind = type(value)
    if kind in _PLAIN:
        return Codec.PYTHON, pickle.dumps(value, PROTOCOL), ()
    if kind is bytes:
        return Codec.RAW, value, ()
    if arrow.is_table(value):
        table = arrow.encode(value)
        if table is not None:
            return table
    inside: list[Any] = []
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _handles.writing.append(inside)
    try:
        Pickler(file, protocol=PROTOCOL, buffer_callback=buffers.append).dump(value)
    except Unpicklable:
        raise
    except Exception as cause:
        _handles.writing.pop()
        try:
            raise _explained(value, cause) from cause
        finally:
            _handles.writing.append(inside)
    finally:
        _handles.writing.pop()
    if not buffers:
        return Codec.PYTHON, file.getbuffer() if file.tell() > 1 << 16 else file.getvalue(), inside
    return Codec.PYTHON, _laid_out(file.getvalue(), buffers), inside


def _laid_out(body: bytes, buffers: list[pickle.PickleBuffer]) -> list[Any]:
    views = [_flat(buffer) for buffer in buffers]
    head = 24 + 16 * len(views) + len(body)
    end = -(-head // _ALIGN) * _ALIGN
    table = [_MAGIC, struct.pack("<QQ", len(views), len(body))]
    pieces: list[Any] = [b"\0" * (end - head)]
    for index, view in enumerate(views):
        table.append(struct.pack("<QQ", end, view.nbytes))
        pieces.append(view)
        padding = -view.nbytes % _ALIGN if index + 1 < len(views) else 0
        if padding:
            pieces.append(b"\0" * padding)
        end += view.nbytes + padding
    return [b"".join(table) + body + pieces[0], *pieces[1:]]


def _flat(buffer: pickle.PickleBuffer) -> memoryview:
    try:
        return buffer.raw()
    except BufferError:
        return memoryview(memoryview(buffer).tobytes())


def decode(value: Value) -> Any:
    """The Python value of what travelled. Buffers are read where they lie, and cannot be written."""
    codec, data, handles = value
    if codec == Codec.PYTHON:
        _handles.reading.append(handles)
        try:
            if bytes(data[:8]) != _MAGIC:
                return pickle.loads(data)
            view = memoryview(data).toreadonly()
            count, length = struct.unpack_from("<QQ", view, 8)
            places = struct.unpack_from(f"<{2 * count}Q", view, 24)
            body = 24 + 16 * count
            buffers = [view[places[i] : places[i] + places[i + 1]] for i in range(0, 2 * count, 2)]
            return pickle.loads(view[body : body + length], buffers=buffers)
        finally:
            _handles.reading.pop()
    if codec == Codec.RAW:
        return bytes(data)
    if codec == Codec.MSGPACK:
        return msgpack.loads(data, handles)
    backend = _session.current()
    if backend is not None and backend.is_sandbox:
        from engine.array import _of_stream

        return _of_stream(data)
    return arrow.decode(data)


def _explained(value: Any, cause: Exception) -> Unpicklable:
    if isinstance(cause, SourceError):
        reason = str(cause)
    else:
        reason = f"{type(cause).__name__}: {cause}"
    from engine._serialize.explain import path_to_culprit

    path, culprit = path_to_culprit(value)
    if path:
        return Unpicklable(
            f"{path} cannot travel (it is a {_kind(culprit)}): {reason}. "
            "Make it inside the task, or leave it out with __getstate__"
        )
    return Unpicklable(f"a {_kind(value)} cannot travel: {reason}")


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
