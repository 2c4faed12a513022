"""joblib on the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import joblib
import pytest

import engine
from engine.util.joblib import register, register_ray


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    register()
    with engine.init(num_cpus=2):
        yield


class OutOfPaper(Exception):
    pass


def square(x: int, *, plus: int = 0) -> int:
    return x * x + plus


def where(_: int) -> Any:
    context = engine.get_runtime_context()
    return context.get_task_id(), context.get_node_id()


def fails(x: int) -> int:
    if x == 3:
        raise OutOfPaper("tray 3")
    return x


def nested(n: int) -> Any:
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2)(delayed(square)(i) for i in range(n))


def test_calls_are_tasks_and_their_results_in_order(session: None) -> None:
    with joblib.parallel_config(backend="engine"):
        assert joblib.effective_n_jobs() == 2
        results = joblib.Parallel()(joblib.delayed(square)(i, plus=1) for i in range(100))
        assert results == [i * i + 1 for i in range(100)]
        tasks = joblib.Parallel(batch_size=1)(joblib.delayed(where)(i) for i in range(4))
    assert len({task for task, _ in tasks}) == 4 and None not in {task for task, _ in tasks}


def test_results_as_a_stream(session: None) -> None:
    with joblib.parallel_config(backend="engine", n_jobs=4):
        parallel = joblib.Parallel(return_as="generator")
        assert list(parallel(joblib.delayed(square)(i) for i in range(10))) == [i * i for i in range(10)]


def test_an_exception_is_what_it_was(session: None) -> None:
    with joblib.parallel_config(backend="engine"):
        with pytest.raises(OutOfPaper, match="tray 3"):
            joblib.Parallel()(joblib.delayed(fails)(i) for i in range(10))
        # And the backend goes on.
        assert joblib.Parallel()(joblib.delayed(fails)(i) for i in range(3)) == [0, 1, 2]


def test_a_parallel_inside_a_call(session: None) -> None:
    with joblib.parallel_config(backend="engine"):
        results = joblib.Parallel()(joblib.delayed(nested)(n) for n in (2, 3))
    assert results == [[0, 1], [0, 1, 4]]


def test_numbers_of_jobs_and_rays_name(session: None) -> None:
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=-2):
        assert joblib.effective_n_jobs(-2) == 1
        assert joblib.effective_n_jobs(7) == 7
        with pytest.raises(ValueError, match="n_jobs == 0"):
            joblib.effective_n_jobs(0)
        assert joblib.Parallel()(joblib.delayed(square)(i) for i in range(3)) == [0, 1, 4]
