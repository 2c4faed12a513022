"""What the runner does with the calls of its host: a program, a task, an actor and its methods."""

from __future__ import annotations

import gc
import importlib
import inspect
import linecache
import os
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from componentize_py_types import Err  # type: ignore[import-not-found,unused-ignore]

from engine import _guest_limits, _guest_program, _session
from engine._actor import ActorClass
from engine._backend import CallFailed, Codec, Value
from engine._calls import unpack
from engine._function import RemoteFunction
from engine._sandbox import Sandbox, failed, lowered, owned, raised
from engine._serialize import modules, msgpack
from engine._serialize.source import forget
from engine._serialize.values import decode, encode
from engine._trouble import failure_of

_backend = Sandbox()
_session.install(_backend)


def use(backend: Sandbox) -> None:
    """Puts another backend in the place of the first."""
    global _backend
    _backend = backend
    _session.install(backend)


_FUNCTIONS_MAX = 1024
_functions: dict[Any, Any] = {}
_actor: Any = None


def prepare() -> None:
    """Once, while the component is made: every instance begins with what is here done, imported and warm."""
    _guest_limits.install()
    _guest_program.make_room()
    source = "def warm(x, *, y=1):\n    return [x * i for i in range(y)]\n"
    filename = "<warm>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), space)
    codec, data, handles = encode(space["warm"])
    forget()
    function = decode((codec, data, handles))
    codec, data, handles = encode((1, (2,), {"y": 3}, []))
    _, args, kwargs = unpack([(codec, data, handles)])
    decode(encode(function(*args, **kwargs)))
    try:
        function()
    except TypeError as error:
        failure_of(error)
    forget()
    linecache.cache.clear()
    gc.collect()
    # The collector leaves alone what is here, and with it the pages that all instances share.
    gc.freeze()


def _serving(invocation: Any, serve: Callable[[], Any]) -> Any:
    before = _backend.invocation
    _backend.invocation = invocation
    try:
        return serve()
    except Err:
        raise
    except BaseException as error:  # noqa: BLE001 - what leaves an export is a trap
        raise Err(failure_of(error)) from None
    finally:
        _backend.invocation = before
        flush()


def flush() -> None:
    """Hands on what was printed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - a program may have closed or replaced it
            pass


def run(invocation: Any, function: str, arguments: list[Any]) -> list[Any]:
    """One task."""
    return list(_serving(invocation, lambda: _run(invocation, function, arguments)))


class Called:
    """What a function gave, maybe a coroutine or a generator, and what is to be made of it."""

    __slots__ = ("is_foreign", "name", "num_returns", "result")

    def __init__(self, result: Any, num_returns: int | None, name: str, is_foreign: bool) -> None:
        self.result = result
        self.num_returns = num_returns
        """None: a stream."""
        self.name = name
        self.is_foreign = is_foreign
        """Another language calls: MessagePack goes in and out, and a generator is a stream."""

    @property
    def is_async_stream(self) -> bool:
        """Whether its items come from an async generator."""
        return inspect.isasyncgen(self.result) and (self.is_foreign or self.num_returns is None)

    @property
    def is_awaited(self) -> bool:
        """Whether the result is what a coroutine gives."""
        return inspect.iscoroutine(self.result) and (self.is_foreign or self.num_returns is not None)

    def encoded(self, item: Any) -> Value:
        """One value of it."""
        return _plain(item) if self.is_foreign else encode(item)


def _run(invocation: Any, function: str, arguments: list[Any]) -> Iterable[Any]:
    return _settled(invocation, run_called(function, arguments))


def run_called(function: str, arguments: list[Any]) -> Called:
    """Calls the function of a task."""
    if _is_foreign(arguments):
        return _foreign(_named(function), arguments, function)
    target = _shipped(arguments[0])
    num_returns, args, kwargs = unpack([raised(value) for value in arguments[1:]])
    return Called(target(*args, **kwargs), num_returns, function, False)


def _settled(invocation: Any, called: Called) -> Iterable[Any]:
    """Runs what is async to its end, and gives what the task or call returns."""
    if called.is_async_stream or called.is_awaited:
        from engine._asyncio import run as run_async

        if called.is_async_stream:

            async def every() -> None:
                async for item in called.result:
                    _emit_one(invocation, called, item)

            run_async(every())
            return ()
        called.result = run_async(called.result)
    return results(invocation, called)


def _is_foreign(arguments: list[Any]) -> bool:
    """Whether another language calls: Python begins with a packed call, or with what was shipped."""
    return not arguments or arguments[0].codec.value != Codec.PYTHON


def _foreign(target: Any, arguments: list[Any], name: str) -> Called:
    return Called(target(*(decode(raised(value)) for value in arguments)), 1, name, True)


def _plain(value: Any) -> Value:
    handles: list[Any] = []
    return Codec.MSGPACK, msgpack.dumps(value, handles), handles


def _named(name: str) -> Any:
    """The function or class that another language calls so: `module:function`, or a name of the program that the
    component was built of."""
    module, _, path = name.rpartition(":")
    if not module and _guest_program.built_in() is None:
        raise LookupError(
            f"{name!r} is no function of this component: from other languages functions are called as "
            "'module:function', or by their names in a component that was built of a program"
        )
    holder: Any = importlib.import_module(module) if module else _program_module()
    for part in path.split("."):
        if not hasattr(holder, part):
            where = f"module {module}" if module else f"program {holder.__file__}"
            raise LookupError(f"the {where} has no {path!r}")
        holder = getattr(holder, part)
    if isinstance(holder, RemoteFunction):
        return holder._function
    return holder._cls if isinstance(holder, ActorClass) else holder


_program_loaded: Any = None


def _program_module() -> Any:
    """The program's module, without running it as a program."""
    global _program_loaded
    if _program_loaded is None:
        program = _guest_program.built_in()
        assert program is not None
        if program.modules:
            modules.offer(program.modules)
        _program_loaded = _module(program.name, program.source, "__program__")
    return _program_loaded


def _module(name: str, source: str, as_name: str) -> types.ModuleType:
    """Runs the source as the module `__main__`, which calls itself so while it runs."""
    module = types.ModuleType("__main__")
    module.__file__ = name
    module.__dict__["__builtins__"] = __builtins__
    before = sys.modules.get("__main__")
    sys.modules["__main__"] = module
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module.__dict__["__name__"] = as_name
    try:
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        if as_name != "__main__" and before is not None:
            sys.modules["__main__"] = before
        raise
    module.__dict__["__name__"] = "__main__"
    return module


def _shipped(value: Any) -> Any:
    """The function or class of a value, unpickled once per interpreter."""
    key = value.bytes
    if value.handles:
        key = key, tuple(handle.value.id() for handle in value.handles)
    found = _functions.get(key)
    if found is None:
        found = decode(raised(value))
        if len(_functions) >= _FUNCTIONS_MAX:
            _functions.clear()
        _functions[key] = found
    return found


def create(invocation: Any, class_: str, arguments: list[Any]) -> None:
    """Makes the actor."""
    _serving(invocation, lambda: make_actor(class_, arguments))


def make_actor(class_: str, arguments: list[Any]) -> None:
    """Makes this instance the actor."""
    global _actor
    if _is_foreign(arguments):
        _actor = _named(class_)(*(decode(raised(value)) for value in arguments))
        return
    cls = _shipped(arguments[0])
    _, args, kwargs = unpack([raised(value) for value in arguments[1:]])
    _actor = cls(*args, **kwargs)


def call(invocation: Any, method: str, arguments: list[Any]) -> list[Any]:
    """One call of the actor."""
    return list(_serving(invocation, lambda: _call(invocation, method, arguments)))


def _call(invocation: Any, method: str, arguments: list[Any]) -> Iterable[Any]:
    return _settled(invocation, method_called(method, arguments))


def method_called(method: str, arguments: list[Any]) -> Called:
    """Calls the method of the actor."""
    if _is_foreign(arguments):
        return _foreign(_method(method), arguments, method)
    num_returns, args, kwargs = unpack([raised(value) for value in arguments])
    if method == "__ray_terminate__":
        _backend.context().actor.kill(False)
        return Called(None, num_returns, method, False)
    if method == "__ray_ready__":
        return Called(True, num_returns, method, False)
    name = f"{type(_actor).__name__}.{method}"
    return Called(_method(method)(*args, **kwargs), num_returns, name, False)


def _method(name: str) -> Any:
    target = getattr(_actor, name, None)
    if target is None:
        raise AttributeError(f"{type(_actor).__name__} has no method {name!r}")
    return target


def results(invocation: Any, called: Called) -> Iterable[Any]:
    """What a task or call returns, when nothing of it is async any more."""
    result, num_returns, name = called.result, called.num_returns, called.name
    if called.is_foreign:
        if inspect.isgenerator(result):
            _emit(invocation, called)
            return ()
        return (owned(called.encoded(result)),)
    if num_returns is None:
        if inspect.iscoroutine(result) or not hasattr(result, "__iter__"):
            raise TypeError(f"{name} streams its results, and so must be a generator; it returned a {type(result)!r}")
        _emit(invocation, called)
        return ()
    if num_returns == 1:
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise TypeError(
                f"{name} is a generator, and was called for one result: call it with "
                ".options(num_returns='streaming'), which a handle that was looked up by name needs"
            )
        return (owned(encode(result)),)
    if num_returns == 0:
        return ()
    try:
        parts = list(result)
    except TypeError:
        parts = [result]
    if len(parts) != num_returns:
        raise ValueError(f"{name} returned {len(parts)} values, and num_returns is {num_returns}")
    return [owned(encode(part)) for part in parts]


def _emit(invocation: Any, called: Called) -> None:
    for item in called.result:
        try:
            _emit_one(invocation, called, item)
        except CallFailed:
            close = getattr(called.result, "close", None)
            if close is not None:
                close()
            raise


def _emit_one(invocation: Any, called: Called, item: Any) -> None:
    try:
        invocation.emit(lowered(called.encoded(item)))
    except Err as error:
        raise failed(error.value) from None


def main(invocation: Any, arguments: list[str]) -> Any:
    """The job's program: what the component was built of, or `--script NAME SOURCE ARGS…`, or `PATH ARGS…` in a
    directory that was granted. `--module PATH SOURCE` before it, any number of times: a file of a module that the
    program imports (`shop/__init__.py`)."""
    return _serving(invocation, lambda: _main(arguments))


def _main(arguments: list[str]) -> Any:
    program, rest = _asked_for(arguments)
    if program.modules:
        modules.offer(program.modules)
    sys.argv = [program.name, *rest]
    folder = os.path.dirname(program.name)
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        _module(program.name, program.source, "__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    return owned(encode(None))


def _asked_for(arguments: list[str]) -> tuple[_guest_program.Program, list[str]]:
    """The program that is meant, and its arguments."""
    built_in = _guest_program.built_in()
    if built_in is not None:
        return built_in, arguments
    files: dict[str, bytes] = {}
    while len(arguments) >= 3 and arguments[0] == "--module":
        files[arguments[1]] = arguments[2].encode()
        arguments = arguments[3:]
    if len(arguments) >= 3 and arguments[0] == "--script":
        return _guest_program.Program(arguments[1], arguments[2], files), arguments[3:]
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("the runner's arguments are PATH ARGS…, or --script NAME SOURCE ARGS…")
    name = arguments[0]
    try:
        with open(name, encoding="utf-8") as file:
            source = file.read()
    except OSError as error:
        raise FileNotFoundError(
            f"{name} cannot be read in the sandbox ({error.strerror}): grant its folder with --dir, or pass the "
            "text with --script NAME SOURCE"
        ) from None
    return _guest_program.Program(name, source, files), arguments[1:]
