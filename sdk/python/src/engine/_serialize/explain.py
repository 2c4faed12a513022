"""Which part of a value cannot be pickled."""

from __future__ import annotations

import io
import types
from collections.abc import Iterator
from typing import Any

_DEPTH_MAX = 12
_PARTS_MAX = 2000


def path_to_culprit(value: Any) -> tuple[str, Any]:
    """The way to the innermost part that cannot be pickled, as `value.socket` or `f's global 'lock'`; empty
    when it is the value itself."""
    from engine._serialize.pickler import Pickler
    from engine._serialize.values import PROTOCOL, _handles

    tried = 0

    def fails(part: Any) -> bool:
        nonlocal tried
        tried += 1
        _handles.writing.append([])
        try:
            Pickler(io.BytesIO(), protocol=PROTOCOL, buffer_callback=lambda _: False).dump(part)
        except Exception:  # noqa: BLE001 - whatever its pickling raises
            return True
        finally:
            _handles.writing.pop()
        return False

    path, culprit = "", value
    seen = {id(value)}
    for _ in range(_DEPTH_MAX):
        for step, part in _parts(culprit):
            if id(part) not in seen and tried < _PARTS_MAX and fails(part):
                seen.add(id(part))
                path, culprit = (path or _root(value)) + step, part
                break
        else:
            break
    return path, culprit


def _root(value: Any) -> str:
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__qualname__}"
    return "value"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{key!r}]", part
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield f"[{index}]", part
    elif isinstance(value, (set, frozenset)):
        for part in value:
            yield "{…}", part
    elif isinstance(value, types.FunctionType):
        names = value.__code__.co_freevars
        for name, cell in zip(names, value.__closure__ or ()):
            try:
                yield f"'s variable {name!r}", cell.cell_contents
            except ValueError:
                continue
        from cloudpickle.cloudpickle import _extract_code_globals

        for name in _extract_code_globals(value.__code__):
            if name in value.__globals__:
                yield f"'s global {name!r}", value.__globals__[name]
        for index, part in enumerate(value.__defaults__ or ()):
            yield f"'s default {index}", part
        for name, part in (value.__kwdefaults__ or {}).items():
            yield f"'s default of {name!r}", part
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, type):
        from engine._serialize.classes import reduce_class

        for name, part in reduce_class(value)[2][0].items():
            if isinstance(part, (staticmethod, classmethod)):
                part = part.__func__
            yield f".{name}", part
    else:
        function = getattr(value, "_function", None)
        if isinstance(function, types.FunctionType):
            yield "", function
        for name, part in getattr(value, "__dict__", {}).items():
            yield f".{name}", part
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(value, name):
                    yield f".{name}", getattr(value, name)
