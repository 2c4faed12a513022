"""Every example, as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from conftest import EXAMPLES

WANTED = {
    "arrays": r"\{'country': \['DK', 'NO', 'SE'\], 'total': \[124916831, 124917348, 124915821\], 'count': \[166667, 166668, 166665\]\}",
    "squares": r"\[0, 1, 4, 9\]",
    "counter": r"1\n2",
    "objects": r"4950\.0\n345\.0",
    "resources": r"\[0, 0, 1, 1, 2, 2, 3, 3\]",
    "placement": r"packed on one node",
    "batch_inference": r"10000 items in 100 batches, \d+ positive",
    "video_chain": r"30 frames; blue 25\.0 m/s, red 10\.0 m/s",
    "monte_carlo_pi": r"progress: 100%\npi is about 3\.1\d",
    "hyperparameters": r"16 trials; the best has a learning rate of \d\.\d+, loss 0\.\d+",
}


def test_all_are_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(WANTED)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_example(name: str, run: Any) -> None:
    path = EXAMPLES / f"{name}.py"
    out = run(path.read_text(), name=path.name)
    assert re.search(WANTED[name], out), out


@pytest.mark.parametrize("name", sorted(WANTED))
def test_example_from_a_client(name: str) -> None:
    pytest.importorskip("engine._native", reason="the native module is not built")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(WANTED[name], done.stdout), done.stdout


def test_the_web_application() -> None:
    pytest.importorskip("engine._native", reason="the native module is not built")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=EXAMPLES / "web",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
