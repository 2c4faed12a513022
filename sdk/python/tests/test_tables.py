"""Tables and arrays of the client: Arrow streams that Rust reads, columns and arrays that are not copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import guest

import engine
from engine import _session, cross_language
from engine._backend import Codec
from engine._serialize import arrow, decode, encode

ROWS = 100_000


def sales(rows: int = ROWS) -> pa.Table:
    regions = pa.array(["north", "south"] * (rows // 2)).cast(pa.dictionary(pa.uint8(), pa.string()))
    cents = pa.array([None if n % 10 == 0 else n for n in range(rows)], pa.int64())
    fields = [pa.field("region", regions.type, nullable=False), pa.field("cents", pa.int64())]
    return pa.Table.from_arrays([regions, cents], schema=pa.schema(fields))


def joined(value: Any) -> Any:
    codec, data, handles = encode(value)
    return codec, b"".join(data) if isinstance(data, list) else bytes(data), handles


def address(view: Any) -> int:
    return int(np.frombuffer(view, dtype="uint8").__array_interface__["data"][0])


def test_columns_are_pieces_of_the_value_without_a_copy() -> None:
    table = sales()
    codec, pieces, handles = encode(table)
    assert (codec, handles) == (Codec.ARROW_IPC, ())
    column = table.column("cents").chunk(0).buffers()[1]
    assert column.address in [address(piece) for piece in pieces]
    # And nothing else is as large as a column.
    small = [piece for piece in pieces if isinstance(piece, bytes)]
    assert sum(map(len, small)) < column.size / 4


def test_columns_are_read_where_they_lie() -> None:
    codec, data, handles = joined(sales())
    back = decode((codec, memoryview(data), handles))
    begin = address(data)
    for column in back.columns:
        for buffer in column.chunk(0).buffers():
            assert buffer is None or begin <= buffer.address < begin + len(data)


@pytest.mark.parametrize(
    "value",
    [
        sales(10),
        sales(10).replace_schema_metadata({"unit": "cents"}),
        sales(0),
        pa.table({"a": pa.chunked_array([[1], [], [2, 3]])}),
        sales(10).slice(3, 4),
        sales(10).to_batches()[0],
        pa.record_batch({"a": pa.array([], "int8")}),
        pa.record_batch({"a": [[1], None]}, metadata={"b": "c"}),
    ],
    ids=["table", "metadata", "empty", "chunks", "slice", "batch", "empty batch", "nested"],
)
def test_tables_and_batches_come_back(value: Any) -> None:
    codec, data, handles = joined(value)
    assert codec == Codec.ARROW_IPC
    back = decode((codec, data, handles))
    assert type(back) is type(value)
    assert back.equals(value, check_metadata=True)


FRAMES = {
    "numbers": pd.DataFrame({"a": np.arange(5), "b": np.linspace(0, 1, 5), "c": [True] * 5}),
    "text": pd.DataFrame({"a": ["x", "y", None]}, dtype="string"),
    "index": pd.DataFrame({"a": [1.5, np.nan]}, index=pd.Index(["one", "two"], name="name")),
    "times": pd.DataFrame({"t": pd.to_datetime(["2026-01-01", None]), "d": pd.to_timedelta([1, 2], "s")}),
    "categories": pd.DataFrame({"k": pd.Categorical(["b", "a", "b"], ["b", "a"], ordered=True)}),
    "nullable": pd.DataFrame({"n": pd.array([1, None, 3], dtype="Int64")}),
    "numbers as names": pd.DataFrame([[1, 2]], columns=[10, 20]),
    "nothing": pd.DataFrame(),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_come_back(frame: pd.DataFrame) -> None:
    codec, data, handles = joined(frame)
    assert codec == Codec.ARROW_IPC
    pd.testing.assert_frame_equal(decode((codec, data, handles)), frame)


def test_a_frame_is_read_where_it_lies() -> None:
    codec, data, handles = joined(pd.DataFrame({"a": np.arange(ROWS), "b": np.arange(ROWS) * 0.5}))
    back = decode((codec, data, handles))
    begin = address(data)
    for name in back:
        numbers = back[name].to_numpy()
        assert begin <= numbers.__array_interface__["data"][0] < begin + len(data)
        assert not numbers.flags.writeable


def test_a_frame_that_arrow_does_not_hold_is_pickled() -> None:
    frame = pd.DataFrame({"a": [{1}, (2,)]})
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for one in (frame, twice):
        codec, data, handles = joined(one)
        assert codec == Codec.PYTHON
        pd.testing.assert_frame_equal(decode((codec, data, handles)), one)
        with pytest.raises(TypeError, match="a DataFrame goes to another language as an Arrow table"):
            cross_language.arguments((one,))


def test_without_pyarrow_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    value = joined(sales(2))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(TypeError, match="install pyarrow"):
        decode(value)
    assert arrow.encode(FRAMES["numbers"]) is None


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with engine.init(num_cpus=2, components={"stats": guest("table-stats")}):
        yield


def test_rust_reads_what_the_client_has_put(session: None) -> None:
    table = sales()
    stats = cross_language.function("stats", "sales::stats", memory="64MiB")
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    for value in (engine.put(table), table, table.to_batches()[0]):
        groups = engine.get(stats.remote(value, 0, 1))
        north = groups["north"]
        assert (north["count"], north["unpriced"], north["lowest"]) == (ROWS * 4 // 10, ROWS // 10, 2)
        assert groups["south"]["cents"] == sum(range(1, ROWS, 2))
    with pytest.raises(engine.exceptions.TaskError, match="names"):
        # pandas has categories of another width: Rust reads it, and looks for another type.
        engine.get(stats.remote(frame, 0, 1))


def test_what_rust_returns_is_a_table(session: None) -> None:
    def tensor(values: Any) -> pa.Table:
        column = values if values.ndim == 1 else pa.FixedShapeTensorArray.from_numpy_ndarray(values)
        return pa.table({"tensor": column})

    matrix, vector = np.arange(12.0).reshape(4, 3), np.array([1.0, 10.0, 100.0])
    band = cross_language.function("stats", "product::band", memory="64MiB")
    back = engine.get(band.remote(tensor(matrix), engine.put(tensor(vector)), 1, 3))
    assert isinstance(back, pa.Table)
    assert (back.column(0).to_numpy() == (matrix @ vector)[1:3]).all()


def test_put_and_got(session: None) -> None:
    table = sales()
    ref = engine.put(table)
    assert engine.get(ref).equals(table)
    [(codec, data, _)] = _session.backend().get_many([ref._handle], None)
    assert codec == Codec.ARROW_IPC and memoryview(data).readonly
    # Two reads are of the same memory.
    addresses = {engine.get(ref).column("cents").chunk(0).buffers()[1].address for _ in range(2)}
    assert len(addresses) == 1
    assert addresses.pop() in range(address(data), address(data) + len(memoryview(data)))


def test_a_task_gets_a_table_of_arrays_on_the_host(session: None) -> None:
    @engine.remote
    def cents(table: Any) -> int:
        assert isinstance(table, engine.array.Table)
        return int(table["cents"].sum())

    @engine.remote
    def passes_on(refs: list[Any]) -> Any:
        return refs[0]

    table = pa.table({"cents": [1, 20, 300], "region": ["north", "south", "south"]})
    for value in (table, engine.put(table), table.to_pandas()):
        assert engine.get(cents.remote(value)) == 321
    assert engine.get(engine.get(passes_on.remote([engine.put(table)]))).equals(table)


def test_arrays_are_copied_once_when_put_and_not_when_read(session: None) -> None:
    array = np.arange(1 << 20, dtype="float64").reshape(1024, 1024)
    _, pieces, _ = encode({"whole": array, "row": array[3]})
    of_array = [np.frombuffer(piece, dtype="uint8") for piece in pieces if len(piece) >= 1 << 13]
    # What is given to the store is the arrays' own memory: the copy there is the only one.
    assert all(np.shares_memory(piece, array) for piece in of_array)
    assert sum(map(len, pieces)) < array.nbytes + array[3].nbytes + 4096

    ref = engine.put({"whole": array, "row": array[3]})
    first, second = engine.get(ref), engine.get(ref)
    for back in (first, second):
        assert (back["whole"] == array).all() and (back["row"] == array[3]).all()
        assert not back["whole"].flags.writeable and not back["whole"].flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            back["whole"][0] = 1
    assert np.shares_memory(first["whole"], second["whole"]) and not np.shares_memory(first["whole"], array)
    del ref, second
    assert first["whole"].sum() == array.sum()
