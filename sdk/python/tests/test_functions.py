"""Functions and classes from this interpreter in the sandbox's, which is of another version."""

from __future__ import annotations

import collections
import enum
import functools
import math
import typing
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import pytest

from engine._serialize import Unpicklable

FACTOR = 3


def times(x: int) -> int:
    return x * FACTOR


def test_a_function_brings_the_globals_that_it_uses(send: Any) -> None:
    def use(x: int) -> int:
        return times(x) + 1

    assert send(use, 2) == 7


def test_closures_defaults_and_keyword_defaults(send: Any) -> None:
    def make(a: int) -> Any:
        def inner(b: int, c: int = 10, *, d: int = 100) -> int:
            return a + b + c + d

        return inner

    assert send(make(1), 2) == 113


def test_a_function_made_in_the_sandbox_comes_back(send: Any) -> None:
    def make(a: int) -> Any:
        def inner(b: int) -> int:
            return a * b

        return inner, lambda c: c - a

    inner, less = send(make, 6)
    assert (inner(7), less(7)) == (42, 1)


def test_lambdas_on_one_line_are_told_apart(send: Any) -> None:
    both = [lambda x: x + 1, lambda x: x + 2]
    assert [send(one, 1) for one in both] == [2, 3]


def test_a_lambda_over_several_lines(send: Any) -> None:
    make = lambda x: (  # noqa: E731
        x
        + 1
    )
    assert send(make, 1) == 2


def test_recursion_through_a_global(send: Any) -> None:
    assert send(factorial, 10) == math.factorial(10)


def factorial(n: int) -> int:
    return 1 if n < 2 else n * factorial(n - 1)


def test_text_in_several_lines_stays_as_it_is(send: Any) -> None:
    def text() -> str:
        return """a
  b
            c"""

    assert send(text) == "a\n  b\n            c"


def test_decorators_are_not_run_again(send: Any) -> None:
    calls = []

    def count(function: Any) -> Any:
        calls.append(function.__name__)
        return function

    @count
    def one() -> int:
        return 1

    assert send(one) == 1
    assert calls == ["one"]


def test_a_wrapping_decorator_travels_with_what_it_wraps(send: Any) -> None:
    def double(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return 2 * function(*args, **kwargs)

        return wrapper

    @double
    def three() -> int:
        return 3

    assert send(three) == 6


def test_generators_and_coroutines(send: Any) -> None:
    def every(n: int) -> list[int]:
        async def later(x: int) -> int:
            return x * 2

        def numbers() -> Any:
            yield from range(n)

        results = []
        for number in numbers():
            coroutine = later(number)
            try:
                coroutine.send(None)
            except StopIteration as end:
                results.append(end.value)
        return results

    assert send(every, 3) == [0, 2, 4]


def test_partials_and_bound_methods(send: Any) -> None:
    account = Account(5)
    assert send(functools.partial(account.add, 3)) == 8


class Account:
    def __init__(self, balance: int) -> None:
        self.__balance = balance

    def add(self, n: int) -> int:
        self.__balance += n
        return self.__balance

    @property
    def balance(self) -> int:
        return self.__balance

    @classmethod
    def empty(cls) -> Account:
        return cls(0)

    @staticmethod
    def fee(n: int) -> int:
        return n // 10


class Savings(Account):
    def add(self, n: int) -> int:
        return super().add(n + self.fee(n))


def test_classes_keep_private_names_properties_and_super(send: Any) -> None:
    def use(cls: Any) -> Any:
        made = cls.empty()
        made.add(100)
        return made, made.balance

    made, balance = send(use, Savings)
    assert type(made) is Savings
    assert (balance, made.balance) == (110, 110)


def test_a_class_that_comes_back_is_ones_own(send: Any) -> None:
    account = send(lambda one: one, Account(3))
    assert type(account) is Account
    assert account.add(1) == 4


@dataclass
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)

    def norm(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int = 0


@dataclass
class Child(Point):
    z: int = field(default=9, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.z += 1


def test_dataclasses_get_their_methods_again(send: Any) -> None:
    def use(point: Point) -> Any:
        other = Point(5)
        assert repr(other) == f"{Point.__qualname__}(x=5, y=2, tags=[])"
        assert other == Point(5) and other.tags is not Point(5).tags
        child = Child(1)
        assert child.z == 10 and "z" not in repr(child)
        return point.norm(), other, child

    norm, other, child = send(use, Point(1))
    assert norm == 3
    assert other == Point(5) and type(child) is Child and child.z == 10


def test_frozen_and_ordered_dataclasses(send: Any) -> None:
    def use(version: Version) -> Any:
        try:
            version.major = 3  # type: ignore[misc]
        except FrozenInstanceError:
            pass
        else:
            raise AssertionError("not frozen")
        assert {Version(1): 5}[Version(1)] == 5
        return sorted([Version(2), Version(1, 5), version])

    assert send(use, Version(1)) == [Version(1), Version(1, 5), Version(2)]


@dataclass(slots=True)
class Slotted:
    a: int
    b: int = 3


def test_dataclasses_with_slots(send: Any) -> None:
    def use(one: Slotted) -> Any:
        assert not hasattr(one, "__dict__")
        return Slotted(one.a + 1), repr(one)

    made, text = send(use, Slotted(1))
    assert type(made) is Slotted and made == Slotted(2)
    assert text == "Slotted(a=1, b=3)"


Pair = collections.namedtuple("Pair", "left right", defaults=[7])


class Row(typing.NamedTuple):
    a: int
    b: str = "b"

    def both(self) -> str:
        return f"{self.a}{self.b}"


def test_named_tuples(send: Any) -> None:
    def use(pair: Any, row: Row) -> Any:
        return pair._replace(left=5), Pair(1), row.both(), Row(4)

    pair, one, text, row = send(use, Pair(1, 2), Row(3))
    assert type(pair) is Pair and pair == (5, 2)
    assert one.right == 7 and text == "3b"
    assert type(row) is Row and row.both() == "4b"


class Color(enum.Enum):
    RED = 1
    BLUE = 2

    def shout(self) -> str:
        return self.name + "!"


class Bits(enum.IntFlag):
    A = 1
    B = 2


def test_enums(send: Any) -> None:
    def use(color: Color) -> Any:
        return color.shout(), Color.BLUE, Color(1) is color, Bits.A | Bits.B

    text, blue, is_same, bits = send(use, Color.RED)
    assert (text, is_same) == ("RED!", True)
    assert blue is Color.BLUE
    assert bits == Bits.A | Bits.B


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    __slots__ = ("side",)

    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2


def test_abstract_classes_and_slots(send: Any) -> None:
    def use(shape: Shape) -> Any:
        assert isinstance(shape, Shape)
        try:
            Shape()  # type: ignore[abstract]
        except TypeError:
            return shape.area(), Square(2)
        raise AssertionError("an abstract class has an instance")

    area, square = send(use, Square(3))
    assert area == 9
    assert type(square) is Square and square.side == 2


class Coded(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def test_exceptions_with_arguments_of_their_own(send: Any) -> None:
    error = send(lambda: Coded(4, "no"))
    assert type(error) is Coded and error.code == 4


def test_annotations_need_nothing_there(send: Any) -> None:
    class Local:
        pass

    def use(x: Local, y: int = 1) -> Local | None:
        return None

    def shown(function: Any) -> Any:
        return function.__annotations__["y"]

    assert send(shown, use) in (int, "int")


def test_typing_constructs(send: Any) -> None:
    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        def __init__(self, value: T) -> None:
            self.value = value

    box = send(lambda value: Box[int](value), 3)
    assert isinstance(box, Box) and box.value == 3


def test_modules_of_the_standard_library_go_by_name(send: Any) -> None:
    assert send(lambda: math.floor(2.5)) == 2
    assert send(collections.Counter, "abca")["a"] == 2


def test_what_exec_made_has_no_source() -> None:
    from engine._serialize import encode

    space: dict[str, Any] = {}
    exec("def secret(): return 1", space)
    with pytest.raises(Unpicklable, match="no source text of 'secret'.*Define it in a file"):
        encode(space["secret"])


def test_a_second_pickle_of_a_function_is_quick() -> None:
    import time

    from engine._serialize.source import source_of

    source_of(times.__code__)
    start = time.perf_counter()
    for _ in range(1000):
        source_of(times.__code__)
    assert (time.perf_counter() - start) / 1000 < 100e-6
