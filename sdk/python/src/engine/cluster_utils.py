"""Clusters of processes on this machine, for tests of what programs do when nodes fail.

    from engine.cluster_utils import Cluster

    with Cluster(head_node_args={"num_cpus": 1}) as cluster:
        node = cluster.add_node(num_cpus=1, resources={"special": 1})
        with engine.init(cluster.address):
            ref = slow.options(resources={"special": 1}).remote()
            cluster.remove_node(node, allow_graceful=False)      # killed; the task runs again elsewhere
            cluster.add_node(num_cpus=1, resources={"special": 1})
            engine.get(ref)

As Ray's, and more: nodes can be frozen, cut off from the head, and restarted, and the head itself can be killed and
come back. It runs the `engine` command: `$ENGINE_BIN`, else the one on the path.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from engine import _options

_PATIENCE = 60.0
"""Seconds after which something that should happen is given up."""
_PAUSE = 0.02
_LOG_TAIL_BYTES = 4096


def _command() -> str:
    found = os.environ.get("ENGINE_BIN") or shutil.which("engine")
    if not found:
        raise FileNotFoundError(
            "there is no `engine` command on the path: build it with `cargo build --release`, and name it in "
            "$ENGINE_BIN; clusters of processes run it"
        )
    return found


class Node:
    """A node process of a `Cluster`. `node_id` is its id, as `engine.nodes()` has it; it has another one after a
    restart, or when it was declared dead and starts afresh."""

    def __init__(self, cluster: Cluster, number: int, arguments: list[str]) -> None:
        self._cluster = cluster
        self._number = number
        self._arguments = arguments
        self._to_head = _Cable(cluster._head_port)
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def node_id(self) -> str | None:
        """None as long as the head does not know it, or when it is not alive."""
        process = self._process
        if process is None:
            return None
        for node in self._cluster.list_all_nodes():
            if node["process_id"] == process.pid and node["state"] == "ALIVE":
                return str(node["node_id"])
        return None

    @property
    def pid(self) -> int | None:
        """Of its process; None when it has none."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Ends its process at once, as a machine that loses its power."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stops its process where it is: it says nothing, and is declared dead after `silence_max` (3 s)."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends that. A node that was declared dead meanwhile starts afresh, with another id."""
        self._signal(signal.SIGCONT)

    def cut_off(self) -> None:
        """Cuts its line to the head; it runs on, and other nodes still hear it. It is declared dead after
        `reconnect_max` (0.5 s)."""
        self._to_head.cut()

    def heal(self) -> None:
        """Ends that. A node that was declared dead meanwhile starts afresh, with another id."""
        self._to_head.heal()

    def restart(self) -> None:
        """Starts a new process with the same resources, after a kill or in place of the one that runs."""
        self.kill()
        self._start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _start(self) -> None:
        command = ["agent", "--head", f"127.0.0.1:{self._to_head.port}", *self._arguments]
        self._process = self._cluster._spawn(f"node-{self._number}", command)

    def _close(self) -> None:
        self.kill()
        self._to_head.close()

    def __repr__(self) -> str:
        return f"Node({self._number}, pid={self.pid})"


class Cluster:
    """A head and its nodes, each a process. With `initialize_head` there is a first node, of `head_node_args`; with
    `connect` this program is a client of the cluster, as after `engine.init(cluster.address)`.

    A client is attached to one node, and its job ends with that: connect it as long as there is only a node that is
    not to die.

    Options of nodes: `num_cpus` (1), `num_gpus`, `resources`, `labels`, `memory`, `object_store_memory`.
    """

    def __init__(
        self,
        initialize_head: bool = True,
        connect: bool = False,
        head_node_args: Mapping[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="engine-cluster-")
        self._nodes: list[Node] = []
        self._added = 0
        self._head: subprocess.Popen[bytes] | None = None
        self._is_client = False
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._head_port: int = probe.getsockname()[1]
        if shutdown_at_exit:
            import atexit

            atexit.register(self.shutdown)
        try:
            self.start_head()
            if initialize_head:
                self.add_node(**dict(head_node_args or {}))
            if connect:
                self.connect()
        except BaseException:
            self.shutdown()
            raise

    @property
    def address(self) -> str:
        """What `engine.init` and `$ENGINE_ADDRESS` take."""
        return f"127.0.0.1:{self._head_port}"

    def connect(self, namespace: str | None = None) -> None:
        """Makes this program a client of the cluster, until `shutdown`."""
        import engine

        engine.init(self.address, namespace=namespace)
        self._is_client = True

    def start_head(self) -> None:
        """Starts the head, which remembers what the one before it knew."""
        if self._head is not None and self._head.poll() is None:
            raise RuntimeError("the head runs already; kill_head() ends it")
        folder = Path(self._folder.name)
        self._head = self._spawn(
            "head",
            [
                *("head", "--listen", self.address, "--data-dir", str(folder / "data")),
                *("--address", f"unix:{folder / 'head.sock'}"),
            ],
        )
        self._until(lambda: self._list() is not None, "the head does not answer")

    def kill_head(self) -> None:
        """Ends the head at once. Nodes go on, and wait for the next one."""
        if self._head is not None:
            self._head.kill()
            self._head.wait()
            self._head = None

    def add_node(
        self,
        wait: bool = True,
        *,
        num_cpus: float = 1,
        num_gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        memory: int | str | None = None,
        object_store_memory: int | str | None = None,
    ) -> Node:
        """Starts a node, and waits until it is a member."""
        if num_gpus:
            raise ValueError("num_gpus: a node of processes has the GPUs that its machine has; use resources instead")
        arguments = ["--cpus", str(num_cpus)]
        for name, amount in dict(resources or {}).items():
            arguments += ["--resources", f"{name}={amount}"]
        for name, value in dict(labels or {}).items():
            arguments += ["--labels", f"{name}={value}"]
        for option, size in (("--memory", memory), ("--store-memory", object_store_memory)):
            if size is not None:
                arguments += [option, str(_options.size(size, option))]
        self._added += 1
        node = Node(self, self._added, arguments)
        self._nodes.append(node)
        if wait:
            self.wait_for_nodes()
        return node

    def remove_node(self, node: Node, allow_graceful: bool = True) -> None:
        """Has a node leave in order, so that what it has goes elsewhere, or kills it."""
        if node not in self._nodes:
            raise ValueError(f"{node!r} is no node of this cluster")
        process = node._process
        if allow_graceful and process is not None and process.poll() is None:
            node.heal()
            node.thaw()
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
        node._close()
        self._nodes.remove(node)

    def wait_for_nodes(self, timeout: float = _PATIENCE) -> None:
        """Waits until the nodes that are alive to the head are those whose processes run."""

        def are_there() -> bool:
            alive = {node["process_id"] for node in self.list_all_nodes() if node["state"] == "ALIVE"}
            for node in self._nodes:
                if node._process is not None and node._process.poll() is not None:
                    raise RuntimeError(f"{node!r} has ended:\n{self._tail(f'node-{node._number}')}")
            return alive == {node.pid for node in self._nodes if node._process is not None}

        self._until(are_there, "the nodes are not all there", timeout)

    def list_all_nodes(self) -> list[dict[str, Any]]:
        """The nodes as the head knows them, dead ones too: what `engine list nodes --format json` says of each."""
        return self._list() or []

    def remaining_processes_alive(self) -> bool:
        """Whether the head and all nodes run."""
        head = self._head is not None and self._head.poll() is None
        return head and all(node.is_alive() for node in self._nodes)

    def shutdown(self) -> None:
        """Ends all of it. Repeating it does nothing."""
        import atexit

        import engine

        atexit.unregister(self.shutdown)
        if self._is_client:
            self._is_client = False
            engine.shutdown()
        while self._nodes:
            self._nodes.pop()._close()
        self.kill_head()
        self._folder.cleanup()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if key != "ENGINE_ADDRESS"}
        with (Path(self._folder.name) / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [_command(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                # A Ctrl-C at the terminal is this program's.
                start_new_session=True,
            )

    def _list(self) -> list[dict[str, Any]] | None:
        command = [_command(), "list", "nodes", "--limit", "10000", "--format", "json", "--address", self.address]
        listed = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if listed.returncode != 0:
            if self._head is not None and self._head.poll() is not None:
                raise RuntimeError(f"the head has ended:\n{self._tail('head')}")
            return None
        items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
        return items

    def _until(self, is_so: Callable[[], bool], otherwise: str, timeout: float = _PATIENCE) -> None:
        end = time.monotonic() + timeout
        while not is_so():
            if time.monotonic() > end:
                raise TimeoutError(f"{otherwise} after {timeout:g} s:\n{self._tail('head')}")
            time.sleep(_PAUSE)

    def _tail(self, name: str) -> str:
        log = Path(self._folder.name) / f"{name}.log"
        said = log.read_bytes()[-_LOG_TAIL_BYTES:] if log.exists() else b""
        return said.decode(errors="replace")


class _Cable:
    """A port that leads to the head, and can be cut: what is connected breaks, and nothing connects."""

    def __init__(self, head_port: int) -> None:
        self._head_port = head_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._is_cut = False
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._serve, name="engine-cable", daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            ends, self._ends = self._ends, set()
        for end in ends:
            _hang_up(end)

    def heal(self) -> None:
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        # A thread that waits in accept() is woken by the shutdown, not by the close.
        _hang_up(self._server)

    def _serve(self) -> None:
        while True:
            try:
                inner, _ = self._server.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._head_port))
            except OSError:
                inner.close()
                continue
            with self._lock:
                is_cut = self._is_cut
                if not is_cut:
                    self._ends.update((inner, outer))
            if is_cut:
                inner.close()
                outer.close()
                continue
            for source, target in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._carry, args=(source, target), name="engine-cable", daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with self._lock:
            self._ends.discard(source)
            self._ends.discard(target)
        _hang_up(source)
        _hang_up(target)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
