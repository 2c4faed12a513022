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

from engine import _guest_limits, _session
from engine._backend import Codec
from engine._calls import unpack
from engine._sandbox import Sandbox, lowered, owned, raised
from engine._serialize import modules, msgpack
from engine._serialize.source import forget
from engine._serialize.values import decode, encode
from engine._trouble import failure_of

_backend = Sandbox()
_session.install(_backend)

_FUNCTIONS_MAX = 1024
_functions: dict[Any, Any] = {}
_actor: Any = None


def prepare() -> None:
    """Once, while the component is made: every instance begins with what is here done, imported and warm."""
    _guest_limits.install()
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
        _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - a program may have closed or replaced it
            pass


def run(invocation: Any, function: str, arguments: list[Any]) -> list[Any]:
    """One task."""
    return list(_serving(invocation, lambda: _run(invocation, function, arguments)))


def _run(invocation: Any, function: str, arguments: list[Any]) -> Iterable[Any]:
    if not arguments or arguments[0].codec.value != Codec.PYTHON:
        return _foreign(function, arguments)
    target = _shipped(arguments[0])
    num_returns, args, kwargs = unpack([raised(value) for value in arguments[1:]])
    return _results(invocation, target(*args, **kwargs), num_returns, function)


def _foreign(function: str, arguments: list[Any]) -> Iterable[Any]:
    """A call from another language: `module:function`, or a function of the program that the component was built
    with. MessagePack goes in and out."""
    module, _, name = function.rpartition(":")
    if not module and _program is None:
        raise LookupError(
            f"{function!r} is no function of this component: from other languages functions are called as "
            "'module:function', or by their names in a component that was built of a program"
        )
    holder: Any = importlib.import_module(module) if module else _program_module()
    for part in name.split("."):
        holder = getattr(holder, part)
    target = getattr(holder, "_function", holder)
    result = target(*(decode(raised(value)) for value in arguments))
    if inspect.iscoroutine(result):
        from engine._asyncio import run as run_async

        result = run_async(result)
    handles: list[Any] = []
    data = msgpack.dumps(result, handles)
    return (owned((Codec.MSGPACK, data, handles)),)


_program: tuple[str, str] | None = None
_program_loaded: Any = None


def built_with(name: str, source: str) -> None:
    """While the component is made: the program that it is."""
    global _program
    _program = name, source


def _program_module() -> Any:
    """The program's module, without running it as a program."""
    global _program_loaded
    if _program_loaded is None:
        assert _program is not None
        name, source = _program
        module = types.ModuleType("__main__")
        module.__file__ = name
        sys.modules["__main__"] = module
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        module.__dict__["__name__"] = "__program__"
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
        module.__dict__["__name__"] = "__main__"
        _program_loaded = module
    return _program_loaded


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
    _serving(invocation, lambda: _create(arguments))


def _create(arguments: list[Any]) -> None:
    global _actor
    cls = _shipped(arguments[0])
    _, args, kwargs = unpack([raised(value) for value in arguments[1:]])
    _actor = cls(*args, **kwargs)


def call(invocation: Any, method: str, arguments: list[Any]) -> list[Any]:
    """One call of the actor."""
    return list(_serving(invocation, lambda: _call(invocation, method, arguments)))


def _call(invocation: Any, method: str, arguments: list[Any]) -> Iterable[Any]:
    num_returns, args, kwargs = unpack([raised(value) for value in arguments])
    if method == "__ray_terminate__":
        _backend.context().actor.kill(False)
        return _results(invocation, None, num_returns, method)
    if method == "__ray_ready__":
        return _results(invocation, True, num_returns, method)
    target = getattr(_actor, method, None)
    if target is None:
        raise AttributeError(f"{type(_actor).__name__} has no method {method!r}")
    name = f"{type(_actor).__name__}.{method}"
    return _results(invocation, target(*args, **kwargs), num_returns, name)


def _results(invocation: Any, result: Any, num_returns: int | None, name: str) -> Iterable[Any]:
    if num_returns is None:
        _emit(invocation, result, name)
        return ()
    if inspect.iscoroutine(result):
        from engine._asyncio import run as run_async

        result = run_async(result)
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


def _emit(invocation: Any, result: Any, name: str) -> None:
    if inspect.isasyncgen(result):
        from engine._asyncio import run as run_async

        async def every() -> None:
            async for item in result:
                invocation.emit(lowered(encode(item)))

        run_async(every())
        return
    if inspect.iscoroutine(result) or not hasattr(result, "__iter__"):
        raise TypeError(f"{name} streams its results, and so must be a generator; it returned a {type(result)!r}")
    for item in result:
        try:
            invocation.emit(lowered(encode(item)))
        except Err as error:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            from engine._sandbox import failed

            raise failed(error.value) from None


def main(invocation: Any, arguments: list[str]) -> Any:
    """The job's program: what the component was built with, or `--script NAME SOURCE ARGS…`, or `PATH ARGS…` in a
    directory that was granted. `--module PATH SOURCE` before it, any number of times: a file of a module that the
    program imports (`shop/__init__.py`)."""
    return _serving(invocation, lambda: owned(encode(_main(arguments))))


def _main(arguments: list[str]) -> Any:
    files: dict[str, bytes] = {}
    while len(arguments) >= 3 and arguments[0] == "--module":
        files[arguments[1]] = arguments[2].encode()
        arguments = arguments[3:]
    if files:
        modules.offer(files)
    if _program is not None:
        (name, source), rest = _program, arguments
    elif len(arguments) >= 3 and arguments[0] == "--script":
        name, source, rest = arguments[1], arguments[2], arguments[3:]
    elif arguments and not arguments[0].startswith("-"):
        name, rest = arguments[0], arguments[1:]
        try:
            with open(name, encoding="utf-8") as file:
                source = file.read()
        except OSError as error:
            raise FileNotFoundError(
                f"{name} cannot be read in the sandbox ({error.strerror}): grant its folder with --dir, or pass the "
                "text with --script NAME SOURCE"
            ) from None
    else:
        raise ValueError("the runner's arguments are PATH ARGS…, or --script NAME SOURCE ARGS…")
    module = types.ModuleType("__main__")
    module.__file__ = name
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [name, *rest]
    folder = os.path.dirname(name)
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    code = compile(source, name, "exec", dont_inherit=True)
    try:
        exec(code, module.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    return None
