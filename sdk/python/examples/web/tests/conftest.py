"""One engine for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(scope="session")
def session() -> Iterator[None]:
    import engine

    with engine.init(num_cpus=2):
        yield
