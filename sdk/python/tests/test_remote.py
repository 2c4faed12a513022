"""A program that is the root of a job of a running engine: of one node, of a cluster, and over connections that break.

`ENGINE_BIN` is the engine's binary, and `ENGINE_PYTHON_RUNNER` the component that `runner/build.py` makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import setting
from test_native import (  # noqa: F401 - the same has to hold of an engine elsewhere
    native,
    runner,
    test_a_callback_comes_once_when_the_item_is_ready,
    test_a_view_of_nothing_cannot_be_made,
    test_ctrl_c_ends_a_wait_and_leaves_what_was_waited_for,
    test_failures_have_code_path_and_message,
    test_handles_travel_in_values_and_keep_what_they_name,
    test_parts_are_laid_end_to_end_and_read_where_they_lie,
    test_small_values_are_bytes,
    test_the_context_and_the_nodes,
    test_the_options_are_read_once,
    test_waits_end_at_their_timeout_and_refuse_nonsense,
    test_what_is_no_value_is_refused,
)

import engine
from engine import exceptions
from engine.util.placement_group import get_placement_group, placement_group, remove_placement_group

PATIENCE = 60.0
BIG = 20 << 20
GRACE = 1.0


def eventually(what: str, is_so: Callable[[], Any]) -> Any:
    """What `is_so` gives once it is something."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := is_so():
            return found
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {PATIENCE} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Engine:
    """`engine up` with these arguments, or another verb that says this once it is there."""

    def __init__(self, address: str, *arguments: str, verb: str = "up", says: str = "listening on") -> None:
        self.address = address
        command = [setting("ENGINE_BIN"), "--address", address, verb, *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if says in line:
                break
        else:
            pytest.fail("".join(self.said))
        self.reader = threading.Thread(target=self.said.extend, args=(self.process.stderr,), daemon=True)
        self.reader.start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def list(self, kind: str) -> list[dict[str, Any]]:
        """What `engine list` says."""
        command = [setting("ENGINE_BIN"), "--address", self.address, "list", kind, "--format", "json"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
        return items

    def jobs(self) -> dict[str, Any]:
        """By id."""
        return {job["job_id"]: job for job in self.list("jobs")}

    def objects(self) -> int:
        """How many there are, on all nodes."""
        return sum(node["counters"]["objects"] for node in self.list("nodes"))


@contextlib.contextmanager
def running(address: str, *arguments: str) -> Iterator[Engine]:
    made = Engine(address, *arguments)
    try:
        yield made
        eventually("nothing is left of any session", lambda: made.objects() == 0)
    finally:
        made.stop()


@pytest.fixture(scope="module")
def one() -> Iterator[Engine]:
    """One node, on a socket."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--cpus", "2", "--store-memory", "256MiB", "--resources", "disk=1.5")
        with running(f"{folder}/e.sock", *options, "--client-grace", f"{GRACE}s") as made:
            yield made


@pytest.fixture(scope="module")
def three() -> Iterator[Engine]:
    """A cluster of three nodes, on a port."""
    with running(f"127.0.0.1:{free_port()}", "--nodes", "3", "--cpus", "1", "--store-memory", "128MiB") as made:
        yield made


@pytest.fixture(params=["one", "three"])
def up(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Either of them, with a session of this process."""
    made: Engine = request.getfixturevalue(request.param)
    with engine.init(made.address, namespace=f"tests-{request.param}"):
        yield made


@pytest.fixture(scope="module")
def session(one: Engine) -> Iterator[Any]:
    """For the tests of the native module."""
    session = native.Session.connect({"python": runner()}, one.address, namespace="n")
    assert session.address == f"unix:{one.address}"
    yield session
    session.close()


@engine.remote
def square(x: int) -> int:
    return x * x


@engine.remote
def size(data: bytes) -> tuple[int, bytes]:
    return len(data), data[-4:]


@engine.remote
def zeros(count: int) -> bytes:
    return bytes(count)


@engine.remote
def forever() -> None:
    while True:
        pass


@engine.remote(num_returns="streaming")
def count_to(n: int) -> Any:
    yield from range(n)


class Refused(Exception):
    """With something that only this class has."""

    def __init__(self, why: str, data: bytes) -> None:
        super().__init__(why, data)
        self.data = data


@engine.remote
def refuse(data: bytes) -> None:
    raise Refused("as asked", data)


@engine.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    def add(self, by: int = 1) -> int:
        self.count += by
        return self.count

    def keep(self, data: bytes) -> int:
        self.count += 1
        return len(data)


def test_tasks_and_actors(up: Engine) -> None:
    assert engine.get([square.remote(i) for i in range(20)], timeout=PATIENCE) == [i * i for i in range(20)]
    counter = Counter.remote(5)
    assert engine.get([counter.add.remote() for _ in range(10)], timeout=PATIENCE) == list(range(6, 16))
    engine.kill(counter)
    with pytest.raises(exceptions.ActorDiedError):
        engine.get(counter.add.remote(), timeout=PATIENCE)


def test_large_values(up: Engine) -> None:
    np = pytest.importorskip("numpy")
    data = os.urandom(BIG)
    ref = engine.put(data)
    assert engine.get(ref, timeout=PATIENCE) == data
    assert engine.get(size.remote(ref), timeout=PATIENCE) == (BIG, data[-4:])
    assert engine.get(size.remote(data), timeout=PATIENCE) == (BIG, data[-4:])
    assert engine.get(zeros.remote(BIG), timeout=PATIENCE) == bytes(BIG)
    array = np.arange(BIG // 8)
    found = engine.get(engine.put(array), timeout=PATIENCE)
    assert np.array_equal(found, array) and not found.flags.writeable


def test_references_inside_values_keep_what_they_name(up: Engine) -> None:
    outer = engine.put({"squares": [square.remote(i) for i in range(3)], "put": engine.put("inner")})
    gc.collect()
    inside = engine.get(outer, timeout=PATIENCE)
    del outer
    gc.collect()
    assert engine.get(inside["squares"], timeout=PATIENCE) == [0, 1, 4]
    assert engine.get(inside["put"], timeout=PATIENCE) == "inner"
    counter = Counter.remote()
    again = engine.get(engine.put([counter]), timeout=PATIENCE)[0]
    del counter
    gc.collect()
    assert engine.get(again.add.remote(), timeout=PATIENCE) == 1


def test_what_is_dropped_is_given_back(up: Engine) -> None:
    def use() -> list[Any]:
        held = [engine.put(bytes(200_000)), square.remote(2), *count_to.remote(5)]
        held.append(engine.put(list(held)))
        held.append(engine.get(held[-1], timeout=PATIENCE))
        with pytest.raises(Refused):
            engine.get(refuse.remote(b""), timeout=PATIENCE)
        return held

    def count() -> int:
        job = engine.get_runtime_context().job_id
        return sum(item["job_id"] == job for item in up.list("objects"))

    held = use()
    # Functions are put once, and stay.
    functions = 3
    assert count() > functions
    del held
    gc.collect()
    eventually("all but the functions is gone", lambda: count() == functions)


def test_streams(up: Engine) -> None:
    assert [engine.get(ref, timeout=PATIENCE) for ref in count_to.remote(50)] == list(range(50))


def test_wait_and_cancel(up: Engine) -> None:
    never, soon = forever.options(num_cpus=0.5).remote(), square.options(num_cpus=0.5).remote(3)
    assert engine.wait([never, soon], timeout=PATIENCE) == ([soon], [never])
    assert engine.wait([never], timeout=0) == ([], [never])
    with pytest.raises(exceptions.GetTimeoutError):
        engine.get(never, timeout=0.01)
    engine.cancel(never)
    with pytest.raises(exceptions.TaskCancelledError):
        engine.get(never, timeout=PATIENCE)


@pytest.mark.parametrize("count", [3, 500_000])
def test_exceptions_come_whole(up: Engine, count: int) -> None:
    with pytest.raises(Refused) as refused:
        engine.get(refuse.remote(bytes(count)), timeout=PATIENCE)
    assert isinstance(refused.value, exceptions.TaskError)
    assert refused.value.data == bytes(count) and "as asked" in str(refused.value.args)


def test_async_code(up: Engine) -> None:
    async def main() -> Any:
        return await asyncio.gather(*(square.remote(i) for i in range(5)))

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == [0, 1, 4, 9, 16]


def test_placement_groups(up: Engine) -> None:
    group = placement_group([{"CPU": 0.5}, {"CPU": 0.5}], name="pair")
    engine.get(group.ready(), timeout=PATIENCE)
    assert get_placement_group("pair").id == group.id
    assert engine.get(square.options(placement_group=group, num_cpus=0.5).remote(4), timeout=PATIENCE) == 16
    remove_placement_group(group)
    with pytest.raises(exceptions.EngineError):
        engine.get(square.options(placement_group=group, num_cpus=0.5).remote(4), timeout=PATIENCE)


def program(source: str, address: str, **more: str) -> subprocess.Popen[str]:
    """Another program, attached to the engine."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ENGINE_ADDRESS": address, **more}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_two_clients_share_named_actors(up: Engine) -> None:
    counter = Counter.options(name="shared").remote(40)
    assert engine.get(counter.add.remote(), timeout=PATIENCE) == 41
    other = program(
        f"""
        import engine
        with engine.init(namespace={engine.get_runtime_context().namespace!r}):
            print(engine.get(engine.get_actor("shared").add.remote()))
        """,
        up.address,
    )
    out, err = other.communicate(timeout=2 * PATIENCE)
    assert (other.returncode, out) == (0, "42\n"), err
    assert engine.get(counter.add.remote(), timeout=PATIENCE) == 43


def test_nodes(one: Engine, three: Engine) -> None:
    for there, count in ((one, 1), (three, 3)):
        with engine.init(there.address):
            nodes = engine.nodes()
            assert len({node["NodeID"] for node in nodes}) == count
            assert engine.cluster_resources()["CPU"] == (2 if count == 1 else 3)


def test_what_tasks_print_comes_before_the_end(one: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    @engine.remote
    def greet(whom: str) -> None:
        print(f"hello, {whom}")

    with engine.init(one.address):
        engine.get(greet.remote("client"), timeout=PATIENCE)
    assert "hello, client" in capsys.readouterr().out


def test_closing_ends_the_job_in_order(one: Engine) -> None:
    with engine.init(one.address, job_name="orderly"):
        job = engine.get_runtime_context().job_id
        counter, never = Counter.remote(), forever.remote()
        assert engine.get(counter.add.remote(), timeout=PATIENCE) == 1
        assert one.jobs()[job]["state"] == "RUNNING"
    ended = one.jobs()[job]
    assert (ended["state"], ended["name"], ended["actors_alive"]) == ("SUCCEEDED", "orderly", 0)
    del counter, never


# contract: J3
def test_the_job_of_a_client_that_was_killed_ends(one: Engine) -> None:
    client = program(
        """
        import engine, time
        engine.init()
        print(engine.get_runtime_context().job_id, flush=True)
        time.sleep(3600)
        """,
        one.address,
    )
    assert client.stdout is not None
    job = client.stdout.readline().strip()
    assert one.jobs()[job]["state"] == "RUNNING"
    client.kill()
    client.wait()
    ended = eventually("the end of the job", lambda: one.jobs()[job]["state"] in ("FAILED", "STOPPED") and one.jobs())
    assert "client_grace" in ended[job]["error"]["message"], ended[job]


@pytest.mark.parametrize("ending", ["session = None", "pass", "import os; os._exit(0)", "1 / 0"])
def test_a_program_may_end_without_closing(one: Engine, ending: str) -> None:
    source = (
        "from engine import _native\n"
        "session = _native.Session.connect({}, on_log=print)\n"
        "data = session.get_many([session.put((0, b'x' * 1000000, []))], None)[0][1]\n"
        f"{ending}\n"
    )
    ended = program(source, one.address)
    _, err = ended.communicate(timeout=2 * PATIENCE)
    assert ended.returncode == (1 if "/" in ending else 0), err
    assert "panicked" not in err and "Fatal" not in err, err


def test_the_address_is_that_of_the_environment(one: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_ADDRESS", one.address)
    for address in (None, "auto"):
        with engine.init(address) as made:
            assert made.address == f"unix:{one.address}"
            assert engine.get(square.remote(3), timeout=PATIENCE) == 9
    with engine.init("local", num_cpus=1) as made:
        assert made.address == "embedded"


def test_what_keeps_a_session_from_beginning_is_said(one: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_cpus"):
        engine.init(one.address, num_cpus=1)
    with pytest.raises(exceptions.InvalidArgumentError, match="not an address"):
        engine.init("somewhere")
    with pytest.raises(exceptions.NotFoundError, match="engine up"):
        engine.init(str(tmp_path / "nobody.sock"))
    with pytest.raises(exceptions.NotFoundError, match="nobody listens there"):
        engine.init(f"127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.UnauthenticatedError, match="ENGINE_CREDENTIALS"):
        engine.init("https://127.0.0.1:1")
    with pytest.raises(exceptions.EngineError, match="credentials cannot be used"):
        engine.init("127.0.0.1:1", credentials=str(tmp_path / "none.pem"))
    assert not engine.is_initialized()


def test_a_cluster_with_tls_wants_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, credentials = f"127.0.0.1:{free_port()}", tmp_path / "tls" / "credentials.pem"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        arguments = ("--tls", "--listen", address, "--data-dir", str(tmp_path))
        head = Engine(f"{folder}/e.sock", *arguments, verb="head", says="--credentials")
        stack.callback(head.stop)
        token = next(word for line in head.said for word in line.split() if word.startswith("ejt"))
        joins = ("--head", address, "--join-token", token, "--cpus", "1")
        node = Engine(f"{folder}/n.sock", *joins, verb="agent", says="node-")
        stack.callback(node.stop)
        eventually("the node joins", lambda: any(node["state"] == "ALIVE" for node in head.list("nodes")))
        with pytest.raises(exceptions.NotFoundError, match="TLS"):
            engine.init(address)
        with engine.init(address, credentials=str(credentials)):
            assert engine.get(square.remote(5), timeout=PATIENCE) == 25
        # By the head's socket, which needs none; the node does.
        monkeypatch.setenv("ENGINE_CREDENTIALS", str(credentials))
        with engine.init(head.address):
            assert engine.get(square.remote(6), timeout=PATIENCE) == 36


def test_an_engine_that_is_stopped_leaves_nobody_waiting() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Engine(f"{folder}/e.sock", "--cpus", "1")
        engine.init(made.address)
        try:
            never = forever.remote()
            assert engine.wait([never], timeout=0) == ([], [never])
            stopper = threading.Timer(0.2, made.stop)
            stopper.start()
            with pytest.raises(exceptions.EngineError) as ended:
                engine.get(never)
            assert ended.value.code in ("OWNER_DIED", "NODE_DIED", "TASK_CANCELLED")
            stopper.join()
        finally:
            engine.shutdown()
            made.stop()
    assert not engine.is_initialized()


class Proxy:
    """Carries bytes between clients and a port, until it is told to break what it carries."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.cuts = 0
        self.budget: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self.lock:
                    is_spent = self.budget is not None and self.budget < len(data)
                    if self.budget is not None:
                        self.budget -= len(data)
                if is_spent:
                    self.cut()
                    return
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def cut_after(self, count: int | None) -> None:
        """Cuts everything once so many bytes have come through, and then goes on."""
        with self.lock:
            self.budget = count

    def cut(self) -> None:
        with self.lock:
            pairs, self.pairs = self.pairs, []
            self.cuts += 1
            self.budget = None
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    # What was on its way is lost.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self.listener.close()
        self.cut()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Between this process, which has a session, and an engine of one node."""
    port = free_port()
    with running(f"127.0.0.1:{port}", "--cpus", "2", "--store-memory", "256MiB"):
        made = Proxy(port)
        try:
            with engine.init(f"127.0.0.1:{made.port}"):
                yield made
        finally:
            made.close()


# contract: J3
def test_a_get_goes_on_after_the_connection_broke(proxy: Proxy) -> None:
    @engine.remote
    class Gate:
        def __init__(self) -> None:
            self.is_open = False

        def open(self) -> None:
            self.is_open = True

        def is_it(self) -> bool:
            return self.is_open

    @engine.remote(num_cpus=0.5)
    def waits(gate: Any) -> str:
        while not engine.get(gate.is_it.remote()):
            pass
        return "through"

    gate = Gate.remote()
    through = waits.remote(gate)
    assert engine.wait([through], timeout=0) == ([], [through])

    def cut_and_open() -> None:
        for _ in range(3):
            proxy.cut()
            engine.wait([through], timeout=0.05)
        engine.get(gate.open.remote())

    cutter = threading.Timer(0.2, cut_and_open)
    cutter.start()
    assert engine.get(through, timeout=PATIENCE) == "through"
    cutter.join()
    assert proxy.cuts == 3


# contract: J3
def test_large_values_go_on_where_they_were(proxy: Proxy) -> None:
    data = os.urandom(BIG)
    proxy.cut_after(BIG // 2)
    ref = engine.put(data)
    assert proxy.cuts == 1
    proxy.cut_after(BIG // 2)
    assert engine.get(ref, timeout=PATIENCE) == data
    assert proxy.cuts == 2


# contract: J3
def test_what_is_asked_for_over_connections_that_break_happens_once(proxy: Proxy) -> None:
    counter = Counter.remote()
    assert engine.get(counter.add.remote(0), timeout=PATIENCE) == 0
    calls = []
    for i in range(40):
        proxy.cut_after(37 * (i % 8))
        calls.append(counter.add.remote())
    for i in range(4):
        proxy.cut_after(i * (256 << 10))
        calls.append(counter.keep.remote(bytes(BIG // 16)))
    proxy.cut_after(None)
    assert engine.get(calls, timeout=PATIENCE) == [*range(1, 41), *([BIG // 16] * 4)]
    assert engine.get(counter.add.remote(0), timeout=PATIENCE) == 44
    assert proxy.cuts > 10
