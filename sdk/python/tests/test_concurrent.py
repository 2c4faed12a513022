"""Actors whose calls interleave: async methods, and `max_concurrency` above 1."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE, submit, until

import engine
from engine.exceptions import EngineError, TaskCancelledError


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with engine.init(num_cpus=2):
        yield


@engine.remote
def add(x: int, y: int) -> int:
    return x + y


@engine.remote
def later(x: Any, seconds: float) -> Any:
    time.sleep(seconds)
    return x


@engine.remote
class Gate:
    """What Ray's users write to have calls wait for one another."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def wait(self, x: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.event.wait()
        self.inside -= 1
        return x

    def open(self) -> int:
        self.event.set()
        return self.inside

    def waiting(self) -> int:
        return self.inside

    def most_at_once(self) -> int:
        return self.most


def got(refs: Any) -> Any:
    return engine.get(refs, timeout=PATIENCE)


def test_a_call_goes_on_when_another_lets_it() -> None:
    gate = Gate.remote()
    refs = [gate.wait.remote(i) for i in range(20)]
    until(lambda: got(gate.waiting.remote()) == 20)
    assert got(gate.open.remote()) == 20
    assert got(refs) == list(range(20))


# contract: A7
def test_never_more_than_max_concurrency_are_inside() -> None:
    gate = Gate.options(max_concurrency=4, concurrency_groups={"door": 1}).remote()
    refs = [gate.wait.remote(i) for i in range(10)]
    until(lambda: got(gate.waiting.options(concurrency_group="door").remote()) == 4)
    assert got(gate.open.options(concurrency_group="door").remote()) == 4
    assert got(refs) == list(range(10))
    assert got(gate.most_at_once.remote()) <= 4


def test_max_concurrency_of_1_is_one_at_a_time() -> None:
    gate = Gate.options(max_concurrency=1).remote()
    assert got([gate.open.remote(), *(gate.wait.remote(i) for i in range(5))]) == [0, 0, 1, 2, 3, 4]
    assert got(gate.most_at_once.remote()) == 1


def test_waits_of_several_calls_go_on_side_by_side() -> None:
    @engine.remote
    class Meeting:
        def __init__(self) -> None:
            self.all_here = asyncio.Barrier(10)

        async def attend(self, i: int) -> int:
            await asyncio.sleep(0.001 * i)
            # Nobody goes on before all ten are inside.
            await self.all_here.wait()
            return i

        async def gathered(self) -> list[int]:
            return await asyncio.gather(*(self.attend(i) for i in range(10)))

    meeting = Meeting.remote()
    assert got([meeting.attend.remote(i) for i in range(50)]) == list(range(50))
    assert got(meeting.gathered.remote()) == list(range(10))


def test_references_are_awaited_and_tasks_spawned_inside() -> None:
    @engine.remote
    class Worker:
        async def sum_of(self, refs: list[Any]) -> int:
            return sum(await asyncio.gather(*refs))

        async def through_tasks(self, n: int) -> int:
            return sum(await asyncio.gather(*(add.remote(i, 1) for i in range(n))))

        async def first(self, refs: list[Any]) -> int:
            done, _ = await asyncio.wait([asyncio.ensure_future(one(ref)) for ref in refs], return_when="FIRST_COMPLETED")
            return done.pop().result()

        async def of_another(self, gate: Any) -> int:
            return await gate.wait.remote(5)

    async def one(ref: Any) -> Any:
        return await ref

    worker = Worker.remote()
    assert got(worker.sum_of.remote([add.remote(1, 1), later.remote(3, 0.1)])) == 5
    assert got([worker.through_tasks.remote(5) for _ in range(4)]) == [15] * 4
    endless = later.remote(1, 3600)
    assert got(worker.first.remote([endless, later.remote(2, 0)])) == 2
    engine.cancel(endless)
    gate = Gate.remote()
    waiting = worker.of_another.remote(gate)
    until(lambda: got(gate.waiting.remote()) == 1)
    got(gate.open.remote())
    assert got(waiting) == 5


def test_what_is_given_up_leaves_nothing_in_the_way() -> None:
    @engine.remote
    class Impatient:
        async def ask(self, refs: list[Any]) -> str:
            try:
                return str(await asyncio.wait_for(one(refs[0]), 0.05))
            except asyncio.TimeoutError:
                return "given up"

    async def one(ref: Any) -> Any:
        return await ref

    impatient = Impatient.remote()
    slow = later.remote(7, 0.5)
    assert got([impatient.ask.remote([slow]) for _ in range(10)]) == ["given up"] * 10
    assert got(slow) == 7
    assert got(impatient.ask.remote([slow])) == "7"


def test_background_tasks_outlive_the_call_that_began_them() -> None:
    @engine.remote
    class Ticker:
        def __init__(self) -> None:
            self.ticks = 0

        async def begin(self, n: int) -> None:
            self.task = asyncio.create_task(self.tick(n))

        async def tick(self, n: int) -> None:
            for _ in range(n):
                await asyncio.sleep(0.01)
                self.ticks += 1

        async def seen(self) -> int:
            return self.ticks

        async def end(self) -> int:
            await self.task
            return self.ticks

    ticker = Ticker.remote()
    got(ticker.begin.remote(5))
    until(lambda: got(ticker.seen.remote()) > 0)
    assert got(ticker.end.remote()) == 5
    # The engine knows who asks by the call that is served.


def test_a_call_that_only_yields_does_not_keep_others_from_going_on() -> None:
    @engine.remote
    class Spinner:
        def __init__(self) -> None:
            self.stop = False

        async def spin(self) -> str:
            while not self.stop:
                await asyncio.sleep(0)
            return "stopped"

        async def halt(self) -> None:
            self.stop = True

    spinner = Spinner.remote()
    ref = spinner.spin.remote()
    got(spinner.halt.remote())
    assert got(ref) == "stopped"


def test_streams_interleave() -> None:
    @engine.remote
    class Source:
        async def items(self, n: int) -> Any:
            for i in range(n):
                await asyncio.sleep(0.001)
                yield i

    source = Source.remote()
    streams = [source.items.options(unread_objects_max=2).remote(5) for _ in range(3)]
    # The last first: those before it stand still at their bound meanwhile.
    for stream in reversed(streams):
        assert [got(ref) for ref in stream] == [0, 1, 2, 3, 4]


def test_failures_are_of_their_call_alone() -> None:
    @engine.remote
    class Fragile:
        async def fail(self, i: int) -> int:
            await asyncio.sleep(0.01)
            if i % 2:
                raise ValueError(f"odd: {i}")
            return i

    fragile = Fragile.remote()
    refs = [fragile.fail.remote(i) for i in range(6)]
    for i, ref in enumerate(refs):
        if i % 2:
            with pytest.raises(ValueError, match=f"odd: {i}") as failed:
                got(ref)
            assert "in fail" in str(failed.value) and "_guest" not in str(failed.value)
        else:
            assert got(ref) == i


def test_a_cancelled_call_sees_it_at_its_next_step() -> None:
    @engine.remote
    class Patient:
        def __init__(self) -> None:
            self.steps = 0
            self.cleaned = False

        async def work(self) -> None:
            try:
                while True:
                    self.steps += 1
                    await asyncio.sleep(0.01)
            finally:
                self.cleaned = True

        async def state(self) -> tuple[bool, bool]:
            return self.steps > 0, self.cleaned

    patient = Patient.remote()
    ref = patient.work.remote()
    until(lambda: got(patient.state.remote())[0])
    engine.cancel(ref)
    until(lambda: got(patient.state.remote())[1])
    with pytest.raises(TaskCancelledError):
        got(ref)


def test_each_call_knows_who_it_is() -> None:
    @engine.remote
    class Who:
        async def task(self) -> tuple[str | None, str | None]:
            before = engine.get_runtime_context().task_id
            await asyncio.sleep(0.01)
            return before, engine.get_runtime_context().task_id

    who = Who.remote()
    seen = got([who.task.remote() for _ in range(5)])
    assert all(before == after for before, after in seen)
    assert len({before for before, _ in seen}) == 5


def test_what_is_printed_comes_with_its_call(capsys: pytest.CaptureFixture[str]) -> None:
    @engine.remote
    class Speaker:
        async def say(self, text: str) -> None:
            for _ in range(5):
                print(text)
                await asyncio.sleep(0.005)

    speaker = Speaker.remote()
    said: dict[str, list[str]] = {}

    def all_said() -> bool:
        for line in capsys.readouterr().out.splitlines():
            who, text = line.split(") ")
            said.setdefault(who, []).append(text)
        return sum(map(len, said.values())) == 15

    got([speaker.say.remote(text) for text in ("one", "two", "three")])
    until(all_said)
    assert sorted(said.values()) == [["one"] * 5, ["three"] * 5, ["two"] * 5], said


def test_a_job_with_one_form_of_the_runner_has_one_call_at_a_time() -> None:
    program = """
        import engine

        @engine.remote
        class A:
            async def f(self):
                return 1

        print(engine.get(A.remote().f.remote()))
        try:
            A.options(max_concurrency=2).remote()
        except engine.exceptions.EngineError as error:
            print(error.code)
    """
    done = submit(program)
    assert (done.status, done.out) == (0, "1\nNOT_FOUND\n"), done.err


def test_asyncio_run_inside_says_why_not() -> None:
    @engine.remote
    class Nested:
        async def nested(self) -> Any:
            return asyncio.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="running event loop"):
        got(Nested.remote().nested.remote())


def test_a_crowd() -> None:
    gate = Gate.remote()
    refs = [gate.wait.remote(i) for i in range(500)]
    until(lambda: got(gate.waiting.remote()) == 500)
    got(gate.open.remote())
    assert got(refs) == list(range(500))


def test_bad_options_are_refused() -> None:
    with pytest.raises(EngineError, match="concurrency_groups\\['io'\\]"):
        Gate.options(concurrency_groups={"io": 0})
    with pytest.raises(EngineError, match="no concurrency group"):
        got(Gate.remote().waiting.options(concurrency_group="nowhere").remote())
