"""The backend of a client: the native module's session, with the runner as its component."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine._backend import CONCURRENT_RUNNER, RUNNER

_RUNNER_FILE = "python.wasm"


def runner_path() -> str:
    """The component with the interpreter: `$ENGINE_PYTHON_RUNNER`, else the one that the package brings."""
    named = os.environ.get("ENGINE_PYTHON_RUNNER")
    path = Path(named) if named else Path(__file__).parent / _RUNNER_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no Python runner at {path}: set ENGINE_PYTHON_RUNNER to one that "
            "`cargo xtask python-runner` has made, or install the package anew with `pip install ./sdk/python`"
        )
    return str(path)


def start(
    address: str | None,
    *,
    num_cpus: float | None,
    num_gpus: float | None,
    resources: Mapping[str, float] | None,
    memory: int | None,
    store_memory: int | None,
    namespace: str | None,
    name: str | None,
    env: Mapping[str, str],
    credentials: str | None,
    token: str | None,
    show_logs: bool,
    task_memory: int | None,
    components: Mapping[str, str],
) -> Any:
    """A session of the native module."""
    runner = runner_path()
    parts = {RUNNER: runner, **components}
    concurrent = Path(runner).with_name(f"{Path(runner).stem}-concurrent.wasm")
    if concurrent.is_file():
        parts.setdefault(CONCURRENT_RUNNER, str(concurrent))
    try:
        from engine import _native
    except ImportError as error:
        raise ImportError(
            f"the package has no native module ({error}): install it anew with `pip install ./sdk/python`, or in a "
            "checkout put it there with `cargo xtask python-package` (docs/python.md)"
        ) from error

    common: dict[str, Any] = {
        "namespace": namespace,
        "name": name or os.path.basename(sys.argv[0] or "python"),
        "env": env,
        "task_memory": task_memory,
        "on_log": show if show_logs else None,
        "on_demand": [CONCURRENT_RUNNER],
    }
    if address is None:
        address = os.environ.get("ENGINE_ADDRESS") or None
    if address in (None, "local"):
        return _native.Session.embedded(
            parts,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=resources,
            memory=memory,
            store_memory=store_memory,
            **common,
        )
    if num_cpus is not None or num_gpus is not None or resources or memory or store_memory:
        raise ValueError(
            "num_cpus, num_gpus, resources, memory and object_store_memory are those of an engine in this process: a "
            f"running engine, which the address {address} names, has its own; leave them out, or the address"
        )
    where = None if address == "auto" else address
    return _native.Session.connect(parts, where, credentials=credentials, token=token, **common)


def show(lines: list[tuple[str, str, str, str]]) -> None:
    """Prints what tasks wrote, each line behind the name of its function."""
    for stream, function, task, text in lines:
        out = sys.stdout if stream == "stdout" else sys.stderr
        level = "" if stream in ("stdout", "stderr") else f"{stream}: "
        print(f"({function} {task[:13]}) {level}{text}", file=out)
    sys.stdout.flush()
