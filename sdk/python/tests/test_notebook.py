"""The example notebook, and what notebooks do besides: interrupts, progress."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import EXAMPLES

pytest.importorskip("engine._native", reason="the native module is not built")
nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient")
nbformat = pytest.importorskip("nbformat")


def text_of(cell: Any) -> str:
    """All that a cell has shown."""
    parts = []
    for output in cell["outputs"]:
        parts.append(output.get("text", ""))
        parts.extend(str(value) for value in output.get("data", {}).values())
        parts.extend(output.get("traceback", []))
    return "\n".join(parts)


def test_the_example_runs() -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [text_of(cell) for cell in notebook.cells if cell.cell_type == "code"]
    _, squares, greeting, totals, counter, ref, failure, slow, _ = shown
    assert "[0, 1, 4, 9, 16, 25, 36, 49]" in squares
    assert re.search(r"\(greet task-\w+\) hello from the sandbox, ada", greeting), greeting
    assert "ADA" in greeting
    assert "[0, 1, 3, 6, 10]" in totals
    assert "<b>Counter</b>" in counter and "<code>add</code>" in counter
    assert "ready <code>obj-" in ref
    assert "division by zero" in failure and "return a / b" in failure
    assert "4.0" in slow


class Kernel:
    """A notebook whose cells a test runs one by one."""

    def __init__(self) -> None:
        self.notebook = nbformat.v4.new_notebook()
        self.client = nbclient.NotebookClient(self.notebook, timeout=120, kernel_name="python3", allow_errors=True)

    def run(self, source: str) -> str:
        cell = nbformat.v4.new_code_cell(source)
        self.notebook.cells.append(cell)
        self.client.execute_cell(cell, len(self.notebook.cells) - 1)
        return text_of(cell)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    with made.client.setup_kernel():
        made.run("import engine, time\nsession = engine.init(num_cpus=2)")
        yield made
        made.run("engine.shutdown()")


def test_an_interrupt_ends_the_wait_and_cancels_what_it_waited_for(kernel: Kernel, tmp_path: Any) -> None:
    begun = tmp_path / "begun"
    pid = int(kernel.run("import os, pathlib\nprint(os.getpid())"))
    kernel.run(
        "from engine import _notebook\n"
        "show = _notebook._Progress.show\n"
        f"_notebook._Progress.show = lambda self, ready: (show(self, ready), pathlib.Path({str(begun)!r}).touch())"
    )
    kernel.run("@engine.remote\ndef forever():\n    while True:\n        pass")
    kernel.run("refs = [forever.remote(), forever.remote()]")

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.05)
        os.kill(pid, signal.SIGINT)

    stopper = threading.Thread(target=interrupt)
    stopper.start()
    shown = kernel.run("engine.get(refs)")
    stopper.join()
    assert "KeyboardInterrupt" in shown, shown
    for ref in ("refs[0]", "refs[1]"):
        said = kernel.run(
            f"try:\n    engine.get({ref}, timeout=60)\nexcept engine.exceptions.TaskCancelledError:\n    print('cancelled')"
        )
        assert "cancelled" in said, said


def test_a_wait_shows_how_far_it_is(kernel: Kernel) -> None:
    """The bar is gone when the values are there, so its steps are watched where they are made."""
    kernel.run(
        "from engine import _notebook\n"
        "steps = []\n"
        "show = _notebook._Progress.show\n"
        "_notebook._Progress.show = lambda self, ready: (steps.append(ready), show(self, ready))"
    )
    kernel.run("@engine.remote\ndef nap(seconds):\n    time.sleep(seconds)\n    return seconds")
    shown = kernel.run("print(engine.get([nap.remote(0.01), nap.remote(2.0)]), steps)")
    assert re.search(r"\[0\.01, 2\.0\] \[(0, )*1(, 1)*\]", shown), shown
    assert "<progress" not in shown
    errors = kernel.run("engine.get([nap.remote(5.0)], timeout=1.2)")
    assert "GetTimeoutError" in errors, errors
