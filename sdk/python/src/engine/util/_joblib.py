"""The backend that `engine.util.joblib` registers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

import engine

Call = tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]


@engine.remote
def batch(calls: list[Call]) -> list[Any]:
    """Makes the calls one after another."""
    return [function(*args, **kwargs) for function, args, kwargs in calls]


class EngineBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc,unused-ignore]
    """Batches of a `Parallel` as tasks. A `Parallel` inside a call runs its calls one after another."""

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False
    supports_sharedmem = False
    uses_threads = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lock = threading.Lock()
        self._running: dict[Future[Any], engine.ObjectRef[Any]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many batches run at once: so many, or with -1 one for each CPU of the engine (-2: for all but one)."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = -1
        if n_jobs > 0:
            return n_jobs
        cpus = int(engine.cluster_resources().get("CPU", 1))
        return max(cpus + 1 + n_jobs, 1)

    def submit(self, func: Any, callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Spawns a batch."""
        ref = batch.remote(func.items)
        future: Future[Any] = ref.future()
        with self._lock:
            self._running[future] = ref
        future.add_done_callback(self._ended)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    # Its name before joblib 1.5.
    apply_async = submit

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._running.pop(future, None)

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch, or what it failed with."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancels what runs and waits: a call has failed, or the `Parallel` was left."""
        with self._lock:
            running = list(self._running.values())
        for ref in running:
            engine.cancel(ref)

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """A task is one thread."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None
