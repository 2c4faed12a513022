"""Whole programs in the engine: tasks, actors, streams, errors, as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import submit


def test_tasks_spawn_tasks(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        def fib(n):
            return n if n < 2 else sum(engine.get([fib.remote(n - 1), fib.remote(n - 2)]))

        print(engine.get(fib.remote(7)))
    """)
    assert out == "13\n"


# contract: O3
def test_references_in_arguments_are_values_and_in_values_references(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        def look(value, inside, *, named):
            return value, type(inside[0]).__name__, engine.get(inside[0]), named

        ref = engine.put([1, 2])
        print(engine.get(look.remote(ref, [ref], named=ref)))
    """)
    assert out == "([1, 2], 'ObjectRef', [1, 2], [1, 2])\n"


# contract: O1
def test_get_keeps_order_and_takes_duplicates(run: Any) -> None:
    out = run("""
        import engine
        a, b = engine.put(1), engine.put(2)
        print(engine.get([b, a, b]), engine.get([]))

        @engine.remote
        def endless():
            while True:
                pass

        ref = endless.remote()
        for timeout in (0, 0.01):
            try:
                engine.get(ref, timeout=timeout)
            except engine.exceptions.GetTimeoutError as error:
                print(isinstance(error, TimeoutError), error.code)
        engine.cancel(ref)
        try:
            engine.get(ref)
        except engine.exceptions.TaskCancelledError as error:
            print(error.code)
    """)
    assert out == "[2, 1, 2] []\nTrue GET_TIMEOUT\nTrue GET_TIMEOUT\nTASK_CANCELLED\n"


# contract: O2
def test_wait(run: Any) -> None:
    out = run("""
        import engine
        refs = [engine.put(i) for i in range(3)]
        done, rest = engine.wait(refs, num_returns=2)
        print(len(done), len(rest), engine.wait([]))
        for bad in ([refs[0], refs[0]], refs[0], [1]):
            try:
                engine.wait(bad)
            except (TypeError, ValueError) as error:
                print(type(error).__name__)
    """)
    assert out == "2 1 ([], [])\nInvalidArgumentError\nTypeError\nTypeError\n"


# contract: T6
def test_an_error_comes_through_a_chain_as_what_it_was(run: Any) -> None:
    out = run("""
        import engine

        class OutOfPaper(Exception):
            def __init__(self, tray, sheets):
                super().__init__(tray, sheets)
                self.tray = tray

        @engine.remote
        def fails(tray):
            raise OutOfPaper(tray, 0)

        @engine.remote
        def passes_on(tray):
            return engine.get(fails.remote(tray))

        try:
            engine.get(passes_on.remote("a4"))
        except OutOfPaper as error:
            print(error.tray, isinstance(error, engine.exceptions.RayTaskError), error.kind)
            print([step.function for step in error.path])
            print(error)
    """)
    assert out.startswith("a4 True OutOfPaper\n['fails', 'passes_on']\n")
    assert "line 11, in fails\n    raise OutOfPaper(tray, 0)" in out


def test_an_exception_that_cannot_be_rebuilt_is_told_all_the_same(run: Any) -> None:
    out = run("""
        import engine, threading

        class Stubborn(Exception):
            def __init__(self):
                super().__init__("stubborn")
                self.lock = threading.Lock()

        class Picky(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} {b}")

        @engine.remote
        def fails(which):
            raise Stubborn() if which else Picky(1, 2)

        for which in (0, 1):
            try:
                engine.get(fails.remote(which))
            except engine.exceptions.TaskError as error:
                print(error.kind, "|", str(error).splitlines()[0])
    """)
    assert "Picky | Picky: 1 2 (the exception itself could not be rebuilt here:" in out
    assert "Stubborn | Stubborn: stubborn\n" in out


def test_arguments_are_checked_when_the_call_is_made(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        def f(a, b=1, *, c):
            pass

        @engine.remote
        class A:
            def __init__(self, x): ...
            def m(self, y): ...

        a = A.remote(1)
        for call in (
            lambda: f.remote(),
            lambda: f.remote(1, 2, 3, c=4),
            lambda: f.remote(1),
            lambda: f.remote(1, c=1, d=2),
            lambda: f.remote(1, a=1, c=1),
            lambda: A.remote(),
            lambda: a.m.remote(),
            lambda: f(1, c=2),
            lambda: a.m(1),
        ):
            try:
                call()
            except TypeError as error:
                print(error)
    """)
    assert out.splitlines() == [
        "f() is missing 2 arguments: 'a', 'c'",
        "f() takes 2 positional arguments but 3 were given",
        "f() is missing 1 argument: 'c'",
        "f() got an unexpected keyword argument 'd'",
        "f() got multiple values for argument 'a'",
        "A() is missing 1 argument: 'x'",
        "A.m() is missing 1 argument: 'y'",
        "f is a remote function: call f.remote(...), or f.local(...) to run it here and now",
        "m is a method of an actor: call m.remote(...)",
    ]


# contract: T8
def test_a_stream_that_fails_in_the_middle(run: Any) -> None:
    out = run("""
        import asyncio, engine

        @engine.remote
        def numbers(n):
            for i in range(n):
                if i == 2:
                    raise ValueError("two")
                yield i

        stream = numbers.remote(4)
        got = []
        try:
            for ref in stream:
                got.append(engine.get(ref))
        except ValueError as error:
            print(got, error.kind, next(stream, "ended"))

        @engine.remote
        class Source:
            async def items(self, n):
                for i in range(n):
                    await asyncio.sleep(0)
                    yield i

        async def read():
            return [await ref async for ref in Source.remote().items.remote(3)]

        print(asyncio.run(read()))
    """)
    assert out == "[0, 1] ValueError ended\n[0, 1, 2]\n"


def test_several_results(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote(num_returns=2)
        def two(n):
            return list(range(n))

        a, b = two.remote(2)
        print(engine.get([a, b]), two.options(num_returns=0).remote(0))
        try:
            engine.get(two.remote(3))
        except ValueError as error:
            print(error.message)
    """)
    assert out == "[0, 1] None\ntwo returned 3 values, and num_returns is 2\n"


def test_actors_with_names_and_handles(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        class Counter:
            def __init__(self, start=0):
                self.n = start
            def add(self, k=1):
                self.n += k
                return self.n

        counter = Counter.options(name="hits").remote(5)

        @engine.remote
        def use(handle):
            return engine.get(handle.add.remote()), engine.get(engine.get_actor("hits").add.remote(k=10))

        print(engine.get(use.remote(counter)))
        again = Counter.options(name="hits", get_if_exists=True).remote()
        print(engine.get(again.add.remote()), again == counter)
        for call in (lambda: engine.get(Counter.options(name="hits").remote().add.remote()), lambda: engine.get_actor("x")):
            try:
                call()
            except ValueError as error:
                print(error.code)
        engine.kill(counter)
        try:
            engine.get(counter.add.remote())
        except engine.exceptions.RayActorError as error:
            print(error.code)
    """)
    assert out == "(6, 16)\n17 True\nALREADY_EXISTS\nNOT_FOUND\nACTOR_DIED\n"


def test_an_actor_whose_constructor_fails(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        class Broken:
            def __init__(self):
                raise ValueError("no")
            def m(self): ...

        try:
            engine.get(Broken.remote().m.remote())
        except engine.exceptions.ActorDiedError as error:
            print(error.code, "no" in str(error))
    """)
    assert out == "ACTOR_DIED True\n"


def test_async_code(run: Any) -> None:
    out = run("""
        import asyncio, engine, time

        @engine.remote
        def slow(x):
            time.sleep(0.01 * x)
            return x

        @engine.remote
        class Worker:
            async def both(self, refs):
                return await asyncio.gather(*refs)

        async def main():
            first = await slow.remote(1)
            done, _ = await asyncio.wait([asyncio.ensure_future(wrap(i)) for i in (3, 0)])
            return first, sorted(task.result() for task in done), await asyncio.wait_for(wrap(1), 5)

        async def wrap(i):
            return await slow.remote(i)

        print(asyncio.run(main()), engine.get(Worker.remote().both.remote([slow.remote(1), slow.remote(2)])))
    """)
    assert out == "(1, [0, 3], 1) [1, 2]\n"


# contract: T3
def test_warm_and_fresh_interpreters(run: Any) -> None:
    out = run("""
        import engine

        seen = []

        @engine.remote
        def look():
            seen.append(1)
            return len(seen)

        print(max(engine.get([look.remote() for _ in range(20)])) > 1)
        print(set(engine.get([look.options(isolation="task").remote() for _ in range(5)])))
    """)
    assert out == "True\n{1}\n"


def test_what_a_sandbox_has_not_is_said_with_what_to_do(run: Any) -> None:
    out = run("""
        import engine, sys

        def numpy(): import numpy
        def unknown(): import no_such_module
        def thread():
            import threading
            threading.Thread(target=print).start()
        def pool():
            from concurrent.futures import ThreadPoolExecutor
            ThreadPoolExecutor().submit(print)
        def network():
            import socket
            socket.create_connection(("192.0.2.1", 80))
        def process():
            import subprocess
            subprocess.run(["true"])
        def foreign(): import ctypes
        def leave(): sys.exit(3)
        def leave_now():
            import os
            os._exit(3)
        def deep(n=0): return deep_inner(n)
        def lock():
            import threading
            return {"a": [threading.Lock()]}

        def deep_inner(n):
            return deep_inner(n + 1) + 1

        for f in (numpy, unknown, thread, pool, network, process, foreign, leave, leave_now, deep, lock):
            try:
                engine.get(engine.remote(f).remote())
            except engine.exceptions.TaskError as error:
                print(f.__name__, "|", error.kind, "|", error.message)

        @engine.remote
        def fine():
            return "fine"
        print(engine.get(fine.remote()))
    """)
    said = dict(line.split(" | ", 1) for line in out.splitlines() if " | " in line)
    assert "numpy is not available in a sandbox" in said["numpy"]
    assert "py_modules" in said["unknown"]
    for name in ("thread", "pool"):
        assert "a sandbox has no threads: spawn tasks" in said[name]
    assert "no network: fetch what is needed on the client" in said["network"]
    assert "cannot start processes: spawn tasks" in said["process"]
    assert "write a Rust component" in said["foreign"]
    assert "SystemExit | the code called sys.exit(3)" in said["leave"]
    assert "SystemExit | the code called sys.exit(3)" in said["leave_now"]
    assert "calls itself without end" in said["deep"]
    assert "value['a'][0] cannot travel (it is a _thread.lock)" in said["lock"]
    assert out.endswith("fine\n")


# contract: L3
def test_results_that_are_too_large_are_refused_with_their_limit(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote
        def large(n):
            return bytes(n)

        @engine.remote
        def many(n):
            for _ in range(3):
                yield bytes(n)

        def why(f):
            try:
                f()
            except engine.exceptions.EngineError as error:
                print(error.code, "`memory`" in str(error), "value_bytes_max" in str(error))

        why(lambda: engine.get(large.remote(1 << 30)))
        why(lambda: engine.get(large.options(memory=3 << 30).remote((1 << 30) + 1)))
        why(lambda: [engine.get(ref) for ref in many.remote(80 << 20)])
        print(len(engine.get(large.remote(1 << 20))))
    """)
    assert out == "OUT_OF_MEMORY True False\nLIMIT_EXCEEDED False True\nOUT_OF_MEMORY True False\n1048576\n"


def test_the_readmes_program(run: Any) -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    [program] = [block.split("```")[0] for block in readme.split("```python\n")[1:] if "def square" in block]
    assert run(program, name="squares.py") == "285\n"


def test_prints_come_out_and_are_marked(run: Any) -> None:
    ended = submit("""
        import engine, logging, sys, warnings

        @engine.remote
        def talk():
            print("to out")
            print("to err", file=sys.stderr)
            logging.warning("logged")

        print("from main")
        engine.get(talk.remote())
    """)
    assert ended.status == 0
    assert "from main\n" in ended.out and "(talk task-" in ended.out and "to out" in ended.out
    assert "to err" in ended.err and "logged" in ended.err


def test_how_a_program_ends(run: Any) -> None:
    assert submit("import sys; sys.exit()").status == 0
    failed = submit("import sys; sys.exit(2)")
    assert failed.status == 1 and "sys.exit(2)" in failed.err
    failed = submit("def f():\n    1 / 0\nf()")
    assert failed.status == 1
    assert 'File "app.py", line 2, in f' in failed.err and "ZeroDivisionError: division by zero" in failed.err
    failed = submit("def f(:")
    assert failed.status == 1 and "SyntaxError" in failed.err
    assert run("import sys; print(sys.argv, __name__)", "a", "b") == "['app.py', 'a', 'b'] __main__\n"


def test_options_are_checked_where_they_are_written(run: Any) -> None:
    out = run("""
        import engine
        from datetime import timedelta

        def f(): ...
        for options in (
            dict(num_cpu=1), dict(num_cpus=-1), dict(num_cpus="1"), dict(num_cpus=1, cpus=2), dict(memory="1 parsec"),
            dict(resources={"CPU": 1}), dict(num_returns=-1), dict(isolation="none"), dict(scheduling_strategy="x"),
            dict(runtime_env={"conda": 1}), dict(retry_exceptions=[1]), dict(deadline=-1),
        ):
            try:
                engine.remote(**options)(f)
            except ValueError as error:
                print(error.code)
            else:
                print(options)
        good = engine.remote(num_cpus=0.5, memory="64MiB", deadline=timedelta(seconds=5), max_retries=-1)(f)
        print(engine.get(good.remote()))
    """)
    assert out == "INVALID_ARGUMENT\n" * 12 + "None\n"


def test_limits_end_a_task_by_name(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote(memory="64MiB")
        def hoard():
            return len(bytes(200 << 20))

        @engine.remote(cpu_time=0.05)
        def burn():
            while True: pass

        @engine.remote(deadline=0.1)
        def late():
            while True: pass

        for f in (hoard, burn, late):
            try:
                engine.get(f.remote())
            except engine.exceptions.EngineError as error:
                print(error.code)
    """)
    assert out == "OUT_OF_MEMORY\nDEADLINE_EXCEEDED\nDEADLINE_EXCEEDED\n"


def test_retries(run: Any) -> None:
    out = run("""
        import engine

        class Flaky(Exception):
            pass

        class Worse(Flaky):
            pass

        @engine.remote(max_retries=3, retry_exceptions=[Flaky])
        def sometimes(which):
            attempt = engine.get_runtime_context().get_attempt()
            if attempt < 2:
                raise {"flaky": Flaky, "worse": Worse, "other": KeyError}[which](attempt)
            return attempt

        print(engine.get([sometimes.remote("flaky"), sometimes.remote("worse")]))
        try:
            engine.get(sometimes.remote("other"))
        except KeyError as error:
            print("once", error.path[0].attempt)
    """)
    assert out == "[2, 2]\nonce 0\n"


def test_util(run: Any) -> None:
    out = run("""
        import engine
        from engine.dag import InputNode, MultiOutputNode
        from engine.util import ActorPool
        from engine.util.executor import Executor
        from engine.util.multiprocessing import Pool
        from engine.util.queue import Empty, Full, Queue

        @engine.remote
        class Worker:
            def double(self, x):
                return 2 * x

        pool = ActorPool([Worker.remote() for _ in range(2)])
        print(list(pool.map(lambda actor, x: actor.double.remote(x), range(5))))
        print(sorted(pool.map_unordered(lambda actor, x: actor.double.remote(x), range(5))))

        queue = Queue(maxsize=2)

        @engine.remote
        def produce(queue, n):
            for i in range(n):
                queue.put(i)

        produce.remote(queue, 4)
        print([queue.get(timeout=10) for _ in range(4)])
        for call, error in ((queue.get_nowait, Empty), (lambda: queue.put_nowait_batch([1, 2, 3]), Full)):
            try:
                call()
            except error:
                print(error.__name__)

        with Pool() as pool:
            print(pool.map(lambda x: x * x, range(5)), pool.starmap(pow, [(2, 3)]), pool.apply(max, (3, 4)))
            print(list(pool.imap(abs, [-1, 3])), sorted(pool.imap_unordered(abs, [-1, -2])))
        with Executor() as executor:
            print([future.result() for future in [executor.submit(pow, i, 2) for i in range(3)]])

        @engine.remote
        def add(a, b):
            return a + b

        with InputNode() as x:
            twice = add.bind(x, x)
            graph = MultiOutputNode([add.bind(twice, 1), Worker.bind().double.bind(twice)])
        print(engine.get(graph.execute(3)))
    """)
    assert out.splitlines() == [
        "[0, 2, 4, 6, 8]",
        "[0, 2, 4, 6, 8]",
        "[0, 1, 2, 3]",
        "Empty",
        "Full",
        "[0, 1, 4, 9, 16] [8] 4",
        "[1, 3] [1, 2]",
        "[0, 1, 4]",
        "[7, 12]",
    ]


def test_functions_are_called_from_other_languages_by_name(run: Any) -> None:
    out = run("""
        import engine

        def foreign(name):
            return engine.cross_language.function(None, name, memory="128MiB")

        print(engine.get(foreign("math:gcd").remote(4, 6)), engine.get(foreign("json:loads").remote('{"a": [1.5]}')))
        for name, args in (("math:gcd", ["x"]), ("gcd", [1]), ("no_module:f", [1])):
            try:
                engine.get(foreign(name).remote(*args))
            except engine.exceptions.TaskError as error:
                print(error.kind)
        try:
            foreign("math:gcd").remote({1})
        except TypeError as error:
            print(str(error)[:43])
    """)
    assert out.splitlines() == [
        "2 {'a': [1.5]}",
        "TypeError",
        "LookupError",
        "ModuleNotFoundError",
        "a set cannot be passed to another language:",
    ]


def test_an_error_of_the_engine_is_passed_on_as_it_is(run: Any) -> None:
    out = run("""
        import engine

        @engine.remote(memory="64MiB")
        def hoard():
            return len(bytes(200 << 20))

        @engine.remote
        def passes_on():
            return engine.get(hoard.remote())

        try:
            engine.get(passes_on.remote())
        except engine.exceptions.OutOfMemoryError as error:
            print(error.code, [step.function for step in error.path])
    """)
    assert out == "OUT_OF_MEMORY ['hoard', 'passes_on']\n"


def test_modules_that_come_with_the_program() -> None:
    import subprocess

    from conftest import setting

    program = (
        "import engine, shop\n@engine.remote\ndef f(n): return shop.price(n)\n"
        "print(shop.price(1), engine.get(f.remote(2)), shop.__file__)"
    )
    command = [setting("ENGINE_BIN"), "submit", "--embedded", "--progress", "none"]
    command += [setting("ENGINE_PYTHON_RUNNER"), "--", "--module", "shop/__init__.py", "from .prices import price"]
    command += ["--module", "shop/prices.py", "import taxes\ndef price(n): return taxes.add(n)"]
    command += ["--module", "taxes.py", "def add(n): return 2 * n", "--script", "app.py", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "2 4 <brought>/shop/__init__.py\n"), done.stderr


def test_local_modules_are_brought_along(tmp_path: Any) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("from shop.prices import price\n")
    (tmp_path / "shop" / "prices.py").write_text(
        "import taxes\nclass Empty(Exception): pass\ndef price(n):\n    if not n: raise Empty('none')\n"
        "    return taxes.add(n)\n"
    )
    (tmp_path / "taxes.py").write_text("RATE = 2\ndef add(n): return n * RATE\n")
    (tmp_path / "app.py").write_text(
        "import engine, shop\n"
        "@engine.remote\n"
        "def by_name(n): return shop.price(n)\n"
        "@engine.remote\n"
        "def inside(n):\n"
        "    from shop import prices\n"
        "    return prices.price(n)\n"
        "print(engine.get([by_name.remote(1), inside.remote(2)]))\n"
        "try: engine.get(by_name.remote(0))\n"
        "except Exception as error: print(error.kind, 'raise Empty' in str(error))\n"
    )
    import subprocess

    from conftest import setting

    done = subprocess.run(
        [
            setting("ENGINE_BIN"),
            "submit",
            "--embedded",
            "--progress",
            "none",
            "--dir",
            f"{tmp_path}::/app:ro",
            setting("ENGINE_PYTHON_RUNNER"),
            "--",
            "/app/app.py",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2, 4]\nEmpty True\n"
