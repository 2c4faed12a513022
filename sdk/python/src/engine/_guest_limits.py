"""What a sandbox has not, said where it is asked for, with what to do instead."""

from __future__ import annotations

import importlib.abc
import sys
from typing import Any, NoReturn

_BIG_DATA = (
    "Its compiled parts do not exist for WebAssembly. Large arrays and tables stay outside the sandbox: compute with "
    "plain Python, `array`, `memoryview` or a Rust component inside, and use {name} on the client"
)
_COMPILED = {
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "tensorflow",
    "jax",
    "polars",
    "matplotlib",
    "PIL",
    "cv2",
    "numba",
    "xgboost",
    "lightgbm",
    "lxml",
    "psycopg2",
    "grpc",
    "pydantic_core",
    "cryptography",
    "duckdb",
    "h5py",
    "xarray",
    "dask",
}
_ABSENT = {
    "ctypes": "code outside the interpreter cannot be called from a sandbox: write a Rust component instead",
    "_ctypes": "code outside the interpreter cannot be called from a sandbox: write a Rust component instead",
    "ssl": "a sandbox has no network: fetch what is needed on the client, and pass it as an argument",
    "_ssl": "a sandbox has no network: fetch what is needed on the client, and pass it as an argument",
    "multiprocessing": "a sandbox is one process: spawn tasks with engine.remote, or use "
    "engine.util.multiprocessing.Pool",
    "tkinter": "a sandbox has no screen",
    "sqlite3": "the sandbox's interpreter is built without SQLite: read the data on the client",
    "_sqlite3": "the sandbox's interpreter is built without SQLite: read the data on the client",
    "ray": "change the import line: `import engine as ray`",
}


class _Explainer(importlib.abc.MetaPathFinder):
    """The last finder: nobody else knows the module."""

    is_last = True

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        top = fullname.partition(".")[0]
        if top in _ABSENT:
            raise ModuleNotFoundError(f"{top} is not available in a sandbox: {_ABSENT[top]}", name=fullname)
        if top in _COMPILED:
            raise ModuleNotFoundError(
                f"{top} is not available in a sandbox. {_BIG_DATA.format(name=top)}", name=fullname
            )
        if "." not in fullname and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(
                f"there is no module {fullname!r} in the sandbox: it has the standard library, engine, and what the job "
                "brought along. Pure-Python modules come with runtime_env={'py_modules': [...]} or "
                "{'pip': [...]}",
                name=fullname,
            )


def _no_thread(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(
        "a sandbox has no threads: spawn tasks with engine.remote, use engine.util's Executor or Pool, or asyncio"
    )


def _no_socket(*_: Any, **__: Any) -> NoReturn:
    raise OSError("a sandbox has no network: fetch what is needed on the client, and pass it as an argument")


def _no_process(*_: Any, **__: Any) -> NoReturn:
    raise OSError("a sandbox cannot start processes: spawn tasks with engine.remote")


def _exit(status: int = 0) -> NoReturn:
    raise SystemExit(status)


def install() -> None:
    """Puts the explanations in place of what is absent."""
    import _thread
    import asyncio
    import os
    import threading

    from engine._asyncio import SandboxPolicy

    sys.meta_path.append(_Explainer())
    for name in ("start_new_thread", "start_new", "start_joinable_thread"):
        if hasattr(_thread, name):
            setattr(_thread, name, _no_thread)
    for name in ("_start_joinable_thread", "_start_new_thread"):
        if hasattr(threading, name):
            setattr(threading, name, _no_thread)
    for name in ("system", "fork", "popen", "spawnv", "execv", "posix_spawn"):
        setattr(os, name, _no_process)
    os._exit = _exit
    try:
        import socket

        socket.socket.connect = _no_socket  # type: ignore[method-assign]
        socket.socket.bind = _no_socket  # type: ignore[method-assign]
        socket.create_connection = _no_socket
        socket.getaddrinfo = _no_socket
    except ImportError:
        pass
    try:
        import subprocess

        subprocess.Popen.__init__ = _no_process  # type: ignore[method-assign]
    except ImportError:
        pass
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(SandboxPolicy())  # type: ignore[abstract,unused-ignore]
