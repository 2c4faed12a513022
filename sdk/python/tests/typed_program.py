"""What type checkers make of the package: `mypy --strict` has nothing to say here. (It passes over class decorators,
so a typed program makes its remote class by a call.)"""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import assert_type

import engine


@engine.remote
def square(x: int) -> int:
    return x * x


@engine.remote(num_cpus=0.5, deadline=10)
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@engine.remote(num_returns=2)
def two() -> tuple[int, int]:
    return 1, 2


@engine.remote
async def text(x: int) -> str:
    return str(x)


class Counter:
    def __init__(self) -> None:
        self.n = 0

    def add(self, k: int) -> int:
        self.n += k
        return self.n


CounterActor = engine.remote(Counter)


def program() -> None:
    ref = square.remote(3)
    assert_type(ref, engine.ObjectRef[int])
    assert_type(engine.get(ref), int)
    assert_type(engine.get([ref, ref]), list[int])
    assert_type(engine.get(square.options(num_cpus=2).remote(3)), int)
    assert_type(engine.get(text.remote(3)), str)
    for item in numbers.remote(3):
        assert_type(item, engine.ObjectRef[int])
    a, b = two.remote()
    print(engine.get([a, b]))
    assert_type(engine.put([1.5]), engine.ObjectRef[list[float]])
    counter = CounterActor.remote()
    assert_type(counter, engine.ActorHandle)
    print(engine.get(counter.add.remote(3)))
    assert_type(square.local(3), int)


async def waits() -> None:
    assert_type(await square.remote(3), int)
