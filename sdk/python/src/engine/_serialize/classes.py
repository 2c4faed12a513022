"""Classes by value: what `dataclass` and `namedtuple` generated is generated anew where the class arrives,
because it has no source text."""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any

from cloudpickle import cloudpickle as cp

_GENERATED_MAX = 64


def is_named_tuple(cls: type) -> bool:
    """Whether `collections.namedtuple` or `typing.NamedTuple` made the class itself."""
    return (
        cls.__bases__ == (tuple,)
        and isinstance(cls.__dict__.get("_fields"), tuple)
        and isinstance(cls.__dict__.get("_field_defaults"), dict)
        and "_make" in cls.__dict__
    )


def reduce_named_tuple(cls: Any) -> tuple[Any, ...]:
    """The reduction of such a class: its fields, and what was added to it."""
    generated = collections.namedtuple("Generated", cls._fields).__dict__
    added = {
        name: value
        for name, value in cls.__dict__.items()
        if name not in generated and name not in _NOT_STATE and not _is_generated(value)
    }
    annotations = portable_annotations(own_annotations(cls))
    if annotations:
        added["__annotations__"] = annotations
    added["__doc__"] = cls.__doc__
    arguments = (
        cls.__name__,
        cls.__qualname__,
        cls.__module__,
        cls._fields,
        dict(cls._field_defaults),
        cp._get_or_create_tracker_id(cls),
    )
    return make_named_tuple, arguments, (added, {}), None, None, set_class_state


def make_named_tuple(
    name: str, qualname: str, module: str, fields: tuple[str, ...], defaults: dict[str, Any], tracker: str
) -> Any:
    """The class of this kind, or the one that is here already."""
    note_received(tracker)
    values = [defaults[field] for field in fields if field in defaults]
    made: Any = collections.namedtuple(name, fields, defaults=values)  # type: ignore[misc]
    made.__qualname__ = qualname
    made.__module__ = module
    return cp._lookup_class_or_track(tracker, made)


_NOT_STATE = {
    "__dict__",
    "__weakref__",
    "__annotate__",
    "__annotate_func__",
    "__annotations_cache__",
    "__annotations__",
    "__classdictcell__",
    "__orig_bases__",
    "__static_attributes__",
    "__firstlineno__",
}


def class_state(cls: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `set_class_state` gives to the class where it arrives."""
    import enum

    get_state = cp._enum_getstate if issubclass(cls, enum.Enum) else cp._class_getstate
    state, slots = get_state(cls)
    for name in _NOT_STATE - {"__orig_bases__", "__firstlineno__", "__static_attributes__"} | {_FILLED}:
        state.pop(name, None)
    annotations = own_annotations(cls)
    if annotations:
        state["__annotations__"] = portable_annotations(annotations)
    if "__dataclass_fields__" in cls.__dict__:
        generated = [name for name, value in state.items() if _is_generated(value)]
        for name in generated:
            del state[name]
        if state.get("__hash__", 0) is None:
            generated.append("__hash__")
        # Its repr and pickling are the fields', which travel as they are.
        state[_GENERATED] = generated
    return state, slots


_GENERATED = "__engine_generated__"


def set_class_state(cls: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """Fills a class that arrived. One that was here before, because it is the receiver's own or came
    earlier, stays as it is."""
    if cls.__dict__.get(_FILLED) or _is_own(cls):
        return cls
    attributes, slots = state
    generated = attributes.pop(_GENERATED, None)
    cp._class_setstate(cls, (attributes, slots))
    if generated is not None:
        _generate(cls, generated)
    try:
        setattr(cls, _FILLED, True)
    except (AttributeError, TypeError):
        pass
    return cls


_FILLED = "__engine_filled__"
_received: set[str] = set()


def note_received(tracker: str) -> bool:
    """Remembers that a class of this id was made here from what was sent; False if it was there already."""
    if cp._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker) is not None:
        return False
    _received.add(tracker)
    return True


def _is_own(cls: type) -> bool:
    tracker = cp._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(cls)
    return tracker is not None and tracker not in _received


def make_class(constructor: Any, name: str, bases: Any, kwargs: Any, tracker: str, extra: Any) -> Any:
    """As cloudpickle's, and notes which classes came from elsewhere."""
    note_received(tracker)
    return cp._make_skeleton_class(constructor, name, bases, kwargs, tracker, extra)


def make_enum(
    bases: Any, name: str, qualname: str, members: Any, module: str, tracker: str, extra: Any
) -> Any:
    """As cloudpickle's, and notes which classes came from elsewhere."""
    note_received(tracker)
    return cp._make_skeleton_enum(bases, name, qualname, members, module, tracker, extra)


def reduce_class(cls: Any) -> tuple[Any, ...]:
    """The reduction of a class that travels by value."""
    import enum

    if is_named_tuple(cls):
        return reduce_named_tuple(cls)
    if issubclass(cls, enum.Enum):
        return make_enum, cp._enum_getnewargs(cls), class_state(cls), None, None, set_class_state
    arguments = cp._class_getnewargs(cls)
    if "__slots__" in cls.__dict__:
        kwargs = {**arguments[3], "__slots__": cls.__slots__}
        arguments = (*arguments[:3], kwargs, *arguments[4:])
    state = class_state(cls)
    state[0].pop("__slots__", None)
    return make_class, arguments, state, None, None, set_class_state


def _is_generated(value: Any) -> bool:
    """A function without source text that a class decorator or a metaclass made."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    for _ in range(4):
        if isinstance(value, types.FunctionType):
            name = value.__code__.co_filename
            if name.startswith("<string>") or name.endswith("dataclasses.py") or name.endswith("reprlib.py"):
                return True
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is None:
            return False
        value = wrapped
    return False


def _generate(cls: Any, names: list[str]) -> None:
    """Gives a dataclass its methods again."""
    parameters = cls.__dict__["__dataclass_params__"]
    namespace: dict[str, Any] = {"__annotations__": {}, "__module__": cls.__module__}
    for name, old in cls.__dict__["__dataclass_fields__"].items():
        kind = old._field_type
        if kind is dataclasses._FIELD_CLASSVAR:  # type: ignore[attr-defined]
            continue
        namespace["__annotations__"][name] = (
            dataclasses.InitVar[Any] if kind is dataclasses._FIELD_INITVAR else Any  # type: ignore[attr-defined]
        )
        options: dict[str, Any] = {
            "init": old.init,
            "repr": old.repr,
            "hash": old.hash,
            "compare": old.compare,
            "metadata": old.metadata,
        }
        if old.kw_only is not dataclasses.MISSING:
            options["kw_only"] = old.kw_only
        if old.default_factory is not dataclasses.MISSING:
            options["default_factory"] = old.default_factory
        elif old.default is not dataclasses.MISSING:
            options["default"] = old.default
        namespace[name] = dataclasses.field(**options)
    if "__post_init__" in cls.__dict__ or hasattr(cls, "__post_init__"):
        namespace["__post_init__"] = lambda self, *values: None
    model = types.new_class(cls.__name__, (), {}, lambda body: body.update(namespace))
    chosen = {
        name: bool(getattr(parameters, name, False)) for name in ("init", "repr", "eq", "order", "frozen")
    }
    made: Any = dataclasses.dataclass(model, unsafe_hash="__hash__" in names and not _has_no_hash(cls), **chosen)
    for name in names:
        method = made.__dict__.get(name)
        if name == "__hash__" and method is None:
            cls.__hash__ = None
            continue
        if not isinstance(method, types.FunctionType):
            method = _slot_state.get(name)
        if method is None:
            continue
        for cell in method.__closure__ or ():
            try:
                if cell.cell_contents is made:
                    cell.cell_contents = cls
            except ValueError:
                pass
        method.__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, method)


def _has_no_hash(cls: type) -> bool:
    parameters: Any = cls.__dict__["__dataclass_params__"]
    return bool(parameters.eq and not parameters.frozen and not parameters.unsafe_hash)


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for one, value in zip(dataclasses.fields(self), state):
        object.__setattr__(self, one.name, value)


_slot_state = {"__getstate__": _get_state, "__setstate__": _set_state}


def own_annotations(holder: Any) -> dict[str, Any]:
    """Annotations of a class or function itself, whatever evaluating them needs that is not there."""
    if isinstance(holder, type) and not hasattr(type, "__annotate__"):
        return dict(holder.__dict__.get("__annotations__") or {})
    try:
        return dict(getattr(holder, "__annotations__", None) or {})
    except Exception:  # noqa: BLE001 - evaluating annotations runs any code
        try:
            import annotationlib  # type: ignore[import-not-found,unused-ignore]

            return dict(annotationlib.get_annotations(holder, format=annotationlib.Format.STRING))
        except Exception:  # noqa: BLE001
            return {}


def portable_annotations(annotations: dict[str, Any]) -> dict[str, Any]:
    """Annotations that make sense wherever the function runs: types of the standard library as they are,
    others as text, so that naming a type of a library does not need the library there."""
    return {name: _portable(value) for name, value in annotations.items()}


def _portable(annotation: Any) -> Any:
    if annotation is None or isinstance(annotation, str):
        return annotation
    module = getattr(annotation, "__module__", None)
    if isinstance(annotation, type) and module == "builtins" and not isinstance(annotation, types.GenericAlias):
        return annotation
    if isinstance(annotation, type) and isinstance(module, str):
        return annotation.__qualname__ if module == "__main__" else f"{module}.{annotation.__qualname__}"
    return repr(annotation)
