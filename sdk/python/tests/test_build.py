"""`engine build app.py`: a component of a program, run, and called by name from Rust and from Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import guest, setting

import engine
from engine import cross_language

APP = '''"""A shop."""
import sys

import engine
import prices


@engine.remote
def total(a, b):
    return prices.add(a, b)


@engine.remote
class Till:
    def __init__(self, start):
        self.sum = start

    def add(self, n):
        self.sum = prices.add(self.sum, n)
        return self.sum

    def up_to(self, n):
        yield from range(n)


def weighed(item):
    if not item:
        raise ValueError("nothing to weigh")
    return {"name": item["name"], "grams": engine.get(total.remote(item["grams"], 5))}


if __name__ == "__main__":
    till = Till.remote(int(sys.argv[1]))
    print(__file__, engine.get([total.remote(1, 2), till.add.remote(4), till.add.remote(5)]))
'''


def built(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [setting("ENGINE_BIN"), "build", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: Any) -> Path:
    """The component; the same bytes in each run, so that it is compiled once."""
    folder: Path = tmp_path_factory.mktemp("build")
    (folder / "app.py").write_text(APP)
    (folder / "prices.py").write_text("def add(a, b):\n    return a + b\n")
    done = built(folder, "app.py")
    assert done.returncode == 0, done.stderr
    assert "run it with `engine submit app.wasm`" in done.stderr
    return folder / "app.wasm"


def submit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [setting("ENGINE_BIN"), "submit", "--embedded", "--progress", "none", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_it_runs_as_a_program_with_the_modules_beside_it(app: Path) -> None:
    done = submit(str(app), "--", "10")
    assert (done.returncode, done.stdout) == (0, "app.py [3, 14, 19]\n"), done.stderr


def test_a_rust_component_calls_its_functions_by_name(app: Path) -> None:
    shop = ["--with", f"shop={app}", "--task-memory", "128MiB"]
    done = submit(guest("selftest"), *shop, "--", "plain", "shop", "total", "40", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == '{"value":42}'


@pytest.fixture
def shop(app: Path) -> Iterator[None]:
    with engine.init(num_cpus=2, components={"shop": str(app)}):
        yield


def test_a_client_calls_its_functions_and_actors_by_name(shop: None) -> None:
    weighed = cross_language.function("shop", "weighed", memory="128MiB")
    assert engine.get(weighed.remote({"name": "salt", "grams": 495})) == {"name": "salt", "grams": 500}
    with pytest.raises(engine.exceptions.TaskError, match="nothing to weigh") as failed:
        engine.get(weighed.remote(None))
    assert 'File "app.py", line 28, in weighed' in str(failed.value)

    till = cross_language.actor_class("shop", "Till", memory="128MiB").remote(100)
    assert engine.get([till.add.remote(1), till.add.remote(2)]) == [101, 103]
    stream = till.up_to.options(num_returns="streaming").remote(3)
    assert [engine.get(item) for item in stream] == [0, 1, 2]

    unknown = cross_language.function("shop", "missing", memory="128MiB")
    with pytest.raises(engine.exceptions.TaskError, match="the program app.py has no 'missing'"):
        engine.get(unknown.remote())


def test_what_cannot_be_built_is_said(app: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print(1)\n")
    for arguments, said in (
        (["nowhere.py"], "cannot read nowhere.py"),
        (["app.py", "--keep-debug"], "--profile and --keep-debug are for crates"),
    ):
        done = built(tmp_path, *arguments)
        assert done.returncode == 2 and said in done.stderr
    # What was built of a program has no room for another.
    done = built(tmp_path, "app.py", ENGINE_PYTHON_RUNNER=str(app))
    assert done.returncode == 2 and "has no room for a program" in done.stderr
    (tmp_path / "app.py").write_text("# " + os.urandom(600_000).hex() + "\n")
    done = built(tmp_path, "app.py")
    assert done.returncode == 2 and "program_room_bytes" in done.stderr
