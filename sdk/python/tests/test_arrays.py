"""Arrays by handle: what NumPy people do, in real sandboxes, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from conftest import submit

BASICS = """
    import math
    import engine
    from engine import array as arrays

    a = arrays.arange(12)
    assert (a.dtype, a.shape, a.size, len(a), a.nbytes) == ("i64", (12,), 12, 12, 96)
    assert (a + 1).tolist() == list(range(1, 13))
    assert (10 - a)[:3].tolist() == [10, 9, 8]
    assert (a / 4).tolist()[:3] == [0.0, 0.25, 0.5] and (a / 4).dtype == "f64"
    assert [(a - 6)[i] // 4 for i in (0, 1)] == [-2, -2]
    assert ((a - 6) // 4).tolist() == [(i - 6) // 4 for i in range(12)]
    assert ((a - 6) % 4).tolist() == [(i - 6) % 4 for i in range(12)]
    assert (2 ** a[:4]).tolist() == [1, 2, 4, 8]
    assert (-a)[1] == -1 and abs(-a)[2] == 2 and a[-1] == 11
    assert a[a > 8].tolist() == [9, 10, 11] and a[2:5].tolist() == [2, 3, 4] and a[::-5].tolist() == [11, 6, 1]
    assert a[[3, -1]].tolist() == [3, 11]
    assert ((a > 2) & ~(a > 4)).tolist() == [2 < i <= 4 for i in range(12)]
    assert (a == a).all() and not (a != a).any()
    assert (a.sum(), a.mean(), a.min(), a.max(), a.argmax(), a.count()) == (66, 5.5, 0, 11, 11, 12)
    assert math.isclose(a.std(), math.sqrt(143 / 12)) and math.isclose(a.var(), 143 / 12)
    m = a.reshape(3, -1)
    assert m.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert m.sum(axis=0).tolist() == [12, 15, 18, 21] and m.sum(axis=-1).tolist() == [6, 22, 38]
    assert m[1].tolist() == [4, 5, 6, 7] and m[1, 2] == 6 and m[:, -1].tolist() == [3, 7, 11]
    assert m.T.shape == (4, 3) and m.T[0].tolist() == [0, 4, 8]
    assert (m - m.mean(axis=0)).sum() == 0.0
    f = m.astype("f64")
    assert (f @ f.T)[0].tolist() == [14.0, 38.0, 62.0] and f[0] @ f[0] == 14.0
    assert arrays.concatenate([m, m], axis=1).shape == (3, 8)
    assert arrays.where(a > 8, a, 0).sum() == 30 and arrays.minimum(a, 3).max() == 3
    assert arrays.sqrt(arrays.array([4.0, 9.0])).tolist() == [2.0, 3.0]
    assert arrays.zeros((2, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]] and arrays.ones(2, "i8").dtype == "i8"
    u = arrays.array([3, 1, 2, 3, 1])
    assert u.sort().tolist() == [1, 1, 2, 3, 3] and u.sort(descending=True)[0] == 3
    assert u.argsort().tolist() == [1, 4, 2, 0, 3] and u.unique().tolist() == [1, 2, 3]
    n = arrays.array([1.5, None, 2.5])
    assert n.tolist() == [1.5, None, 2.5] and n.sum() == 4.0 and (n + 1).null_count == 1
    t = arrays.array(["b", "a", None, "b"])
    assert t.unique().tolist() == ["a", "b", None] and (t == "b").tolist() == [True, False, None, True]
    assert t[t == "b"].tolist() == ["b", "b"] and t.max() == "b"
    assert arrays.array(b"ab").tolist() == [97, 98] and arrays.array([[True], [False]]).dtype == "bool"
    assert arrays.array(["12", "-3"]).astype(int).tolist() == [12, -3]
    assert a.astype("f32").tobytes() == b"".join(__import__("struct").pack("<f", i) for i in range(12))
    print(a[:2], arrays.array([]).tolist())
    print("done")
"""

TABLES = """
    import engine
    from engine.array import Table, arange, array, from_raw, from_ref

    sales = Table({"who": ["x", "y", "x", None, "y"], "n": [1, 2, 3, 4, None], "ok": [True, False, True, True, True]})
    groups = sales.group_by("who").agg(total=("n", "sum"), count=("n", "count"), best=("n", "max"))
    assert groups.to_pydict() == {"who": ["x", "y", None], "total": [4, 2, 4], "count": [2, 1, 1], "best": [3, 2, 4]}
    assert sales.group_by("who", "ok").agg(m=("n", "mean")).num_rows == 4
    assert sales.sort_by(["who", "n"], descending=[False, True])["n"].tolist() == [3, 1, 2, None, 4]
    assert sales.filter(sales["ok"])["n"].tolist() == [1, 3, 4, None]
    assert sales[["n"]].column_names == ["n"] and sales[1:3]["who"].tolist() == ["y", "x"]
    assert sales.with_column("twice", sales["n"] * 2)["twice"].tolist() == [2, 4, 6, 8, None]

    ref = sales.put()
    assert Table.from_ref(ref, ["ok", "n"]).column_names == ["ok", "n"]
    again = engine.get(ref)
    assert isinstance(again, Table) and again.to_pydict() == sales.to_pydict()
    matrix = arange(6).reshape(2, 3)
    assert from_ref(matrix.put()).shape == (2, 3) and engine.get(matrix.put()).tolist() == matrix.tolist()
    assert from_raw(engine.put(bytes(range(8))), "u16", (2, 2)).tolist() == [[256, 770], [1284, 1798]]

    @engine.remote
    def work(table, array, refs):
        assert engine.array.from_ref(refs[0]).tolist() == array.tolist()
        return table.filter(table["n"] > 1), array * 2

    @engine.remote
    class Keeper:
        def __init__(self, array):
            self.array = array
        def add(self, other):
            self.array = self.array + other
            return self.array.sum()

    table, twice = engine.get(work.remote(sales, matrix, [matrix.put()]))
    assert table["n"].tolist() == [2, 3, 4] and twice.tolist() == [[0, 2, 4], [6, 8, 10]]
    keeper = Keeper.remote(matrix)
    assert engine.get([keeper.add.remote(1), keeper.add.remote(matrix)]) == [21, 36]
    print("done")
"""

REFUSED = """
    import engine
    from engine import array as arrays

    def refused(work, *says, error=engine.exceptions.InvalidArgumentError):
        try:
            work()
        except error as found:
            assert all(text in str(found) for text in says), found
        else:
            raise AssertionError("it was not refused")

    a, m = arrays.arange(3), arrays.ones((2, 2))
    refused(lambda: a + m.reshape(-1), "add: i64[3] and f64[4]")
    refused(lambda: a + "x", '"x" does not go with an array of i64')
    refused(lambda: m @ a.astype("f64"), "f64[2, 2] and f64[3]")
    refused(lambda: a.take([5]), "no row 5 among 3")
    refused(lambda: a * (1 << 62), "does not fit")
    refused(lambda: a.reshape(2, 2), "i64[3] cannot have the shape [2, 2]")
    refused(lambda: a.astype("complex"), "is no type of an array")
    refused(lambda: arrays.array([1, "x"]), "not int, str")
    refused(lambda: arrays.from_ref(engine.put([1])), "codec python")
    refused(lambda: arrays.Table.from_ref(arrays.Table({"a": [1]}).put(), ["b"]), "no column `b`; it has `a`")
    refused(lambda: a[5], "row 5", error=IndexError)
    refused(lambda: bool(a == a), "neither true nor false", error=ValueError)
    print("done")
"""

# The sandbox's own memory is about 40 MB here.
MEMORY = """
    import engine

    @engine.remote(memory=160 << 20)
    def work():
        eight = engine.array.zeros(1 << 20)
        try:
            engine.array.zeros(1 << 25)
        except engine.exceptions.OutOfMemoryError as error:
            assert "full takes 260 MiB" in str(error) and "limit is 160 MiB" in str(error), error
        # It goes on, and what is dropped can be used again.
        for _ in range(100):
            eight = eight + 1
        many = []
        try:
            while True:
                many.append(eight + 1)
        except engine.exceptions.OutOfMemoryError:
            pass
        assert 4 <= len(many) <= 19, len(many)
        # Writing needs no memory of its own, and reading in place takes none, however large the object is.
        ref = eight.put()
        views = [engine.array.from_ref(ref) for _ in range(200)]
        return ref, sum(view[0] for view in views), many[0].put()

    ref, total, _ = engine.get(work.remote())
    assert total == 20000.0, total

    @engine.remote(memory=96 << 20)
    def larger_than_itself(refs):
        return engine.array.from_ref(refs[0]).sum()

    big = engine.array.concatenate([engine.array.from_ref(ref)] * 16)
    assert big.nbytes == 128 << 20
    assert engine.get(larger_than_itself.remote([big.put()])) == 100.0 * (16 << 20)
    print("done")
"""

STOPPED = """
    import engine

    def matrix():
        return engine.array.ones((3000, 3000))

    @engine.remote(memory=1 << 30)
    def product(_):
        a = matrix()
        while True:
            a = a @ a * 0.0

    @engine.remote(memory=1 << 30)
    def sorting(_):
        a = engine.array.sin(engine.array.arange(1 << 24))
        while True:
            a.argsort()

    for work in (product, sorting):
        try:
            engine.get(work.options(deadline=2.0, max_retries=0).remote(0))
        except engine.exceptions.DeadlineExceededError:
            print("deadline")
        try:
            engine.get(work.options(cpu_time=1.0, max_retries=0).remote(0))
        except engine.exceptions.DeadlineExceededError as error:
            assert "cpu_time" in str(error), error
            print("cpu time")
        ref = work.remote(0)
        ready, _ = engine.wait([ref], timeout=1.0)
        assert not ready
        engine.cancel(ref)
        try:
            engine.get(ref)
        except engine.exceptions.TaskCancelledError:
            print("cancelled")
    # Others got their turn, and nothing is left of what was stopped: as much as before fits again.
    assert engine.get(engine.remote(lambda: 7).remote()) == 7
    print("done")
"""


@pytest.mark.parametrize("name", ["BASICS", "TABLES", "REFUSED", "MEMORY"])
def test_program(name: str, run: Any) -> None:
    assert run(globals()[name]).endswith("done\n")


def test_operations_are_stopped_in_the_middle(run: Any) -> None:
    out = run(STOPPED)
    assert out.split("\n")[:6] == ["deadline", "cpu time", "cancelled"] * 2, out


def test_an_error_that_nobody_caught_is_the_tasks() -> None:
    ended = submit("import engine\nengine.array.arange(3) + engine.array.ones(2)\n")
    assert ended.status != 0 and "INVALID_ARGUMENT" in ended.err, ended.err


def test_a_client_is_told_where_arrays_are() -> None:
    program = """
import engine
try:
    engine.array.arange(3)
except engine.exceptions.UnsupportedError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "call this in one" in done.stdout, done.stderr
