"""What the tests share: a sandbox to send things to, and programs to run.

`ENGINE_BIN` is the engine's binary, `ENGINE_PYTHON_RUNNER` the component that `runner/build.py` makes, and
`ENGINE_GUESTS` the folder of the guest examples that `cargo xtask guests` makes.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine._serialize import decode, encode

# A shell starts what it runs in the background with interrupts ignored; some tests are about them.
signal.signal(signal.SIGINT, signal.default_int_handler)

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass
class Ended:
    """How a submitted program ended."""

    status: int
    out: str
    err: str


PATIENCE = 60.0
"""Seconds after which something hangs."""


def until(is_so: Callable[[], bool]) -> None:
    """Waits until this is so."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it does not come to be so"
        time.sleep(0.02)


def setting(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: these tests run programs in the engine (see tests/conftest.py)")
    return value


def guest(name: str) -> str:
    """The component of a guest example, in Rust."""
    return os.path.join(setting("ENGINE_GUESTS"), f"{name}.wasm")


def submit(source: str, *arguments: str, name: str = "app.py", options: tuple[str, ...] = ()) -> Ended:
    """Runs a program in an engine of its own."""
    command = [
        setting("ENGINE_BIN"),
        "submit",
        "--embedded",
        "--progress",
        "none",
        *options,
        setting("ENGINE_PYTHON_RUNNER"),
        "--",
        "--script",
        name,
        textwrap.dedent(source),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run() -> Callable[..., str]:
    """Runs a program that has to succeed, and gives what it printed."""

    def run(source: str, *arguments: str, **options: Any) -> str:
        ended = submit(source, *arguments, **options)
        assert ended.status == 0, ended.err
        return ended.out

    return run


def _pieces(value: Any) -> bytes:
    codec, data, handles = encode(value)
    assert not handles
    whole = b"".join(data) if isinstance(data, list) else bytes(data)
    return bytes([codec]) + whole


_CALL = """
import base64, sys
from engine._serialize import decode, encode

data = base64.b85decode(sys.argv[1])
function, args = decode((data[0], data[1:], ()))
codec, data, handles = encode(function(*args))
data = b"".join(data) if isinstance(data, list) else bytes(data)
print(base64.b85encode(bytes([codec]) + data).decode())
"""


@pytest.fixture(scope="session")
def send() -> Callable[..., Any]:
    """Calls a function in a sandbox, with values that travel both ways as tasks' do."""

    def send(function: Any, *args: Any) -> Any:
        text = base64.b85encode(_pieces((function, args))).decode()
        ended = submit(_CALL, text)
        assert ended.status == 0, ended.err
        data = base64.b85decode(ended.out.strip().splitlines()[-1])
        return decode((data[0], data[1:], ()))

    return send
