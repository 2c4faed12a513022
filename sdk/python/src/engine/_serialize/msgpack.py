"""MessagePack, as much as values between languages need: the codec of plain values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

_HANDLE = 1
_DEPTH_MAX = 128


def dumps(value: Any, handles: list[Any]) -> bytes:
    """Plain values (None, bool, int, float, str, bytes, lists, tuples, dicts, references). A handle is extension
    type 1. Raises TypeError or OverflowError."""
    out = bytearray()
    _pack(value, out, handles, 0)
    return bytes(out)


def _pack(value: Any, out: bytearray, handles: list[Any], depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise TypeError(f"a MessagePack value is nested deeper than {_DEPTH_MAX} levels")
    if value is None:
        out.append(0xC0)
    elif value is False or value is True:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _pack_int(value, out)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode()
        _head(len(data), out, (0xA0, 32), 0xD9, 0xDA, 0xDB)
        out += data
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _head(len(value), out, None, 0xC4, 0xC5, 0xC6)
        out += value
    elif isinstance(value, (list, tuple)):
        _head(len(value), out, (0x90, 16), None, 0xDC, 0xDD)
        for item in value:
            _pack(item, out, handles, depth + 1)
    elif isinstance(value, dict):
        _head(len(value), out, (0x80, 16), None, 0xDE, 0xDF)
        for key, item in value.items():
            _pack(key, out, handles, depth + 1)
            _pack(item, out, handles, depth + 1)
    elif hasattr(value, "_handle"):
        out += struct.pack(">BBI", 0xD6, _HANDLE, len(handles))
        handles.append(value._handle)
    else:
        raise TypeError(
            f"a {type(value).__qualname__} cannot be passed to another language: MessagePack has None, bool, int, "
            "float, str, bytes, list, dict and references"
        )


def _pack_int(value: int, out: bytearray) -> None:
    if 0 <= value < 128:
        out.append(value)
    elif -32 <= value < 0:
        out.append(value & 0xFF)
    elif 0 <= value < 1 << 64:
        out += struct.pack(">BQ", 0xCF, value)
    elif -(1 << 63) <= value < 0:
        out += struct.pack(">Bq", 0xD3, value)
    else:
        raise OverflowError(f"{value} does not fit into 64 bits, which is what MessagePack has")


def _head(
    size: int, out: bytearray, fix: tuple[int, int] | None, one: int | None, two: int, four: int
) -> None:
    if fix is not None and size < fix[1]:
        out.append(fix[0] | size)
    elif one is not None and size < 1 << 8:
        out += struct.pack(">BB", one, size)
    elif size < 1 << 16:
        out += struct.pack(">BH", two, size)
    else:
        out += struct.pack(">BI", four, size)


def loads(data: Any, handles: Sequence[Any]) -> Any:
    """The value of the bytes. Raises ValueError on what is no MessagePack."""
    reader = _Reader(memoryview(data), handles)
    value = reader.value(0)
    if reader.at != len(reader.data):
        raise ValueError(f"{len(reader.data) - reader.at} bytes follow a MessagePack value")
    return value


class _Reader:
    def __init__(self, data: memoryview, handles: Sequence[Any]) -> None:
        self.data = data
        self.handles = handles
        self.at = 0

    def take(self, size: int) -> memoryview:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise ValueError("a MessagePack value ends in the middle")
        self.at += size
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0]

    def value(self, depth: int) -> Any:
        if depth > _DEPTH_MAX:
            raise ValueError(f"a MessagePack value is nested deeper than {_DEPTH_MAX} levels")
        head = self.number("B")
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 256
        if head < 0x90:
            return self.dict(head & 15, depth)
        if head < 0xA0:
            return self.list(head & 15, depth)
        if head < 0xC0:
            return str(self.take(head & 31), "utf-8")
        if head in _CONSTANTS:
            return _CONSTANTS[head]
        if head in _NUMBERS:
            return self.number(_NUMBERS[head])
        if 0xC4 <= head <= 0xC6:
            return bytes(self.take(self.number("BHI"[head - 0xC4])))
        if 0xD9 <= head <= 0xDB:
            return str(self.take(self.number("BHI"[head - 0xD9])), "utf-8")
        if head in (0xDC, 0xDD):
            return self.list(self.number("HI"[head - 0xDC]), depth)
        if head in (0xDE, 0xDF):
            return self.dict(self.number("HI"[head - 0xDE]), depth)
        if head == 0xD6 and self.number("b") == _HANDLE:
            return self.handle(self.number("I"))
        raise ValueError(f"byte {head:#x} begins no MessagePack value that the engine knows")

    def handle(self, index: int) -> Any:
        from engine._refs import of_handle

        if index >= len(self.handles):
            raise ValueError(f"a value names handle {index}, and has {len(self.handles)}")
        return of_handle(self.handles[index])

    def list(self, size: int, depth: int) -> Any:
        return [self.value(depth + 1) for _ in range(size)]

    def dict(self, size: int, depth: int) -> Any:
        return {self.value(depth + 1): self.value(depth + 1) for _ in range(size)}


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: "f",
    0xCB: "d",
    0xCC: "B",
    0xCD: "H",
    0xCE: "I",
    0xCF: "Q",
    0xD0: "b",
    0xD1: "h",
    0xD2: "i",
    0xD3: "q",
}
