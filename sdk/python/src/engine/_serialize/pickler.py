"""cloudpickle, with source text in place of bytecode, and with the receiver's modules in mind."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections import ChainMap
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as cp

from engine._serialize import classes, modules, source


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    return source.code_of, (source.source_of(code),)


def _reduce_module(module: types.ModuleType) -> Any:
    name = module.__name__
    if modules.is_there(name):
        return cp.subimport, (name,)
    if name == "__main__" or sys.modules.get(name) is not module:
        return cp._module_reduce(module)
    return modules.reduce_module(name)


def _reduce_missing(value: Any) -> tuple[Any, ...]:
    return getattr, (dataclasses, "MISSING")


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes pickles that CPython of any version from 3.10 on reads, in the sandbox and outside."""

    dispatch_table = ChainMap(
        {
            types.CodeType: _reduce_code,
            types.ModuleType: _reduce_module,
            # Compared by identity, and without cloudpickle's help another object after the journey.
            type(dataclasses.MISSING): _reduce_missing,
        },
        cloudpickle.Pickler.dispatch_table,
    )

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is types.FunctionType:
            named = _by_name(value)
            return self._by_value(value) if named is None else named
        if issubclass(kind, type):
            return _reduce_class(value)
        return NotImplemented

    def _by_value(self, function: types.FunctionType) -> tuple[Any, ...]:
        code, base_globals, *_ = self._function_getnewargs(function)
        base_globals.pop("__path__", None)
        state, slots = _function_state(function)
        name = f"{function.__module__}.{function.__qualname__}"
        arguments = code, base_globals, name
        return make_function, arguments, (state, slots), None, None, cp._function_setstate


def make_function(code: types.CodeType, base_globals: dict[str, Any], name: str) -> types.FunctionType:
    """A function whose state is still to come."""
    closure = tuple(cp._make_empty_cell() for _ in code.co_freevars) or None
    made: types.FunctionType = cp._make_function(code, base_globals, None, None, closure)
    return made


def _function_state(function: types.FunctionType) -> tuple[dict[str, Any], dict[str, Any]]:
    annotations = classes.portable_annotations(classes.own_annotations(function))
    # What it needs is what its source names. And cloudpickle would evaluate the annotations.
    code = source.plain_code(function.__code__)
    bare = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    bare.__kwdefaults__ = function.__kwdefaults__
    bare.__module__ = function.__module__
    bare.__qualname__ = function.__qualname__
    bare.__doc__ = function.__doc__
    bare.__dict__.update(function.__dict__)
    state, slots = cp._function_getstate(bare)
    slots["__annotations__"] = annotations
    slots["_cloudpickle_submodules"] = [
        *(one for one in slots["_cloudpickle_submodules"] if modules.is_there(one.__name__)),
        *modules.imported_by(code),
    ]
    # It may be a wrapper of another function, which only introspection needs.
    state.pop("__wrapped__", None)
    return state, slots


def _by_name(value: Any) -> Any:
    """The reduction of a function or class by its name; None where it travels by value."""
    found = cp._lookup_module_and_qualname(value)
    if found is None:
        return None
    module, name = found[0].__name__, found[1]
    if modules.is_there(module):
        return NotImplemented
    if modules.is_brought(module):
        if modules.has_compiled(module.partition(".")[0]):
            # A value of numpy, say, which clients put and get: a sandbox that reads it is told what it has not.
            return NotImplemented
        return modules.reduce_member(module, name)
    return None


def _reduce_class(cls: Any) -> Any:
    if cls in _SINGLETONS or cls in cp._BUILTIN_TYPE_NAMES:
        return cp._class_reduce(cls)
    named = _by_name(cls)
    return classes.reduce_class(cls) if named is None else named


_SINGLETONS = (type(None), type(Ellipsis), type(NotImplemented))
