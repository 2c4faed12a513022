"""The package on a client, over a backend in this process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from in_process import InProcess

import engine
from engine import _client, _session
from engine.util.executor import Executor
from engine.util.multiprocessing import Pool


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    made = InProcess()
    monkeypatch.setattr(_client, "start", lambda *_, **__: made)
    yield made
    engine.shutdown()


@engine.remote
def square(x: int) -> int:
    return x * x


@engine.remote
def later(x: int, seconds: float) -> int:
    time.sleep(seconds)
    return x


def test_the_first_call_starts_a_session(backend: InProcess) -> None:
    assert not engine.is_initialized()
    assert engine.get([square.remote(i) for i in range(4)]) == [0, 1, 4, 9]
    assert engine.is_initialized()
    engine.shutdown()
    assert backend.is_closed and not engine.is_initialized()


def test_init_and_shutdown(backend: InProcess) -> None:
    with engine.init(namespace="x") as session:
        assert session.address == "in-process"
        with pytest.raises(RuntimeError, match="engine.init\\(\\) was called twice"):
            engine.init()
        engine.init(ignore_reinit_error=True)
    assert not engine.is_initialized()
    engine.shutdown()


def test_a_function_is_put_once_per_session(backend: InProcess) -> None:
    engine.init()
    engine.get([square.remote(i) for i in range(3)])
    assert backend.puts == 1
    engine.shutdown()
    engine.init()
    engine.get(square.remote(1))
    assert backend.puts == 2


def test_await_and_gather(backend: InProcess) -> None:
    async def main() -> Any:
        one = await later.remote(1, 0.01)
        return one, await asyncio.gather(*(later.remote(i, 0.01 * (3 - i)) for i in range(3)))

    assert asyncio.run(main()) == (1, [0, 1, 2])


def test_an_awaited_failure(backend: InProcess) -> None:
    @engine.remote
    def fails() -> None:
        raise KeyError("x")

    async def main() -> None:
        await fails.remote()

    with pytest.raises(KeyError) as caught:
        asyncio.run(main())
    assert isinstance(caught.value, engine.exceptions.TaskError)
    assert ".fails (task-1, attempt 0, on node-1)" in str(caught.value)
    assert caught.value.args == ("x",)


def test_futures_and_executor(backend: InProcess) -> None:
    assert square.remote(5).future().result(5) == 25
    with Executor(num_cpus=0.5) as executor:
        futures = [executor.submit(pow, i, 2) for i in range(4)]
        assert {one.result() for one in concurrent.futures.as_completed(futures, 5)} == {0, 1, 4, 9}
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
    assert backend.options[-1].placement.cpus == 5000
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_pool(backend: InProcess) -> None:
    with Pool(2) as pool:
        assert pool.map(lambda x: x + 1, range(5)) == [1, 2, 3, 4, 5]
        told: list[Any] = []
        assert pool.apply_async(abs, (-3,), callback=told.append).get(5) == 3
        assert told == [3]


def test_threads_share_a_session(backend: InProcess) -> None:
    engine.init()
    results: list[Any] = []

    def work(i: int) -> None:
        results.append(engine.get(square.remote([i][0])))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(i * i for i in range(16))


def test_timeouts_and_cancel(backend: InProcess) -> None:
    ref = later.remote(1, 5)
    with pytest.raises(TimeoutError):
        engine.get(ref, timeout=0.01)
    assert engine.wait([ref, square.remote(2)], timeout=5)[1] == [ref]
    engine.cancel(ref)
    with pytest.raises(engine.exceptions.TaskCancelledError):
        engine.get(ref)
    with pytest.raises(ValueError, match="only who made a call can cancel it"):
        engine.cancel(engine.put(1))


def test_nodes_have_rays_keys(backend: InProcess) -> None:
    [node] = engine.nodes()
    assert node["NodeID"] == "node-1" and node["Resources"] == {"CPU": 2.0} and node["Labels"] == {"zone": "a"}
    assert engine.available_resources() == {"CPU": 0.5}
    assert engine.get_runtime_context().namespace == "space"


def test_wrong_use_is_said(backend: InProcess) -> None:
    for call, said in (
        (lambda: engine.get(3), "engine.get takes references, not a int"),
        (lambda: engine.get([square.remote(1), 3]), "engine.get takes references"),
        (lambda: engine.put(square.remote(1)), "a reference already"),
        (lambda: engine.wait(square.remote(1)), "takes a list"),
        (lambda: engine.kill(square.remote(1)), "takes an actor's handle"),
        (lambda: engine.remote(3), "takes a function or a class"),
        (lambda: engine.remote(square), "remote already"),
        (lambda: square(3), "call square.remote"),
    ):
        with pytest.raises(TypeError, match=said):
            call()


def test_a_runner_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_PYTHON_RUNNER", "/nowhere/python.wasm")
    with pytest.raises(FileNotFoundError, match="no Python runner at /nowhere/python.wasm"):
        engine.init()
    assert _session.current() is None


def test_numpy_is_not_for_tasks(backend: InProcess) -> None:
    numpy = pytest.importorskip("numpy")

    @engine.remote
    def uses() -> Any:
        return numpy.zeros(3)

    with pytest.raises(Exception, match="numpy has compiled parts"):
        uses.remote()


def test_numpy_arrays_are_put_without_a_copy_and_read_where_they_lie(backend: InProcess) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000, dtype="float64").reshape(100, 1000)
    back = engine.get(engine.put({"a": array, "b": array[0]}))
    assert (back["a"] == array).all() and (back["b"] == array[0]).all()
    assert not back["a"].flags.owndata and not back["a"].flags.writeable
