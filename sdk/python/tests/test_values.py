"""Values: their bytes, their buffers, and what is said of those that cannot travel."""

from __future__ import annotations

import pickle
import socket
import threading
from typing import Any

import pytest

from engine import ObjectRef
from engine._backend import Codec
from engine._serialize import Unpicklable, decode, encode, msgpack


def joined(value: Any) -> Any:
    codec, data, handles = encode(value)
    return codec, b"".join(data) if isinstance(data, list) else bytes(data), handles


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**70),
        1.5,
        "ä",
        b"",
        b"raw",
        [1, [2, {"a": (3,)}]],
        {1, 2},
        range(3),
        bytearray(b"x"),
        ValueError("a"),
        {"nested": [None] * 100},
    ],
)
def test_values_come_back(value: Any) -> None:
    back = decode(joined(value))
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_bytes_are_raw() -> None:
    codec, data, _ = encode(b"abc")
    assert (codec, data) == (Codec.RAW, b"abc")


class Block:
    """Offers its bytes out of band, as arrays do."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> Any:
        return Block, (pickle.PickleBuffer(self.data),)


def test_buffers_lie_aligned_in_the_value_and_are_read_there() -> None:
    blocks = [Block(bytearray(range(100))), Block(b"y" * 1000), Block(b"")]
    codec, data, handles = joined({"blocks": blocks})
    back = decode((codec, data, handles))["blocks"]
    assert [bytes(block.data) for block in back] == [bytes(block.data) for block in blocks]
    whole = memoryview(data)
    for block in back[:2]:
        view = memoryview(block.data)
        assert view.readonly
        assert data.find(bytes(view)) % 64 == 0
        assert view.obj is whole.obj


def test_large_buffers_are_not_copied_when_encoded() -> None:
    block = bytearray(1 << 20)
    _, pieces, _ = encode(Block(block))
    assert any(isinstance(piece, memoryview) and piece.obj is block for piece in pieces)


class Handle:
    kind = "object"

    def __init__(self, name: str) -> None:
        self.name = name

    def id(self) -> str:
        return self.name


# contract: O3
def test_references_become_handles() -> None:
    one, two = Handle("one"), Handle("two")
    value = {"a": ObjectRef(one), "b": [ObjectRef(two), ObjectRef(one)]}
    codec, data, handles = joined(value)
    assert list(handles) == [one, two]
    back = decode((codec, data, [Handle("1"), Handle("2")]))
    assert [back["a"].hex(), back["b"][0].hex(), back["b"][1].hex()] == ["1", "2", "1"]


def test_a_reference_is_not_pickled_on_its_own() -> None:
    with pytest.raises(pickle.PicklingError, match="travel only in values of the engine"):
        pickle.dumps(ObjectRef(Handle("x")))


class Holder:
    def __init__(self) -> None:
        self.name = "holder"
        self.parts = {"good": 1, "bad": [0, threading.Lock()]}


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (Holder, r"value\.parts\['bad'\]\[1\] cannot travel \(it is a _thread.lock\)"),
        (lambda: [socket.socket()], r"value\[0\] cannot travel \(it is a socket.socket\)"),
        (lambda: (i for i in range(3)), r"a generator cannot travel"),
        (lambda: open(__file__, "rb"), "cannot travel"),
    ],
)
def test_the_error_names_the_way_to_what_cannot_travel(make: Any, path: str) -> None:
    with pytest.raises(Unpicklable, match=path):
        encode(make())


LOCK = threading.Lock()


def uses_lock() -> Any:
    return LOCK


def test_the_error_names_a_global_of_a_function() -> None:
    with pytest.raises(Unpicklable, match="uses_lock's global 'LOCK' cannot travel"):
        encode(uses_lock)


def test_after_an_error_the_next_value_is_whole() -> None:
    with pytest.raises(Unpicklable):
        encode([ObjectRef(Handle("x")), threading.Lock()])
    assert encode([1])[2] == []


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, 127, 128, -1, -32, -33, 2**63, 2**64 - 1, -(2**63), 1.5, "", "a" * 31, "a" * 32, "a" * 300]
    + ["ä" * 70000, b"", b"x" * 300, b"x" * 70000, [], [1] * 15, [1] * 16, [1] * 70000, {}, {"a": {"b": [None]}}]
    + [{str(i): i for i in range(100)}],
    ids=lambda value: repr(value)[:20],
)
def test_messagepack(value: Any) -> None:
    assert msgpack.loads(msgpack.dumps(value, []), []) == value


def test_messagepack_references() -> None:
    handles: list[Any] = []
    data = msgpack.dumps({"a": ObjectRef(Handle("x"))}, handles)
    assert msgpack.loads(data, handles)["a"].hex() == "x"
    with pytest.raises(ValueError, match="names handle 0, and has 0"):
        msgpack.loads(data, [])


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\xdb\xff\xff\xff\xff", b"\x01\x01", b"\x91" * 500])
def test_bad_messagepack(data: bytes) -> None:
    with pytest.raises(ValueError, match="MessagePack"):
        msgpack.loads(data, [])


@pytest.mark.parametrize("value", [{1, 2}, object(), 2**64, [lambda: 1]])
def test_what_messagepack_has_not(value: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        msgpack.dumps(value, [])
