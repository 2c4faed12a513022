"""The arguments that a function takes, in a form that is checked in a microsecond and travels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What may be passed to a function."""

    name: str
    positional: tuple[str, ...] = ()
    """Names of what may be given by position (those of `by_position_only` only so)."""
    by_position_only: int = 0
    required: int = 0
    """How many of `positional` have no default."""
    has_rest: bool = True
    keywords: tuple[str, ...] = ()
    """Names that are given by keyword only."""
    keywords_required: tuple[str, ...] = ()
    has_more_keywords: bool = True

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raises TypeError, as the call itself would."""
        given = len(args)
        if not kwargs and not self.keywords_required:
            if self.required <= given and (given <= len(self.positional) or self.has_rest):
                return
        if given > len(self.positional) and not self.has_rest:
            raise TypeError(
                f"{self.name}() takes {_count(len(self.positional), 'positional argument')} but {given} "
                f"{'was' if given == 1 else 'were'} given"
            )
        by_name = self.positional[self.by_position_only :]
        for name in kwargs:
            if name in by_name:
                if self.positional.index(name) < given:
                    raise TypeError(f"{self.name}() got multiple values for argument {name!r}")
            elif name not in self.keywords and not self.has_more_keywords:
                raise TypeError(f"{self.name}() got an unexpected keyword argument {name!r}")
        allowed = self.positional[given : self.required]
        missing = [name for name in allowed if name not in kwargs or name not in by_name]
        missing += [name for name in self.keywords_required if name not in kwargs]
        if missing:
            names = ", ".join(repr(name) for name in missing)
            raise TypeError(f"{self.name}() is missing {_count(len(missing), 'argument')}: {names}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def shape_of(function: Callable[..., Any], name: str, skip_self: bool = False) -> Shape:
    """The shape of a function, or one that lets everything through where it is not known."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError):
        return Shape(name)
    if skip_self and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        parameters = parameters[1:]
    by_position = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    keywords = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    return Shape(
        name=name,
        positional=tuple(one.name for one in by_position),
        by_position_only=sum(one.kind is one.POSITIONAL_ONLY for one in by_position),
        required=sum(one.default is one.empty for one in by_position),
        has_rest=any(one.kind is one.VAR_POSITIONAL for one in parameters),
        keywords=tuple(one.name for one in keywords),
        keywords_required=tuple(one.name for one in keywords if one.default is one.empty),
        has_more_keywords=any(one.kind is one.VAR_KEYWORD for one in parameters),
    )
