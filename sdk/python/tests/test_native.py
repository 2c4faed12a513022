"""The native module by itself: buffers, handles, waits and ends, on an engine in this process.

`ENGINE_PYTHON_RUNNER` is the component that `runner/build.py` makes.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from engine import _backend as b

native = pytest.importorskip("engine._native", reason="the native module is built by `cargo build --workspace`")

MIB = 1 << 20
PATIENCE = 60.0


def runner() -> str:
    path = os.environ.get("ENGINE_PYTHON_RUNNER")
    if not path:
        pytest.fail("ENGINE_PYTHON_RUNNER is not set: it is the component that runner/build.py makes")
    return path




@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    components = {"python": runner()}
    session = native.Session.embedded(
        components, num_cpus=2, store_memory=256 * MIB, namespace="n", resources={"disk": 1.5}
    )
    yield session
    session.close()


def group(session: Any, cpus: int) -> Any:
    """A placement group of one bundle: one of more CPUs than there are is never ready."""
    return session.create_group([b.Bundle(cpus=cpus * b.QUANTITY)], "pack", None)


def value(session: Any, handle: Any) -> Any:
    [(_, data, _)] = session.get_many([handle], PATIENCE)
    return data


def test_parts_are_laid_end_to_end_and_read_where_they_lie(session: Any) -> None:
    parts = [b"head" * 16, bytearray(b"z") * (8 * MIB), memoryview(b"tail")]
    handle = session.put((b.Codec.RAW, parts, []))
    assert handle.kind == "object" and handle.is_ready()
    [(codec, data, handles)] = session.get_many([handle], None)
    assert (codec, handles) == (b.Codec.RAW, [])
    assert isinstance(data, memoryview) and data.readonly and data.contiguous
    assert len(data) == 64 + 8 * MIB + 4
    assert bytes(data[:4]) == b"head" and bytes(data[-4:]) == b"tail"
    with pytest.raises(TypeError):
        data[0] = 1


def test_a_view_keeps_its_bytes_after_the_last_handle(session: Any) -> None:
    handle = session.put((b.Codec.RAW, b"k" * (60 * MIB), []))
    data = value(session, handle)
    del handle
    gc.collect()
    for round_ in range(8):
        session.put((b.Codec.RAW, bytes([round_]) * (60 * MIB), []))
    assert bytes(data[:8]) == b"k" * 8 and bytes(data[-8:]) == b"k" * 8


def test_a_view_of_nothing_cannot_be_made(session: Any) -> None:
    data = value(session, session.put((b.Codec.RAW, b"x" * MIB, [])))
    with pytest.raises(BufferError):
        memoryview(type(data.obj)())


def test_small_values_are_bytes(session: Any) -> None:
    assert value(session, session.put((b.Codec.PYTHON, b"small", []))) == b"small"
    assert value(session, session.put((b.Codec.PYTHON, b"", []))) == b""


def test_handles_travel_in_values_and_keep_what_they_name(session: Any) -> None:
    inner = session.put((b.Codec.PYTHON, b"inner", []))
    outer = session.put((b.Codec.PYTHON, b"outer", [inner]))
    del inner
    gc.collect()
    [(_, data, (again,))] = session.get_many([outer], 1.0)
    del outer
    assert (data, value(session, again)) == (b"outer", b"inner")


@pytest.mark.parametrize(
    "bad", [(9, b"", []), (0, "text", []), (0, memoryview(bytes(16))[::2], []), (0, b"", [5]), (0, b""), 7]
)
def test_what_is_no_value_is_refused(session: Any, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError, BufferError)):
        session.put(bad)


def test_failures_have_code_path_and_message(session: Any) -> None:
    options = b.TaskOptions(placement=b.Placement(cpus=100 * b.QUANTITY))
    task = session.spawn(b.Function("python", "f"), [(b.Codec.RAW, b"", [])], options)
    with pytest.raises(b.CallFailed) as failed:
        session.get_many(task.outputs(), PATIENCE)
    assert failed.value.code == "UNSCHEDULABLE" and "100" in failed.value.message
    assert [frame.task for frame in failed.value.path] == [task.id()]
    with pytest.raises(b.CallFailed) as unknown:
        session.spawn(b.Function("other", "f"), [], b.TaskOptions())
    assert unknown.value.code == "NOT_FOUND" and "'python'" in unknown.value.message.replace('"', "'")
    with pytest.raises(b.CallFailed) as nameless:
        session.spawn(b.Function(None, "f"), [], b.TaskOptions())
    assert nameless.value.code == "INVALID_ARGUMENT"


def test_the_options_are_read_once(session: Any) -> None:
    options = b.TaskOptions(placement=b.Placement(cpus=100 * b.QUANTITY))
    for _ in range(3):
        session.spawn(b.Function("python", "f"), [], options)
    assert len(options.lowered) == 1


def test_waits_end_at_their_timeout_and_refuse_nonsense(session: Any) -> None:
    never = group(session, 100).ready()
    there = session.put((b.Codec.RAW, b"", []))
    assert session.wait([never, there], 1, PATIENCE) == [1]
    assert session.wait([never, there], 2, 0) == [1]
    assert session.wait([], 1, None) == []
    with pytest.raises(b.CallFailed) as late:
        session.get_many([there, never], 0.01)
    assert late.value.code == "GET_TIMEOUT"
    for items, count in ([[there, there], 1], [[there], 2], [[there], 0]):
        with pytest.raises(b.CallFailed) as wrong:
            session.wait(items, count, 0)
        assert wrong.value.code == "INVALID_ARGUMENT"
    for timeout in (-1.0, float("nan")):
        with pytest.raises(ValueError):
            session.get_many([there], timeout)
    assert [data for _, data, _ in session.get_many([there, there], float("inf"))] == [b"", b""]


def test_ctrl_c_ends_a_wait_and_leaves_what_was_waited_for(session: Any) -> None:
    whole = group(session, 2)
    session.get_many([whole.ready()], PATIENCE)
    second = group(session, 2)
    ready = second.ready()
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        session.get_many([ready], None)
    whole.remove()
    session.get_many([ready], PATIENCE)
    second.remove()


def test_a_callback_comes_once_when_the_item_is_ready(session: Any) -> None:
    whole = group(session, 2)
    session.get_many([whole.ready()], PATIENCE)
    second, called = group(session, 2), threading.Semaphore(0)
    session.when_ready(second.ready(), called.release)
    assert not called.acquire(blocking=False)
    whole.remove()
    assert called.acquire(timeout=PATIENCE)
    second.remove()


def test_the_context_and_the_nodes(session: Any) -> None:
    context = session.context()
    assert context.job_id.startswith("job-") and context.namespace == "n" and context.task_id is None
    [node] = session.nodes()
    assert node.id == context.node_id
    total = dict(node.total)
    assert (total["cpus"], total["disk"]) == (2 * b.QUANTITY, 15_000)


def test_whoever_waits_when_the_session_is_closed_hears_it() -> None:
    session = native.Session.embedded({}, num_cpus=2, env={"A": "1"})
    never, failures = group(session, 100).ready(), []
    callback = threading.Event()
    session.when_ready(never, callback.set)

    def waits() -> None:
        try:
            session.get_many([never], None)
        except b.CallFailed as error:
            failures.append(error.code)

    waiter = threading.Thread(target=waits)
    waiter.start()
    session.close()
    waiter.join(PATIENCE)
    assert failures == ["OWNER_DIED"] and callback.wait(PATIENCE)
    for late in (
        lambda: session.put((b.Codec.RAW, b"", [])),
        session.nodes,
        lambda: session.get_many([never], None),
        lambda: session.wait([never], 1, None),
        lambda: session.lookup_actor("a", None),
    ):
        with pytest.raises(b.CallFailed) as ended:
            late()
        assert ended.value.code == "OWNER_DIED"
    session.close()


def test_bad_settings_are_refused() -> None:
    for settings in ({"num_cpus": -1.0}, {"num_gpus": float("nan")}, {"resources": {"disk": -2.0}}):
        with pytest.raises(ValueError):
            native.Session.embedded({}, **settings)
    with pytest.raises(b.CallFailed) as missing:
        native.Session.embedded({"python": "/nowhere/python.wasm"})
    assert missing.value.code == "NOT_FOUND" and "/nowhere/python.wasm" in missing.value.message


@pytest.mark.parametrize("ending", ["session = None", "pass", "import os; os._exit(0)", "1 / 0"])
def test_a_program_may_end_without_closing(ending: str) -> None:
    program = (
        "from engine import _native\n"
        "session = _native.Session.embedded({}, on_log=print)\n"
        "view = session.get_many([session.put((0, b'x' * 1000000, []))], None)[0][1]\n"
        f"{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == (1 if "/" in ending else 0), done.stderr
    assert "panicked" not in done.stderr and "Fatal" not in done.stderr, done.stderr
