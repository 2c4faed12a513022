"""Tables of pyarrow and pandas as Arrow IPC streams (codec `arrow-ipc`), which every language's Arrow library reads.

Columns are written to where the value stays without another copy, and read where they lie: what comes back
points into the value's bytes, and cannot be written. pyarrow is needed only by who has such values.
"""

from __future__ import annotations

from typing import Any

from engine._backend import Codec, Value

_KINDS = {"Table": "pyarrow", "RecordBatch": "pyarrow", "DataFrame": "pandas"}
_KIND = b"engine:type"
"""Of a schema's metadata: what the stream was, if not a pyarrow.Table."""
_SMALL_BYTES = 64 << 10
"""Pieces up to this are put together with their neighbours."""


def is_table(value: Any) -> bool:
    """Whether it is a pyarrow.Table, a pyarrow.RecordBatch or a pandas.DataFrame (not of a subclass)."""
    kind = type(value)
    return _KINDS.get(kind.__name__) == kind.__module__.partition(".")[0]


def encode(value: Any) -> Value | None:
    """The table as a value: pieces that show its columns. None for a DataFrame that Arrow does not hold faithfully
    (columns of arbitrary objects, say), or when there is no pyarrow."""
    try:
        import pyarrow
    except ImportError:
        return None
    if type(value).__name__ == "DataFrame":
        table = _of_frame(value)
        if table is None:
            return None
        table = _marked(table, b"DataFrame")
    elif type(value).__name__ == "RecordBatch":
        table = _marked(value, b"RecordBatch")
    else:
        table = value
    pieces = _Pieces()
    with pyarrow.ipc.new_stream(pyarrow.PythonFile(pieces, mode="w"), table.schema) as writer:
        writer.write(table)
    return Codec.ARROW_IPC, pieces.laid_out(), ()


def decode(data: Any) -> Any:
    """What the stream was: a pyarrow.RecordBatch, a pandas.DataFrame (where pandas is installed), else a
    pyarrow.Table. Raises TypeError where there is no pyarrow."""
    try:
        import pyarrow
    except ImportError:
        raise TypeError("this value is an Arrow table: install pyarrow (`pip install pyarrow`) to read it here") from None
    reader = pyarrow.ipc.open_stream(pyarrow.py_buffer(data))
    kind = (reader.schema.metadata or {}).get(_KIND)
    if kind == b"RecordBatch":
        return _unmarked(reader.read_next_batch())
    table = reader.read_all()
    if kind is None:
        return table
    table = _unmarked(table)
    try:
        import pandas  # noqa: F401
    except ImportError:
        return table
    # A block of several columns would be a copy of them.
    return table.to_pandas(split_blocks=True)


def _marked(table: Any, kind: bytes) -> Any:
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KIND: kind})


def _unmarked(table: Any) -> Any:
    rest = {name: text for name, text in table.schema.metadata.items() if name != _KIND}
    return table.replace_schema_metadata(rest or None)


def _of_frame(frame: Any) -> Any:
    """The frame as a table with pandas' own metadata; None if it would come back as something else."""
    import pyarrow

    try:
        table = pyarrow.Table.from_pandas(frame)
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError):
        return None
    for dtype, column in zip(frame.dtypes, table.schema.types):
        is_text = pyarrow.types.is_string(column) or pyarrow.types.is_large_string(column)
        if dtype == object and not is_text:
            return None
    return table


class _Pieces:
    """A file whose writes are kept: Arrow's buffers as they are, without their bytes being copied."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._small = bytearray()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if view.nbytes <= _SMALL_BYTES:
            self._small += view
        else:
            self._end_small()
            self._pieces.append(view)
        return view.nbytes

    def _end_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()

    def laid_out(self) -> Any:
        """The stream: its bytes, or its pieces in order."""
        self._end_small()
        return self._pieces[0] if len(self._pieces) == 1 else self._pieces

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
