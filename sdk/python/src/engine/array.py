"""Arrays for tasks: they lie outside the sandbox, and are worked on there, natively.

There is no NumPy in a sandbox; this is what stands in its place for big data. An `Array` is a handle: its elements
enter the interpreter only when they are asked for (`tolist`, `tobytes`, `item`). What arrays take counts against the
task's `memory`.

    import engine

    @engine.remote(memory=256 << 20)
    def normalise(ref):
        a = engine.array.from_ref(ref[0])         # read where it lies
        a = (a - a.mean(axis=0)) / a.std(axis=0)
        return a[a[:, 0] > 0]                     # travels as a reference

Outside of tasks an `Array` is a reference that can be passed on; operations raise `UnsupportedError`.
"""

from __future__ import annotations

import array as _stdlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine import _session
from engine._refs import ObjectRef
from engine.exceptions import InvalidArgumentError, UnsupportedError

__all__ = [
    "Array",
    "GroupBy",
    "Table",
    "arange",
    "array",
    "ceil",
    "concatenate",
    "cos",
    "exp",
    "floor",
    "from_raw",
    "from_ref",
    "full",
    "isnull",
    "log",
    "maximum",
    "minimum",
    "ones",
    "round",
    "sin",
    "sqrt",
    "tanh",
    "where",
    "zeros",
]

_CODES = {
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
    "bool": "b",
}
_ALIASES: dict[Any, str] = {
    bool: "bool",
    int: "i64",
    float: "f64",
    str: "utf8",
    "str": "utf8",
    "string": "utf8",
    "boolean": "bool",
    "float": "f64",
    "int": "i64",
    **{f"int{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
    "float32": "f32",
    "float64": "f64",
}
_REDUCTIONS = ("sum", "mean", "min", "max", "std", "var", "count", "any", "all", "argmin", "argmax")


def _host() -> Any:
    backend = _session.current()
    if backend is None or not backend.is_sandbox:
        raise UnsupportedError(
            "arrays are worked on in tasks and actors: call this in one (outside, there is NumPy)", code="UNSUPPORTED"
        )
    from engine import _sandbox_arrays

    return _sandbox_arrays


def _dtype(name: Any) -> str:
    found = _ALIASES.get(name, name)
    if found not in _CODES and found != "utf8":
        raise InvalidArgumentError(
            f"{name!r} is no type of an array; there are {', '.join(_CODES)} and utf8", code="INVALID_ARGUMENT"
        )
    text: str = found
    return text


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class Array:
    """Elements of one type with a shape, outside of the sandbox. It does not change: every operation makes a new one.

    Made by `array`, `arange`, `zeros`, `ones`, `full`, `from_ref` and `from_raw`. `+ - * / // % **`, comparisons and
    `& | ^ ~` go element by element, with NumPy's broadcasting; a plain number takes the array's type. Integers that
    overflow raise `InvalidArgumentError`. Elements may be missing (None).
    """

    __slots__ = ("_ref", "_wire", "__weakref__")

    def __init__(self, wire: Any, ref: ObjectRef[Any] | None = None) -> None:
        self._wire = wire
        self._ref = ref

    def _host_array(self) -> Any:
        if self._wire is None:
            assert self._ref is not None
            self._wire = _host().from_object(self._ref._handle, None)
        return self._wire

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_ref, (self.put(),)

    def put(self) -> ObjectRef[Any]:
        """An object of this array: an Arrow tensor, which every language reads. Made once."""
        if self._ref is None:
            host = _host()
            self._ref = ObjectRef(host.call(self._wire.to_object))
        return self._ref

    @property
    def dtype(self) -> str:
        """`i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `bool`, or `utf8`."""
        text: str = _host().dtype_of(self._host_array())
        return text

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        _host()
        return tuple(self._host_array().shape())

    @property
    def ndim(self) -> int:
        """How many dimensions there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        _host()
        count: int = self._host_array().nbytes()
        return count

    @property
    def null_count(self) -> int:
        """How many elements are missing."""
        _host()
        count: int = self._host_array().null_count()
        return count

    @property
    def T(self) -> Array:  # noqa: N802 - NumPy's name
        """With the dimensions the other way round."""
        return self.transpose()

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("a single element has no length")
        return shape[0]

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("an array of more than one element is neither true nor false: use .any() or .all()")
        return bool(self.item())

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        backend = _session.current()
        if backend is None or not backend.is_sandbox:
            return f"<Array {self._ref!r}>"
        shape = self.shape
        shown = Array(_host().call(self.reshape(-1)._host_array().rows, 0, 6)).tolist()
        more = ", …" if self.size > 6 else ""
        return f"<Array {self.dtype}{list(shape)}: {', '.join(map(repr, shown))}{more}>"

    # Into the interpreter.

    def item(self, index: int = 0) -> Any:
        """The element at this place in row-major order."""
        host = _host()
        return host.value_of(host.call(self._host_array().item, index))

    def tobytes(self) -> bytes:
        """The bytes of the elements in row-major order, little-endian; truth values are a byte each."""
        host = _host()
        data: bytes = host.call(self._host_array().read, 0, self.size)
        return data

    def tolist(self) -> Any:
        """The elements as (nested) lists; missing ones are None."""
        host, shape = _host(), self.shape
        wire, dtype = self._host_array(), self.dtype
        flat: list[Any]
        if dtype == "utf8":
            flat = list(host.call(wire.texts, 0, self.size))
        else:
            numbers = _stdlib.array(_CODES[dtype])
            numbers.frombytes(self.tobytes())
            flat = [bool(one) for one in numbers] if dtype == "bool" else numbers.tolist()
            if wire.null_count():
                missing = isnull(self).tobytes()
                flat = [None if missing[index] else one for index, one in enumerate(flat)]
        for length in reversed(shape[1:]):
            count = math.prod(shape) // length if length else 0
            flat = [flat[index * length : (index + 1) * length] for index in range(count)] if length else []
            shape = shape[:-1]
        return flat if self.shape else flat[0]

    # Which elements.

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return self._at(key)
        if isinstance(key, int) and not isinstance(key, bool):
            length = len(self)
            if not -length <= key < length:
                raise IndexError(f"there is no row {key} among {length}")
            key %= length
            if self.ndim == 1:
                return self.item(key)
            host = _host()
            row = Array(host.call(self._host_array().rows, key, key + 1))
            return row.reshape(self.shape[1:])
        if isinstance(key, slice):
            begin, end, step = key.indices(len(self))
            if step == 1:
                return Array(_host().call(self._host_array().rows, begin, max(begin, end)))
            return self.take(arange(begin, end, step))
        chosen = _of(key)
        return self.filter(chosen) if chosen.dtype == "bool" else self.take(chosen)

    def _at(self, key: tuple[Any, ...]) -> Any:
        first, rest = key[0], key[1:]
        if not rest:
            return self[first]
        if isinstance(first, int):
            row = self[first]
            return row[rest if len(rest) > 1 else rest[0]]
        if len(rest) == 1 and isinstance(rest[0], int) and self.ndim == 2:
            chosen = self[first]
            rows, columns = chosen.shape
            if not -columns <= rest[0] < columns:
                raise IndexError(f"there is no column {rest[0]} among {columns}")
            return chosen.reshape(-1).take(arange(rest[0] % columns, rows * columns, columns))
        raise InvalidArgumentError(
            f"an array has no part {key!r}: rows, and one column of a matrix, are what can be asked for at once",
            code="INVALID_ARGUMENT",
        )

    def take(self, indices: Array | Sequence[int]) -> Array:
        """The rows of these numbers; negative ones count from the end."""
        wanted = array(indices, "i64") if isinstance(indices, (list, tuple)) else _of(indices)
        return Array(_host().call(self._host_array().take, wanted._host_array()))

    def filter(self, mask: Array | Sequence[bool]) -> Array:
        """The rows where the mask is true; of a mask of the array's own shape the elements."""
        wanted = array(mask, "bool") if isinstance(mask, (list, tuple)) else _of(mask)
        return Array(_host().call(self._host_array().filter, wanted._host_array()))

    def reshape(self, *shape: int | Sequence[int]) -> Array:
        """In another shape; one size may be -1, which is then what is left."""
        wanted = list(_shape(shape[0]) if len(shape) == 1 else (one for one in shape if isinstance(one, int)))
        if wanted.count(-1) == 1:
            known = -math.prod(wanted)
            wanted[wanted.index(-1)] = self.size // known if known else 0
        if any(size < 0 for size in wanted):
            raise InvalidArgumentError(f"reshape: {tuple(wanted)} is no shape", code="INVALID_ARGUMENT")
        return Array(_host().call(self._host_array().reshape, wanted))

    def transpose(self, *axes: int) -> Array:
        """With the dimensions in this order; with none given, the other way round."""
        ndim = self.ndim
        return Array(_host().call(self._host_array().transpose, [axis % ndim if ndim else axis for axis in axes]))

    def sort(self, descending: bool = False) -> Array:
        """In order, in one dimension; nan is the greatest, missing ones come last. Gives a new array."""
        return Array(_host().call(self._host_array().sort, descending))

    def argsort(self, descending: bool = False) -> Array:
        """Where the elements are in order; those that are equal stay in order."""
        return Array(_host().argsort([(self._host_array(), descending)]))

    def unique(self) -> Array:
        """Each element once, in order."""
        return Array(_host().call(self._host_array().unique))

    def astype(self, dtype: Any) -> Array:
        """In another type; floats lose their fraction on the way to integers."""
        return Array(_host().cast(self._host_array(), _dtype(dtype)))

    # What becomes of them.

    def _reduced(self, name: str, axis: int | None) -> Any:
        host = _host()
        if axis is None:
            return host.reduce(name.upper(), self._host_array())
        ndim = self.ndim
        if not -ndim <= axis < ndim:
            raise InvalidArgumentError(f"{name}: there is no dimension {axis} among {ndim}", code="INVALID_ARGUMENT")
        made = Array(host.reduce_axis(name.upper(), self._host_array(), axis % ndim))
        return made.item() if ndim == 1 else made

    def sum(self, axis: int | None = None) -> Any:
        """The sum of all, or along a dimension."""
        return self._reduced("sum", axis)

    def mean(self, axis: int | None = None) -> Any:
        """The mean."""
        return self._reduced("mean", axis)

    def min(self, axis: int | None = None) -> Any:
        """The smallest; nan if there is one."""
        return self._reduced("min", axis)

    def max(self, axis: int | None = None) -> Any:
        """The largest; nan if there is one."""
        return self._reduced("max", axis)

    def std(self, axis: int | None = None) -> Any:
        """The standard deviation of all of them (not of a sample), as in NumPy."""
        return self._reduced("std", axis)

    def var(self, axis: int | None = None) -> Any:
        """Its square."""
        return self._reduced("var", axis)

    def count(self, axis: int | None = None) -> Any:
        """How many are not missing."""
        return self._reduced("count", axis)

    def any(self, axis: int | None = None) -> Any:
        """Whether one is true, or not 0."""
        return self._reduced("any", axis)

    def all(self, axis: int | None = None) -> Any:
        """Whether all are."""
        return self._reduced("all", axis)

    def argmin(self, axis: int | None = None) -> Any:
        """Where the smallest is first."""
        return self._reduced("argmin", axis)

    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest is first."""
        return self._reduced("argmax", axis)

    def __matmul__(self, other: Array) -> Any:
        made = Array(_host().call(self._host_array().matmul, _of(other)._host_array()))
        return made if made.shape else made.item()

    def __neg__(self) -> Array:
        return _unary("NEGATE", self)

    def __abs__(self) -> Array:
        return _unary("ABSOLUTE", self)

    def __invert__(self) -> Array:
        return _unary("INVERT", self)

    def __add__(self, other: Any) -> Array:
        return _binary("ADD", self, other)

    def __radd__(self, other: Any) -> Array:
        return _binary("ADD", other, self)

    def __sub__(self, other: Any) -> Array:
        return _binary("SUBTRACT", self, other)

    def __rsub__(self, other: Any) -> Array:
        return _binary("SUBTRACT", other, self)

    def __mul__(self, other: Any) -> Array:
        return _binary("MULTIPLY", self, other)

    def __rmul__(self, other: Any) -> Array:
        return _binary("MULTIPLY", other, self)

    def __truediv__(self, other: Any) -> Array:
        return _binary("DIVIDE", self, other)

    def __rtruediv__(self, other: Any) -> Array:
        return _binary("DIVIDE", other, self)

    def __floordiv__(self, other: Any) -> Array:
        return _binary("FLOOR_DIVIDE", self, other)

    def __rfloordiv__(self, other: Any) -> Array:
        return _binary("FLOOR_DIVIDE", other, self)

    def __mod__(self, other: Any) -> Array:
        return _binary("REMAINDER", self, other)

    def __rmod__(self, other: Any) -> Array:
        return _binary("REMAINDER", other, self)

    def __pow__(self, other: Any) -> Array:
        return _binary("POWER", self, other)

    def __rpow__(self, other: Any) -> Array:
        return _binary("POWER", other, self)

    def __and__(self, other: Any) -> Array:
        return _binary("BIT_AND", self, other)

    def __rand__(self, other: Any) -> Array:
        return _binary("BIT_AND", other, self)

    def __or__(self, other: Any) -> Array:
        return _binary("BIT_OR", self, other)

    def __ror__(self, other: Any) -> Array:
        return _binary("BIT_OR", other, self)

    def __xor__(self, other: Any) -> Array:
        return _binary("BIT_XOR", self, other)

    def __rxor__(self, other: Any) -> Array:
        return _binary("BIT_XOR", other, self)

    def __eq__(self, other: Any) -> Array:  # type: ignore[override]
        return _binary("EQUAL", self, other)

    def __ne__(self, other: Any) -> Array:  # type: ignore[override]
        return _binary("NOT_EQUAL", self, other)

    def __lt__(self, other: Any) -> Array:
        return _binary("LESS", self, other)

    def __le__(self, other: Any) -> Array:
        return _binary("LESS_EQUAL", self, other)

    def __gt__(self, other: Any) -> Array:
        return _binary("GREATER", self, other)

    def __ge__(self, other: Any) -> Array:
        return _binary("GREATER_EQUAL", self, other)

    __hash__ = None  # type: ignore[assignment]


def _of_ref(ref: ObjectRef[Any]) -> Array:
    return Array(None, ref)


def _of(value: Any) -> Array:
    return value if isinstance(value, Array) else array(value)


def _operand(host: Any, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        value = array(value)
    return host.operand(value._host_array() if isinstance(value, Array) else None, value)


def _binary(name: str, left: Any, right: Any) -> Array:
    host = _host()
    return Array(host.binary(name, _operand(host, left), _operand(host, right)))


def _unary(name: str, value: Array) -> Array:
    return Array(_host().unary(name, _of(value)._host_array()))


# Making arrays.


def array(data: Any, dtype: Any = None) -> Array:
    """An array of numbers, truth values or texts (None: missing) in lists, which may be nested; of another array; or
    of a buffer, such as `bytes` and `array.array` (in one dimension, of `u8` or of the buffer's own numbers).
    """
    wanted = None if dtype is None else _dtype(dtype)
    if isinstance(data, Array):
        return data if wanted is None else data.astype(wanted)
    if isinstance(data, (bytes, bytearray, memoryview, _stdlib.array)):
        view = memoryview(data)
        own = _buffer_dtype(view)
        made = Array(_host().from_bytes(own, (view.nbytes // _stdlib.array(_CODES[own]).itemsize,), view.tobytes()))
        return made if wanted is None else made.astype(wanted)
    shape, flat = _flattened(data)
    found = wanted or _inferred(flat)
    if found == "utf8":
        made = Array(_host().from_texts(flat))
    else:
        there = [one is not None for one in flat]
        try:
            numbers = _stdlib.array(_CODES[found], [0 if one is None else one for one in flat])
        except (TypeError, OverflowError) as error:
            raise InvalidArgumentError(
                f"array: an element does not fit {found}: {error}", code="INVALID_ARGUMENT"
            ) from None
        made = Array(_host().from_bytes(found, (len(flat),), numbers.tobytes()))
        if not all(there):
            made = where(array(there, "bool"), made, None)
    return made if len(shape) == 1 else made.reshape(shape)


def _buffer_dtype(view: memoryview) -> str:
    kinds = {"b": "i", "h": "i", "i": "i", "l": "i", "q": "i", "f": "f", "d": "f"}
    kind = kinds.get(view.format) or {"B": "u", "H": "u", "I": "u", "L": "u", "Q": "u"}.get(view.format)
    return f"{kind}{8 * view.itemsize}" if kind else "u8"


def _flattened(data: Any) -> tuple[tuple[int, ...], list[Any]]:
    level = list(data)
    shape: tuple[int, ...] = (len(level),)
    while level and isinstance(level[0], (list, tuple)):
        length = len(level[0])
        if any(not isinstance(row, (list, tuple)) or len(row) != length for row in level):
            raise InvalidArgumentError("array: rows are lists of the same length", code="INVALID_ARGUMENT")
        level = [one for row in level for one in row]
        shape = (*shape, length)
    return shape, level


def _inferred(flat: Iterable[Any]) -> str:
    kinds = {type(one) for one in flat if one is not None}
    if not kinds:
        return "f64"
    if kinds <= {bool}:
        return "bool"
    if kinds <= {bool, int}:
        return "u64" if any(one is not None and one >= 1 << 63 for one in flat) else "i64"
    if kinds <= {bool, int, float}:
        return "f64"
    if kinds <= {str}:
        return "utf8"
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise InvalidArgumentError(
        f"array: elements are numbers, truth values or texts, and not {names}", code="INVALID_ARGUMENT"
    )


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Array:
    """The numbers from `start` (with one argument, from 0) up to `stop`, `step` apart: `i64`, or `f64` of floats."""
    begin, end = (0, start) if stop is None else (start, stop)
    whole = all(isinstance(one, int) for one in (begin, end, step))
    return Array(_host().sequence(_dtype(dtype or ("i64" if whole else "f64")), begin, end, step))


def full(shape: int | Sequence[int], value: Any, dtype: Any = None) -> Array:
    """An array of one value."""
    return Array(_host().full(_dtype(dtype) if dtype else _inferred([value]), _shape(shape), value))


def zeros(shape: int | Sequence[int], dtype: Any = "f64") -> Array:
    """An array of zeros."""
    return full(shape, False if _dtype(dtype) == "bool" else 0, dtype)


def ones(shape: int | Sequence[int], dtype: Any = "f64") -> Array:
    """An array of ones."""
    return full(shape, True if _dtype(dtype) == "bool" else 1, dtype)


def from_ref(ref: ObjectRef[Any], timeout: float | None = None) -> Array:
    """The array of an object that is an Arrow tensor or a table of one column, such as `put` makes (here and in
    other languages), read where it lies. Waits for it."""
    return Array(_host().from_object(ref._handle, timeout), ref)


def from_raw(ref: ObjectRef[Any], dtype: Any, shape: int | Sequence[int], timeout: float | None = None) -> Array:
    """The array of an object of raw bytes (`engine.put(some_bytes)`), read where it lies."""
    return Array(_host().from_raw(ref._handle, _dtype(dtype), _shape(shape), timeout))


def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Arrays one after another along a dimension."""
    parts = [_of(one) for one in arrays]
    at = axis % parts[0].ndim if parts and axis < 0 else axis
    return Array(_host().concatenate([one._host_array() for one in parts], at))


def where(mask: Array, yes: Any, no: Any) -> Array:
    """Of two elements the first where the mask is true, else the second; None: missing."""
    host = _host()
    if not isinstance(yes, (Array, list, tuple)) and not isinstance(no, (Array, list, tuple)):
        yes = full(1, yes, _inferred([yes, no]))
    return Array(host.choose(_of(mask)._host_array(), _operand(host, yes), _operand(host, no)))


def minimum(left: Any, right: Any) -> Array:
    """Of two elements the smaller."""
    return _binary("MINIMUM", left, right)


def maximum(left: Any, right: Any) -> Array:
    """Of two elements the larger."""
    return _binary("MAXIMUM", left, right)


def isnull(value: Array) -> Array:
    """Whether each element is missing."""
    return _unary("IS_NULL", value)


def sqrt(value: Array) -> Array:
    """The square root."""
    return _unary("SQRT", value)


def exp(value: Array) -> Array:
    """e to its power."""
    return _unary("EXP", value)


def log(value: Array) -> Array:
    """The natural logarithm."""
    return _unary("LN", value)


def sin(value: Array) -> Array:
    """The sine of an angle in radians."""
    return _unary("SIN", value)


def cos(value: Array) -> Array:
    """The cosine of an angle in radians."""
    return _unary("COS", value)


def tanh(value: Array) -> Array:
    """The hyperbolic tangent."""
    return _unary("TANH", value)


def floor(value: Array) -> Array:
    """The next whole number below."""
    return _unary("FLOOR", value)


def ceil(value: Array) -> Array:
    """The next whole number above."""
    return _unary("CEIL", value)


def round(value: Array) -> Array:
    """The nearest whole number; of two the even one."""
    return _unary("ROUND", value)


# Tables.


class Table:
    """Named columns of the same length: arrays of one dimension.

        sales = engine.array.Table.from_ref(ref)
        large = sales.filter(sales["amount"] > 100)
        totals = large.group_by("country").agg(total=("amount", "sum"), count=("amount", "count"))
    """

    __slots__ = ("_columns", "_ref", "__weakref__")

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns: dict[str, Array] | None = {name: _of(column) for name, column in columns.items()}
        self._ref: ObjectRef[Any] | None = None
        lengths = {name: column.shape for name, column in self._columns.items()}
        if any(len(shape) != 1 for shape in lengths.values()) or len(set(lengths.values())) > 1:
            raise InvalidArgumentError(
                f"the columns of a table have one dimension and the same length, and not {lengths}",
                code="INVALID_ARGUMENT",
            )

    @classmethod
    def from_ref(cls, ref: ObjectRef[Any], columns: Sequence[str] | None = None, timeout: float | None = None) -> Table:
        """The table of an object that is an Arrow stream, or these columns of it, read where they lie."""
        read = _host().read_table(ref._handle, columns, timeout)
        made = cls.__new__(cls)
        made._columns = {name: Array(wire) for name, wire in read}
        made._ref = ref if columns is None else None
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _table_of_ref, (self.put(),)

    def put(self) -> ObjectRef[Any]:
        """An object of this table: an Arrow stream, which every language reads. Made once."""
        if self._ref is None:
            columns = [(name, column._host_array()) for name, column in self.columns.items()]
            self._ref = ObjectRef(_host().write_table(columns))
        return self._ref

    @property
    def columns(self) -> dict[str, Array]:
        """The columns by their names, in order."""
        if self._columns is None:
            assert self._ref is not None
            self._columns = Table.from_ref(self._ref).columns
        return self._columns

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return next((len(column) for column in self.columns.values()), 0)

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._column(key)
        if isinstance(key, (list, tuple)) and all(isinstance(one, str) for one in key):
            return Table({name: self._column(name) for name in key})
        if isinstance(key, slice):
            return Table({name: column[key] for name, column in self.columns.items()})
        chosen = _of(key)
        return self.filter(chosen) if chosen.dtype == "bool" else self.take(chosen)

    def _column(self, name: str) -> Array:
        found = self.columns.get(name)
        if found is None:
            raise KeyError(f"the table has no column {name!r}; it has {', '.join(map(repr, self.columns))}")
        return found

    def with_column(self, name: str, column: Any) -> Table:
        """With one more column, or another in place of the one of this name."""
        return Table({**self.columns, name: column})

    def filter(self, mask: Array) -> Table:
        """The rows where the mask is true."""
        return Table({name: column.filter(mask) for name, column in self.columns.items()})

    def take(self, indices: Array | Sequence[int]) -> Table:
        """The rows of these numbers."""
        wanted = array(indices, "i64") if isinstance(indices, (list, tuple)) else indices
        return Table({name: column.take(wanted) for name, column in self.columns.items()})

    def sort_by(self, names: str | Sequence[str], descending: bool | Sequence[bool] = False) -> Table:
        """The rows in the order of the first of these columns, of equal ones in that of the second, and so on."""
        keys = [names] if isinstance(names, str) else list(names)
        falls = [descending] * len(keys) if isinstance(descending, bool) else list(descending)
        if len(falls) != len(keys):
            raise InvalidArgumentError(
                f"sort_by: {len(keys)} columns and {len(falls)} directions", code="INVALID_ARGUMENT"
            )
        asked = [(self._column(name)._host_array(), fall) for name, fall in zip(keys, falls)]
        return self.take(Array(_host().argsort(asked)))

    def group_by(self, *names: str) -> GroupBy:
        """Puts rows together whose values in these columns are equal."""
        return GroupBy(self, names)

    def to_pydict(self) -> dict[str, list[Any]]:
        """The columns as lists."""
        return {name: column.tolist() for name, column in self.columns.items()}

    def __repr__(self) -> str:
        backend = _session.current()
        if backend is None or not backend.is_sandbox:
            return f"<Table {self._ref!r}>"
        columns = ", ".join(f"{name}: {column.dtype}" for name, column in self.columns.items())
        return f"<Table of {self.num_rows} rows: {columns}>"


def _table_of_ref(ref: ObjectRef[Any]) -> Table:
    made = Table.__new__(Table)
    made._columns, made._ref = None, ref
    return made


class GroupBy:
    """Rows of a table, together by their keys; `agg` says what becomes of them."""

    __slots__ = ("_names", "_table")

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._table = table
        self._names = names

    def agg(self, **asked: tuple[str, str]) -> Table:
        """A table with a row for each group: its keys, and a column for each of `name=(column, reduction)`, where the
        reduction is one of sum, mean, min, max, std, var, count, any, all, argmin, argmax."""
        for name, (_, reduction) in asked.items():
            if reduction not in _REDUCTIONS:
                raise InvalidArgumentError(
                    f"agg: {name} asks for {reduction!r}; there are {', '.join(_REDUCTIONS)}", code="INVALID_ARGUMENT"
                )
        keys = [self._table._column(name)._host_array() for name in self._names]
        values = [(self._table._column(column)._host_array(), how.upper()) for column, how in asked.values()]
        made_keys, made = _host().group_by(keys, values)
        columns = {name: Array(wire) for name, wire in zip(self._names, made_keys)}
        columns.update({name: Array(wire) for name, wire in zip(asked, made)})
        return Table(columns)


def _of_stream(data: Any) -> Array | Table:
    """What a value that is an Arrow stream is to a task: the host reads it."""
    from engine._backend import Codec

    ref: ObjectRef[Any] = ObjectRef(_session.backend().put((Codec.ARROW_IPC, data, ())))
    try:
        return Table.from_ref(ref)
    except InvalidArgumentError:
        # A tensor is no table; what is neither says so here.
        return from_ref(ref)
