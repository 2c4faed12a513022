"""Arrays inside a sandbox: the interface `arrays` of the guest, by componentize-py's bindings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from componentize_py_types import Err  # type: ignore[import-not-found,unused-ignore]
from wit_world.imports import arrays  # type: ignore[import-not-found,unused-ignore]

from engine._sandbox import failed, nanoseconds
from engine.exceptions import of_call

_NAMES = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "bool", "utf8")
_DTYPES = {name: getattr(arrays.Dtype, "BOOLEAN" if name == "bool" else name.upper()) for name in _NAMES}


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the host; its errors are those of `engine.exceptions`."""
    try:
        return function(*arguments)
    except Err as error:
        raise of_call(failed(error.value)) from None


def dtype_of(array: Any) -> str:
    """The name of an array's type."""
    return _NAMES[array.dtype().value]


def scalar(value: Any) -> Any:
    """A single value, as the host takes it."""
    if value is None:
        return arrays.Scalar_Null()
    if isinstance(value, bool):
        return arrays.Scalar_Boolean(value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise OverflowError(f"{value} does not fit 64 bits")
        return arrays.Scalar_Signed(value) if value < 1 << 63 else arrays.Scalar_Unsigned(value)
    if isinstance(value, float):
        return arrays.Scalar_Floating(value)
    if isinstance(value, str):
        return arrays.Scalar_Text(value)
    raise TypeError(f"an array works with numbers, bool, str, None and arrays, and not with {type(value)!r}")


def value_of(found: Any) -> Any:
    """The other way round."""
    return None if isinstance(found, arrays.Scalar_Null) else found.value


def operand(wire: Any, value: Any) -> Any:
    """One side of an operation: an array of the host, or else a single value."""
    return arrays.Operand_Scalar(scalar(value)) if wire is None else arrays.Operand_Elements(wire)


def binary(name: str, left: Any, right: Any) -> Any:
    return call(arrays.Array.binary, arrays.BinaryOperation[name], left, right)


def unary(name: str, array: Any) -> Any:
    return call(array.unary, arrays.UnaryOperation[name])


def reduce(name: str, array: Any) -> Any:
    return value_of(call(array.reduce, arrays.Reduction[name]))


def reduce_axis(name: str, array: Any, axis: int) -> Any:
    return call(array.reduce_axis, arrays.Reduction[name], axis)


def choose(mask: Any, yes: Any, no: Any) -> Any:
    return call(arrays.Array.choose, mask, yes, no)


def cast(array: Any, dtype: str) -> Any:
    return call(array.cast, _DTYPES[dtype])


def from_bytes(dtype: str, shape: Sequence[int], data: bytes) -> Any:
    return call(arrays.Array.from_bytes, _DTYPES[dtype], list(shape), data)


def from_texts(texts: Sequence[str | None]) -> Any:
    return call(arrays.Array.from_texts, list(texts))


def from_object(handle: Any, timeout: float | None) -> Any:
    return call(arrays.Array.from_object, handle, nanoseconds(timeout))


def from_raw(handle: Any, dtype: str, shape: Sequence[int], timeout: float | None) -> Any:
    return call(arrays.Array.from_raw, handle, _DTYPES[dtype], list(shape), nanoseconds(timeout))


def full(dtype: str, shape: Sequence[int], value: Any) -> Any:
    return call(arrays.Array.full, _DTYPES[dtype], list(shape), scalar(value))


def sequence(dtype: str, start: Any, stop: Any, step: Any) -> Any:
    return call(arrays.Array.sequence, _DTYPES[dtype], scalar(start), scalar(stop), scalar(step))


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    return call(arrays.Array.concatenate, list(parts), axis)


def argsort(columns: Sequence[tuple[Any, bool]]) -> Any:
    return call(arrays.Array.argsort, list(columns))


def group_by(keys: Sequence[Any], aggregates: Sequence[tuple[Any, str]]) -> tuple[list[Any], list[Any]]:
    asked = [(array, arrays.Reduction[name]) for array, name in aggregates]
    made = call(arrays.group_by, list(keys), asked)
    return list(made.keys), list(made.aggregates)


def read_table(handle: Any, columns: Sequence[str] | None, timeout: float | None) -> list[tuple[str, Any]]:
    wanted = None if columns is None else list(columns)
    return list(call(arrays.read_table, handle, wanted, nanoseconds(timeout)))


def write_table(columns: Sequence[tuple[str, Any]]) -> Any:
    return call(arrays.write_table, list(columns))
